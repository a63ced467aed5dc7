"""From audio to transcripts, with a model that reads its tokens straight off the samples."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

import asrkit
from asrkit.errors import AudioError, UsageError
from asrkit.frontend import WaveformFrontend
from asrkit.inputs import FailedInput
from asrkit.options import DecodingOptions, SegmentOptions, TranscribeOptions
from asrkit.tasks.recognizer import Recognizer
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.text import CTCVocabulary
from asrkit.types import Audio, AudioInput, ModelInfo
from tests.tiny import TOKENS, tiny_config, tiny_model

FRAME = 320
RATE = 16_000


class SpellingRecognizer(Recognizer):
    """Frame f says token round(32 * sample) of its first sample, with probability 0.7."""

    def log_probs(self, waveforms):
        self.batches.append([len(samples) for samples in waveforms])
        return [self._score(samples) for samples in waveforms]

    @staticmethod
    def _score(samples):
        tokens = np.rint(samples[::FRAME] * 32).astype(int)
        tokens = tokens[: max(1, (len(samples) - 400) // FRAME + 1)]  # as the convolutions reach
        scores = np.full((len(tokens), 32), np.log(0.3 / 31), dtype=np.float32)
        scores[np.arange(len(tokens)), tokens] = np.log(0.7)
        return scores


def spelling_recognizer() -> SpellingRecognizer:
    table = {token: index for index, token in enumerate(TOKENS)}
    recognizer = SpellingRecognizer(
        model=SimpleNamespace(config=tiny_config(), parameters=tiny_model().parameters),
        frontend=WaveformFrontend(do_normalize=False),
        vocabulary=CTCVocabulary.from_files(
            table, tokenizer_config={}, special_tokens_map={}, added_tokens={}
        ),
        info=ModelInfo("spelling"),
        directory=Path("no such folder"),
    )
    object.__setattr__(recognizer, "batches", [])
    return recognizer


def spell(path: str, *, tail: int = 80) -> Audio:
    """Audio whose frames say the characters of `path`; `_` is the blank."""
    ids = [0 if c == "_" else TOKENS.index(c) for c in path]
    samples = np.repeat(np.array(ids, dtype=np.float32) / 32, FRAME)
    return Audio(np.concatenate([samples, np.zeros(tail, np.float32)]), RATE, "spelled")


def run(*inputs, **options):
    return list(transcribe_stream(inputs, spelling_recognizer(), TranscribeOptions(**options)))


def words_of(transcript):
    return [(w.text, w.start, w.end) for s in transcript.segments for w in s.words]


def test_words_and_times_are_those_of_the_frames():
    (result,) = run(spell("__HHI|_TH_EE_RE__"))

    assert result.text == "HI THERE"
    assert words_of(result) == [("HI", 0.04, 0.1), ("THERE", 0.14, 0.3)]
    assert result.duration == pytest.approx(17 * 0.02 + 0.005)


def test_word_confidence_is_the_probability_of_its_frames():
    (result,) = run(spell("_HI_"))

    assert result.segments[0].words[0].score == pytest.approx(0.7, abs=1e-4)


def test_silence_is_an_empty_transcript():
    (result,) = run(spell("_" * 50))

    assert (result.text, result.segments) == ("", ())


def test_pause_ends_a_segment():
    (result,) = run(spell("HI|" + "_" * 50 + "THERE__"))

    assert [segment.text for segment in result.segments] == ["HI", "THERE"]


@pytest.mark.parametrize("seed", range(20))
def test_a_word_on_a_seam_appears_once_with_its_times(seed):
    choose = random.Random(seed)
    spoken = [choose.choice(["CAT", "HORSE", "A", "BEE", "ZOO"]) for _ in range(120)]
    path = "".join(
        "".join(c * choose.randint(1, 4) + "_" * choose.randint(1, 2) for c in word)
        + "|" + "_" * choose.randint(0, 9)
        for word in spoken
    )  # fmt: skip
    audio = spell(path, tail=choose.randrange(80, 400))

    (whole,) = run(audio, chunk_length=600)
    (parts,) = run(audio, chunk_length=4, stride=1)

    assert whole.text.split() == spoken
    assert parts.text == whole.text
    assert words_of(parts) == words_of(whole)


def test_chunks_of_all_files_share_batches_and_results_keep_their_order():
    recognizer = spelling_recognizer()
    files = [spell("HI" + "_" * n) for n in (1800, 20, 400, 30)]

    results = list(
        transcribe_stream(
            files,
            recognizer,
            TranscribeOptions(chunk_length=4, stride=1, batch_size=8, batch_seconds=32),
        )
    )

    assert [round(r.duration) for r in results] == [36, 0, 8, 1]
    assert [len(batch) for batch in recognizer.batches[:4]] == [1, 2, 4, 8]
    assert sum(len(batch) for batch in recognizer.batches) == 18 + 1 + 4 + 1


def test_failed_input_stands_in_its_place_and_the_others_go_on(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not sound at all")
    earlier = FailedInput("gone.wav", AudioError("gone.wav: no such file"))

    first, second, third, fourth = run(
        spell("HI__"), AudioInput(str(broken)), earlier, spell("YOU__")
    )

    assert (first.text, fourth.text) == ("HI", "YOU")
    assert isinstance(second, FailedInput)
    assert "broken.wav" in second.error.message
    assert third is earlier


def test_file_that_breaks_half_way_leaves_nothing_behind(tmp_path):
    path = tmp_path / "cut.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 20 * RATE)
    soundfile.write(path, noise, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    broken, whole = run(AudioInput(str(path)), spell("HI__"), chunk_length=2, stride=0.5)

    assert isinstance(broken, FailedInput)
    assert whole.text == "HI"


def test_part_of_a_file_has_the_times_of_the_file(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, spell("HI|" + "_" * 47 + "YOU_").samples, RATE, subtype="FLOAT")

    (result,) = run(AudioInput(str(path), offset=0.9, duration=0.5))

    assert words_of(result) == [("YOU", 1.0, 1.06)]
    assert (result.offset, result.duration) == (0.9, pytest.approx(0.185, abs=0.001))


@pytest.mark.parametrize(
    ("timestamps", "has_segments", "has_words", "has_characters"),
    [
        ("none", False, False, False),
        ("segment", True, False, False),
        ("word", True, True, False),
        ("char", True, True, True),
    ],
)
def test_timestamps_say_how_fine_the_result_is(timestamps, has_segments, has_words, has_characters):
    (result,) = run(spell("HI_"), timestamps=timestamps)

    words = [word for segment in result.segments for word in segment.words]
    assert result.text == "HI"
    assert bool(result.segments) == has_segments
    assert bool(words) == has_words
    assert any(word.characters for word in words) == has_characters


def test_progress_adds_up_to_the_audio():
    heard: list[float] = []
    audio = spell("HI_" * 300)

    list(
        transcribe_stream(
            [audio],
            spelling_recognizer(),
            TranscribeOptions(chunk_length=4, stride=1, batch_size=4),
            on_progress=heard.append,
        )
    )

    assert len(heard) > 1
    assert sum(heard) == pytest.approx(audio.duration)


@pytest.mark.parametrize(
    "options",
    [
        {"timestamps": "phoneme"},
        {"batch_size": 0},
        {"chunk_length": 10, "stride": 5},
        {"chunk_length": 0},
        {"stride": -1},
        {"channel": "left"},
    ],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(UsageError):
        TranscribeOptions(**options)


def test_python_call_takes_paths_and_arrays_and_says_which_model(tmp_path):
    folder = tiny_model(folder=tmp_path / "model", feat_extract_norm="layer")
    samples = np.random.default_rng(0).normal(size=24_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples / 8, 24_000, subtype="FLOAT")

    from_path, from_array = asrkit.transcribe(
        [tmp_path / "a.wav", asrkit.Audio(samples / 8, 24_000)], str(folder), timestamps="char"
    )

    assert from_path.text == from_array.text != ""
    assert from_path.model == ModelInfo(str(folder), None, "float32")
    assert from_path.options["timestamps"] == "char"


def test_python_call_raises_what_is_wrong(tmp_path):
    folder = tiny_model(folder=tmp_path / "model")

    with pytest.raises(AudioError, match=r"nothing\.wav"):
        asrkit.transcribe("nothing.wav", str(folder))


@pytest.mark.parametrize(
    ("call", "wrong", "meant"),
    [
        (asrkit.transcribe, "batchsize", "batch_size"),
        (asrkit.transcribe, "decoder", "decoding=asrkit.options.DecodingOptions(decoder=...)"),
        (
            asrkit.transcribe,
            "beamwidth",
            "decoding=asrkit.options.DecodingOptions(beam_width=...) or "
            "generation=asrkit.options.GenerationOptions(beam_width=...)",
        ),
        (asrkit.translate, "generations", "generation"),
        (asrkit.align, "devise", "device"),
        (asrkit.classify, "topk", "top_k"),
        (asrkit.embed, "layers", "layer"),
        (asrkit.evaluate, "normaliser", "normalizer"),
        (asrkit.evaluate, "refcolumn", "ref_column"),
    ],
)
def test_keyword_that_is_no_option_is_answered_with_the_one_that_is_meant(call, wrong, meant):
    with pytest.raises(UsageError, match=f"{call.__name__} has no option {wrong}") as caught:
        call("a.wav", "b", **{wrong: 3})

    assert caught.value.hint == f"did you mean {meant}?"


@pytest.mark.parametrize("num_samples", [1, 100, 399, 400, 401])
def test_audio_shorter_than_the_receptive_field_works(num_samples, tmp_path):
    folder = tiny_model(folder=tmp_path)
    audio = Audio(np.ones(num_samples, np.float32) * 0.1, RATE)

    (result,) = asrkit.transcribe(audio, str(folder))

    assert all(0 <= s.start < s.end <= 0.03 for s in result.segments)


def test_subtitle_options_reach_the_segments():
    (result,) = run(
        spell("ONE|TWO|SIX|TEN_"),
        segments=SegmentOptions(max_line_width=7, max_line_count=1),
    )

    assert [segment.text for segment in result.segments] == ["ONE TWO", "SIX TEN"]


def save_words(folder: Path, words: str) -> str:
    path = folder / "words.txt"
    path.write_text("\n".join(words.split()) + "\n")
    return str(path)


def beam(**options):
    return DecodingOptions(decoder="beam", beam_width=10, **options)


def test_beam_search_gives_the_text_and_times_of_the_frames():
    (result,) = run(spell("__HHI|_TH_EE_RE__"), decoding=beam())

    assert result.text == "HI THERE"
    assert [word[0] for word in words_of(result)] == ["HI", "THERE"]
    assert result.options["decoding"]["decoder"] == "beam"


def test_beam_search_in_chunks_is_beam_search_of_the_whole():
    audio = spell("CAT|_HORSE|__BEE|_A_" * 8)

    (whole,) = run(audio, decoding=beam(), chunk_length=600)
    (parts,) = run(audio, decoding=beam(), chunk_length=1, stride=0.2)

    assert parts.text == whole.text
    assert words_of(parts) == words_of(whole)


def test_lexicon_mends_spelling(tmp_path):
    words = save_words(tmp_path, "the cat horse")

    (plain,) = run(spell("THE|_HORZE_"))
    (mended,) = run(
        spell("THE|_HORZE_"),
        decoding=beam(lexicon=words, lexicon_only=True),
    )

    assert (plain.text, mended.text) == ("THE HORZE", "THE HORSE")


def test_hotwords_are_written_in_the_case_of_the_vocabulary():
    (without,) = run(spell("ZIAN_"), decoding=beam())
    (with_hotword,) = run(spell("ZIAN_"), decoding=beam(hotwords=("zoan",), hotword_weight=20.0))

    assert (without.text, with_hotword.text) == ("ZIAN", "ZOAN")


def test_n_best_lists_texts_with_their_scores_best_first():
    (result,) = run(spell("CAT_"), decoding=beam(n_best=3))

    texts = [item.text for item in result.alternatives]
    scores = [item.lm_score for item in result.alternatives]
    assert texts[0] == result.text == "CAT"
    assert len(set(texts)) == 3
    assert scores == sorted(scores, reverse=True)


def test_greedy_with_what_only_beam_search_has_is_refused():
    with pytest.raises(UsageError, match="greedy"):
        DecodingOptions(decoder="greedy", n_best=2)


def test_emissions_come_trimmed_and_whole():
    kept = []
    audio = spell("HI_" * 300)

    list(
        transcribe_stream(
            [audio],
            spelling_recognizer(),
            TranscribeOptions(chunk_length=4, stride=1),
            on_emissions=lambda recognizer, item, emissions: kept.append(emissions),
        )
    )

    (emissions,) = kept
    path = "".join(
        "_HI"[[0, TOKENS.index("H"), TOKENS.index("I")].index(t)]
        for t in emissions.log_probs.argmax(1)
    )
    assert path == ("HI_" * 300)[: len(path)]
    assert len(path) >= 899
