"""What `asrkit convert lm` makes, in the hands of transformers, pyctcdecode and KenLM.

See test_beam_parity.py for how pyctcdecode is installed beside numpy 2.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import asrkit
from asrkit.audio import read_audio
from asrkit.ctc.estimate import write_arpa
from asrkit.options import ConvertLmOptions, DecodingOptions, ModelOptions
from asrkit.tasks.convert_lm import convert_lm
from asrkit.tasks.recognizer import Recognizer
from tests.test_estimate import make_text, read
from tests.tiny import tiny_model

pytest.importorskip("kenlm")
pytest.importorskip("pyctcdecode")
transformers = pytest.importorskip("transformers")

pytestmark = pytest.mark.parity

FOLDER = Path(__file__).parents[2] / "examples" / "audio"
CLIPS = [FOLDER / name for name in ("espeak-gb.flac", "espeak-us.wav", "flite-rms.flac")]
TEXT = (Path(__file__).parents[1] / "golden" / "lmplz" / "text.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("order", [1, 3, 5])
@pytest.mark.parametrize("name", ["demo-en", "random"])
def test_processor_with_lm_gives_the_same_text_and_score(tmp_path, record, name, order):
    if name == "random":
        name = str(tiny_model(folder=tmp_path / "model"))
    (tmp_path / "text").write_text(TEXT.lower(), encoding="utf-8")
    options = ConvertLmOptions(order=order, prune=(0, 0, 1)[:order])
    recognizer = Recognizer.load(ModelOptions(name, device="cpu"))
    convert_lm(tmp_path / "text", tmp_path / "out", recognizer, options)

    processor = transformers.AutoProcessor.from_pretrained(str(tmp_path / "out"))
    model = transformers.AutoModelForCTC.from_pretrained(str(tmp_path / "out")).float()

    assert type(processor).__name__ == "Wav2Vec2ProcessorWithLM"
    decoding = DecodingOptions(n_best=3)
    for clip in CLIPS:
        (ours,) = asrkit.transcribe([str(clip)], str(tmp_path / "out"), decoding=decoding)
        values = processor(
            read_audio(str(clip), sample_rate=16_000).samples,
            sampling_rate=16_000,
            return_tensors="pt",
        )
        logits = model(values.input_values).logits[0].detach().numpy()
        theirs = processor.decode(logits, n_best=3)
        assert ours.text == " ".join(theirs.text[0].split())
        pairs = zip(ours.alternatives, theirs.lm_score, strict=True)
        scores = [abs(alternative.lm_score - score) for alternative, score in pairs]
        assert max(scores) < 1e-2
        record(f"{Path(name).name} order {order}", {"lm_score": max(scores)})


@pytest.mark.skipif(shutil.which("lmplz") is None, reason="lmplz of KenLM is not installed")
@pytest.mark.parametrize("prune", [(), (0, 0, 1), (0, 1), (1, 1, 2)])
@pytest.mark.parametrize("order", range(1, 6))
def test_numbers_are_those_of_lmplz_on_more_text(tmp_path, record, order, prune):
    sentences, _ = make_text(3000, seed=1)
    rng = random.Random(2)
    sentences = [f"{text} {'xyz'[rng.randrange(3)] * rng.randint(1, 9)}" for text in sentences]
    (tmp_path / "text").write_text("\n".join([*sentences, "last"]) + "\n")
    limits = [*prune, *prune[-1:] * order][:order]

    write_arpa([*sentences, "last"], tmp_path / "ours.arpa", order=order, prune=limits, block=5000)
    command = f"lmplz -o {order} --text text --arpa theirs.arpa -S 100M --discount_fallback"
    command += f" --prune {' '.join(map(str, limits))}" if limits else ""
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)

    ours, theirs = read(tmp_path / "ours.arpa"), read(tmp_path / "theirs.arpa")
    assert ours.keys() == theirs.keys()
    del ours[("<s>",)]
    found, expected = (np.array([table[key] for key in ours]) for table in (ours, theirs))
    record(f"lmplz order {order}", {"log10": np.abs(found - expected).max()})
    np.testing.assert_allclose(found, expected, atol=1e-5)
