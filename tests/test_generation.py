"""What encoder-decoders write, piece by piece, with a model that reads text off the samples."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import groupby
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from asrkit.errors import AudioError, UsageError
from asrkit.formats import render
from asrkit.frontend import WaveformFrontend
from asrkit.inputs import FailedInput
from asrkit.options import (
    DecodingOptions,
    GenerationOptions,
    ModelOptions,
    SegmentOptions,
    TranscribeOptions,
    TranslateOptions,
)
from asrkit.seq2seq import GenerationSettings
from asrkit.tasks.generator import Generator, load_speech_model
from asrkit.tasks.transcribe import transcribe_stream
from asrkit.tasks.translate import translate_stream
from asrkit.types import Alternative, Audio, AudioInput, ModelInfo, Transcript
from tests.test_transcribe import FRAME, RATE, spell, spelling_recognizer, words_of
from tests.tiny import TOKENS, tiny_model


class ReadingGenerator(Generator):
    """Writes in lower case what `spell` spelled; its second choice has an exclamation mark."""

    def write(self, waveforms, settings):
        self.batches.append([len(samples) for samples in waveforms])
        self.used.append(settings)
        return [self._texts(samples) for samples in waveforms]

    @staticmethod
    def _texts(samples):
        path = [TOKENS[round(float(value))] for value in samples[::FRAME] * 32]
        letters = [token for token, _ in groupby(path) if token != "<pad>"]
        text = "".join(letters).replace("|", " ").lower().strip()
        return [Alternative(text, score=-1.0), Alternative(f"{text}!", score=-1.0 - len(text) / 8)]


def reading_generator(languages=(), target_language=None) -> ReadingGenerator:
    generator = ReadingGenerator(
        model=SimpleNamespace(generation=GenerationSettings(), parameters=tiny_model().parameters),
        frontend=WaveformFrontend(do_normalize=False),
        vocabulary=SimpleNamespace(
            languages={code: 4 + index for index, code in enumerate(languages)},
            target_language=target_language,
        ),
        info=ModelInfo("reader"),
    )
    object.__setattr__(generator, "batches", [])
    object.__setattr__(generator, "used", [])
    return generator


def write(*inputs, generator=None, aligner=None, on_progress=None, **options):
    return list(
        transcribe_stream(
            inputs,
            generator or reading_generator(),
            TranscribeOptions(**options),
            aligner=aligner,
            on_progress=on_progress,
        )
    )


def translate(*inputs, generator=None, hearer=None, **options):
    return list(
        translate_stream(
            inputs, generator or reading_generator(), TranslateOptions(**options), hearer=hearer
        )
    )


def spans(transcript):
    return [(s.text, round(s.start, 2), round(s.end, 2)) for s in transcript.segments]


PAUSE = "_" * 30  # 0.6 s
TWO = f"____HI|THERE|{PAUSE}YOU___"


def test_segment_has_the_times_of_the_sound():
    (result,) = write(spell(TWO))

    assert result.text == "hi there you"
    assert spans(result) == [("hi there you", 0.08, 0.92)]
    assert result.options["timestamps"] == "segment"


def test_long_audio_is_cut_in_pauses_into_segments():
    (result,) = write(spell(TWO), chunk_length=0.8)

    assert spans(result) == [("hi there", 0.08, 0.26), ("you", 0.86, 0.92)]
    assert result.text == "hi there you"


@pytest.mark.parametrize("chunk_length", [0.5, 1.0, 2.0, 30.0])
def test_pieces_lose_and_repeat_nothing(chunk_length):
    spoken = ["cat", "horse", "bed", "fox", "sir"] * 5
    audio = spell(f"|{PAUSE}".join(word.upper() for word in spoken))

    (result,) = write(audio, chunk_length=chunk_length)

    assert result.text.split() == spoken
    assert all(a.end <= b.start for a, b in zip(result.segments, result.segments[1:], strict=False))


def test_silence_is_an_empty_transcript_that_no_model_sees():
    """I13."""
    generator = reading_generator()

    (result,) = write(spell("_" * 200), generator=generator, decoding=DecodingOptions(n_best=2))

    assert (result.text, result.segments, result.alternatives) == ("", (), ())
    assert generator.batches == []


def test_silence_between_speech_gives_no_segment():
    generator = reading_generator()
    audio = spell("HI" + "_" * 300 + "YOU")

    (result,) = write(audio, generator=generator, chunk_length=2)

    assert [segment.text for segment in result.segments] == ["hi", "you"]
    assert sum(map(sum, generator.batches)) < len(audio.samples)


def test_pieces_of_all_inputs_share_batches_and_results_keep_their_order():
    generator = reading_generator()
    files = [spell(f"|{PAUSE}".join(["HI"] * n)) for n in (9, 1, 4, 2)]

    results = write(*files, generator=generator, chunk_length=0.8, batch_size=8)

    assert [len(result.text.split()) for result in results] == [9, 1, 4, 2]
    assert max(map(len, generator.batches)) == 8


def test_failed_input_stands_in_its_place_and_the_others_go_on(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"not sound at all")
    earlier = FailedInput("gone.wav", AudioError("gone.wav: no such file"))

    first, second, third, fourth = write(
        spell("HI__"), AudioInput(str(broken)), earlier, spell("YOU__")
    )

    assert (first.text, fourth.text) == ("hi", "you")
    assert "broken.wav" in second.error.message
    assert third is earlier


@pytest.mark.parametrize("num_samples", [1, 399])
def test_audio_shorter_than_one_window_is_an_error(num_samples):
    (result,) = write(Audio(np.full(num_samples, 0.1, np.float32), RATE, "click"))

    assert isinstance(result, FailedInput)
    assert result.error.message.startswith("click: ")
    assert "expected at least 25 ms" in result.error.message


def test_part_of_a_file_has_the_times_of_the_file(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, spell(TWO).samples, RATE, subtype="FLOAT")

    (result,) = write(AudioInput(str(path), offset=0.6, duration=0.36))

    assert spans(result) == [("you", 0.86, 0.92)]
    assert result.offset == 0.6


def test_progress_adds_up_to_the_audio_silence_included():
    heard: list[float] = []
    audio = spell("HI" + "_" * 300 + "YOU")

    write(audio, chunk_length=2, on_progress=heard.append)

    assert sum(heard) == pytest.approx(audio.duration)


def test_no_times_leave_the_text():
    (result,) = write(spell(TWO), timestamps="none")

    assert (result.text, result.segments) == ("hi there you", ())


def test_n_best_texts_of_the_whole_sum_the_scores_of_its_pieces():
    """Second choices cost len / 8: 'you!' 3/8, 'hi there!' 8/8, both 11/8."""
    (result,) = write(spell(TWO), chunk_length=0.8, decoding=DecodingOptions(n_best=3))

    assert [(item.text, item.score) for item in result.alternatives] == [
        ("hi there you", -2.0),
        ("hi there you!", -2.375),
        ("hi there! you", -3.0),
    ]
    assert result.to_dict()["alternatives"][0] == {"text": "hi there you", "score": -2.0}
    assert Transcript.from_dict(json.loads(json.dumps(result.to_dict()))) == replace(
        result, id="spelled"
    )


def test_options_of_the_search_reach_it():
    generator = reading_generator()

    (result,) = write(
        spell("HI_"),
        generator=generator,
        decoding=DecodingOptions(beam_width=7),
        generation=GenerationOptions(no_repeat_ngram_size=2),
    )

    assert (generator.used[0].num_beams, generator.used[0].no_repeat_ngram_size) == (7, 2)
    assert result.options["generation"]["num_beams"] == 7


# ------------------------------------------------------------------------------- times of words


def test_ctc_model_finds_the_times_of_words():
    (truth,) = transcribe_stream([spell(TWO)], spelling_recognizer(), TranscribeOptions())

    (result,) = write(spell(TWO), aligner=spelling_recognizer())

    assert [w[0] for w in words_of(result)] == ["hi", "there", "you"]
    for found, true in zip(words_of(result), words_of(truth), strict=True):
        assert found[1] == pytest.approx(true[1], abs=0.021)
        assert true[2] <= found[2] <= true[2] + 0.121  # the tail of an aligned word
    assert result.options["timestamps"] == "word"
    assert result.options["align_model"] == "spelling"


def test_words_in_pieces_have_the_times_of_the_file():
    (whole,) = write(spell(TWO), aligner=spelling_recognizer())
    (parts,) = write(spell(TWO), aligner=spelling_recognizer(), chunk_length=0.8)

    for in_part, in_whole in zip(words_of(parts), words_of(whole), strict=True):
        assert in_part[1:] == pytest.approx(in_whole[1:], abs=0.021)


@pytest.mark.parametrize(
    ("timestamps", "has_words", "has_characters"),
    [("segment", False, False), ("word", True, False), ("char", True, True)],
)
def test_timestamps_say_how_fine_the_result_is(timestamps, has_words, has_characters):
    (result,) = write(spell("HI_"), timestamps=timestamps, aligner=spelling_recognizer())

    words = [word for segment in result.segments for word in segment.words]
    assert bool(words) == has_words
    assert any(word.characters for word in words) == has_characters


def test_aligned_words_become_subtitles():
    (result,) = write(
        spell("ONE|TWO|SIX|TEN___"),
        aligner=spelling_recognizer(),
        segments=SegmentOptions(max_line_width=7, max_line_count=1),
    )

    assert [segment.text for segment in result.segments] == ["one two", "six ten"]


def test_text_that_cannot_be_found_keeps_the_times_of_its_piece():
    generator = reading_generator()
    object.__setattr__(generator, "_texts", lambda samples: [Alternative("much too long for it")])

    (result,) = write(spell("HI__"), generator=generator, aligner=spelling_recognizer())

    assert [segment.text for segment in result.segments] == ["much too long for it"]
    assert words_of(result) == []
    assert "words have no times: the text needs" in result.warnings[0]


def test_text_that_was_not_said_is_a_warning():
    generator = reading_generator()
    object.__setattr__(generator, "_texts", lambda samples: [Alternative("quick fox box")])

    (result,) = write(spell("_THERE__" * 9), generator=generator, aligner=spelling_recognizer())

    assert "does not seem to belong" in result.warnings[0]


def test_times_of_words_without_a_model_for_them_are_refused():
    with pytest.raises(UsageError, match="no times of words") as caught:
        write(spell("HI_"), timestamps="word")

    assert "--align-model" in caught.value.hint


def test_aligner_of_another_sample_rate_is_refused():
    aligner = spelling_recognizer()
    object.__setattr__(aligner, "frontend", WaveformFrontend(sample_rate=8_000))

    with pytest.raises(UsageError, match="8000"):
        write(spell("HI_"), aligner=aligner)


# ------------------------------------------------------------------ the other kind of model


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"decoding": DecodingOptions(lm="some.arpa", hotwords=("a",))}, "--lm, --hotwords"),
        ({"decoding": DecodingOptions(lexicon="words.txt")}, "--lexicon"),
        ({"decoding": DecodingOptions(decoder="beam")}, "--decoder"),
        ({"decoding": DecodingOptions(use_lm=False)}, "--no-lm"),
        ({"stride": 1.0}, "--stride"),
    ],
)
def test_options_of_ctc_models_are_refused(options, named):
    with pytest.raises(UsageError, match=f"{named} "):
        write(spell("HI_"), **options)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"generation": GenerationOptions(length_penalty=2.0)}, "--length-penalty"),
        ({"generation": GenerationOptions(max_new_tokens=9)}, "--max-new-tokens"),
    ],
)
def test_options_of_encoder_decoders_are_refused_by_ctc_models(options, named):
    with pytest.raises(UsageError, match=f"{named} "):
        transcribe_stream([spell("HI_")], spelling_recognizer(), TranscribeOptions(**options))


def test_ctc_model_needs_no_aligner():
    with pytest.raises(UsageError, match="by itself"):
        write(spell("HI_"), generator=spelling_recognizer(), aligner=spelling_recognizer())


def test_encoder_decoder_has_no_emissions():
    with pytest.raises(UsageError, match="emissions"):
        transcribe_stream(
            [], reading_generator(), TranscribeOptions(), on_emissions=lambda *given: None
        )


# ---------------------------------------------------------------------------------- translation


def test_language_is_forced_on_the_search():
    """I13."""
    generator = reading_generator(languages=("pt", "fr"))

    (result,) = translate(spell("HI_"), generator=generator, target_language="fr")

    assert generator.used[0].forced_bos_token_id == 5
    assert result.options["target_language"] == "fr"


def test_language_of_the_files_is_the_default():
    generator = reading_generator(languages=("pt", "fr"), target_language="pt")

    (result,) = translate(spell("HI_"), generator=generator)

    assert generator.used[0].forced_bos_token_id == 4
    assert result.options["target_language"] == "pt"


@pytest.mark.parametrize(
    ("languages", "asked", "message", "hint"),
    [
        (("pt", "fr"), "xx", "does not write 'xx'", "it writes fr, pt"),
        (("pt", "fr"), None, "none is chosen", "--target-lang with one of fr, pt"),
        ((), "fr", "'fr' cannot be chosen", "leave out"),
    ],
)
def test_language_that_cannot_be_written_says_what_can(languages, asked, message, hint):
    with pytest.raises(UsageError, match=message) as caught:
        translate(
            spell("HI_"), generator=reading_generator(languages=languages), target_language=asked
        )

    assert hint in caught.value.hint


def test_transcribing_with_a_model_of_many_languages_names_translate():
    with pytest.raises(UsageError) as caught:
        write(spell("HI_"), generator=reading_generator(languages=("pt", "fr")))

    assert "asrkit translate --target-lang" in caught.value.hint


def test_source_text_is_what_a_ctc_model_hears_in_the_same_pieces():
    (result,) = translate(spell(TWO), hearer=spelling_recognizer(), chunk_length=0.8)

    assert [(s.source_text, s.text) for s in result.segments] == [
        ("HI THERE", "hi there"),
        ("YOU", "you"),
    ]
    assert (result.source_text, result.text) == ("HI THERE YOU", "hi there you")
    assert Transcript.from_dict(json.loads(json.dumps(result.to_dict()))) == replace(
        result, id="spelled"
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("txt", "HI YOU\thi you\n"),
        ("tsv", "start\tend\ttext\tsource\n0.080\t0.120\thi\tHI\n0.720\t0.780\tyou\tYOU\n"),
        ("csv", "start,end,text,source\n0.080,0.120,hi,HI\n0.720,0.780,you,YOU\n"),
        (
            "srt",
            "1\n00:00:00,080 --> 00:00:00,120\nHI\nhi\n\n"
            "2\n00:00:00,720 --> 00:00:00,780\nYOU\nyou\n",
        ),
        (
            "lrc",
            "[00:00.08]HI\n[00:00.08]hi\n[00:00.12]\n[00:00.72]YOU\n[00:00.72]you\n[00:00.78]\n",
        ),
    ],
)
def test_what_was_said_stands_before_its_translation(name, expected):
    (result,) = translate(
        spell(f"____HI{PAUSE}YOU___"), hearer=spelling_recognizer(), chunk_length=0.7
    )

    assert render(result, name, options=SegmentOptions()) == expected


def test_textgrid_has_a_tier_of_what_was_said():
    (result,) = translate(spell(TWO), hearer=spelling_recognizer())

    grid = render(result, "textgrid", options=SegmentOptions())

    assert 'name = "source"' in grid
    assert '"HI THERE YOU"' in grid


def test_silence_with_source_text_is_empty_in_both():
    (result,) = translate(spell("_" * 100), hearer=spelling_recognizer())

    assert render(result, "txt", options=SegmentOptions()) == "\t\n"


def test_language_of_ctc_models_is_refused_by_an_encoder_decoder():
    with pytest.raises(UsageError, match="chooses what a CTC model hears") as caught:
        load_speech_model(ModelOptions("demo-translate", device="cpu", language="fra"))

    assert "--target-lang" in str(caught.value.hint)
