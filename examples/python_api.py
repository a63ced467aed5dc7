"""The Python API, cell by cell.

    python examples/python_api.py

or in an editor that knows `# %%` (VS Code, PyCharm, Spyder); jupytext makes a notebook of it.
The embedded models need no download. For speech of people name others, such as
model="facebook/wav2vec2-large-960h-lv60-self".
"""

# %% Setup
from pathlib import Path

import numpy as np

import asrkit

HERE = Path(__file__).parent

# %% Transcribe: a path, an array, or many of them; results come in the order of inputs
paths = [HERE / "audio/espeak-us.wav", HERE / "audio/flite-slt.mp3"]
transcripts = asrkit.transcribe(paths, model="demo-en")
for path, transcript in zip(paths, transcripts, strict=True):
    print(f"{path.name:16} {transcript.duration:4.1f} s  {transcript.text}")

# %% Words: when each was said, how sure the model is, and a chart of both
words = [word for segment in transcripts[0].segments for word in segment.words]
for word in words:
    bar = " " * round(word.start * 10) + "█" * max(1, round((word.end - word.start) * 10))
    print(f"{word.start:5.2f} {word.end:5.2f} {word.score:5.3f} {word.text:8} {bar}")

# %% A loaded model answers many calls; samples may come from anywhere (microphone, synthesiser ...)
recognizer = asrkit.Recognizer.load(asrkit.ModelOptions("demo-en"))
audio = asrkit.read_audio(paths[0])
greedy = asrkit.DecodingOptions(decoder="greedy")
for volume in (1.0, 0.1, 0.01):
    quiet = asrkit.Audio(audio.samples * np.float32(volume), audio.sample_rate)
    (transcript,) = asrkit.transcribe(quiet, recognizer, decoding=greedy)
    print(f"volume {volume:4}: {transcript.text}")

# %% Align: the times of a text that is known
aligned = asrkit.align(paths[1], "It costs 20 dollars.", model=recognizer)
for segment in aligned.segments:
    for word in segment.words:
        print(f"{word.start:5.2f} {word.end:5.2f} {word.text}")

# %% Evaluate: error rates, and which words were mistaken
report = asrkit.evaluate(
    ["the cat sat on the mat", "it costs twenty dollars"],
    ["the cat sat on a mat", transcripts[1].text],
    normalizer="basic",
)
print(f"WER {100 * report.wer:.1f} %, CER {100 * report.cer:.1f} %")
print(report.to_dict()["systems"][0]["confusions"])

# %% Embeddings: how alike voices are, as a table of cosines
clips = [HERE / f"speakers/{name}.opus" for name in ("a-1", "a-2", "b-1", "b-2")]
vectors = np.stack([voice.vector for voice in asrkit.embed(clips, "demo-speaker")])
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
print("     " + "".join(f"{clip.stem:>6}" for clip in clips))
for clip, row in zip(clips, vectors @ vectors.T, strict=True):
    print(f"{clip.stem:5}" + "".join(f"{cosine:6.2f}" for cosine in row))
