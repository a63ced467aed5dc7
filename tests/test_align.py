"""A known text onto its audio, with a model that reads its tokens straight off the samples."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import asrkit
from asrkit.errors import InputError, UsageError
from asrkit.inputs import FailedInput
from asrkit.options import AlignOptions
from asrkit.tasks.align import Alignment, TextOf, align_stream
from asrkit.types import (
    Audio,
    AudioInput,
    Segment,
    Transcript,
)
from tests.test_transcribe import spell, spelling_recognizer


def align(path, text, **options):
    return asrkit.align(spell(path), text, spelling_recognizer(), **{"tail": 0.0} | options)


def words_of(transcript):
    return [(w.text, w.start, w.end) for s in transcript.segments for w in s.words]


def test_words_get_the_times_of_their_letters():
    result = align("__HHI|_TH_EE_RE__", "Hi, there!")

    assert words_of(result) == [("Hi,", 0.04, 0.1), ("there!", 0.14, 0.3)]
    assert [w.score for s in result.segments for w in s.words] == pytest.approx([0.7] * 2, abs=1e-3)
    assert result.text == "Hi, there!"
    assert result.warnings == ()
    assert result.options["decoder"] == "align"


def test_words_sound_on_until_the_next_one_or_the_end():
    result = align("__HHI|_THERE______|YOU", "hi there you", tail=0.1)

    assert words_of(result) == [("hi", 0.04, 0.14), ("there", 0.14, 0.34), ("you", 0.38, 0.44)]


def test_lines_become_segments():
    result = align("_HI__|YOU|TWO___|A_", "Hi\n\nyou two\na")

    assert [(s.text, s.start, s.end) for s in result.segments] == [
        ("Hi", 0.02, 0.06),
        ("you two", 0.12, 0.26),
        ("a", 0.34, 0.36),
    ]


def test_level_says_how_fine_the_result_is():
    finest = {
        level: align("_HI_", "hi", level=level).segments[0] for level in ("segment", "word", "char")
    }

    assert finest["segment"].words == ()
    assert finest["word"].words[0].characters == ()
    assert [(c.text, c.start, c.end) for c in finest["char"].words[0].characters] == [
        ("h", 0.02, 0.04),
        ("i", 0.04, 0.06),
    ]


def test_number_gets_the_time_of_its_sound_and_is_flagged():
    result = align("_IN__|T_WO_TEN_|AGE_", "in 210 age")

    words = result.segments[0].words
    assert [(w.text, w.start, w.end) for w in words] == [
        ("in", 0.02, 0.06),
        ("210", 0.12, 0.28),
        ("age", 0.32, 0.38),
    ]
    assert [w.aligned for w in words] == [True, False, True]
    assert "1 word not aligned by their own letters, the first at 0.12 s: '210'" in result.warnings


def test_numbers_in_a_row_share_their_sound():
    result = align("_IN__|TWO_TEN_|AGE_", "in 2 10 age")

    assert [w[0] for w in words_of(result)] == ["in", "2", "10", "age"]
    starts = [w[1] for w in words_of(result)]
    assert starts == sorted(starts)


def test_interpolated_words_lie_between_their_neighbours():
    result = align("_IN__|TWO_|AGE_", "in 2 age", unknown="interpolate")

    ((_, _, before), (text, start, end), (_, after, _)) = words_of(result)
    assert text == "2"
    assert before <= start < end <= after


def test_dropped_words_are_left_out():
    result = align("_IN__|TWO_|AGE_", "in 2 age", unknown="drop")

    assert [w[0] for w in words_of(result)] == ["in", "age"]


def test_unknown_words_may_be_an_error():
    with pytest.raises(InputError, match="no letter for '2'"):
        align("_IN__|TWO_|AGE_", "in 2 age", unknown="error")


def test_punctuation_alone_keeps_its_place():
    result = align("_IN__|AGE_", "in — age")

    assert [w[0] for w in words_of(result)] == ["in", "—", "age"]
    assert result.warnings == ()


def test_star_at_the_edges_takes_speech_without_text():
    path = "_SO|MANY|WORDS|_HI|YOU_|AND|ON|IT|GOES_"

    without = align(path, "hi you")
    result = align(path, "hi you", star="edges")

    assert words_of(result)[0] == ("hi", 0.32, 0.36)
    assert result.warnings == ()
    assert "does not seem to belong" in without.warnings[0]


def test_star_between_lines_takes_what_the_text_leaves_out():
    path = "_HI|YOU_|SOME|MORE|WORDS|_GO|ON_"

    result = align(path, "hi you\ngo on", star="segment")

    assert result.warnings == ()
    assert [s.text for s in result.segments] == ["hi you", "go on"]
    assert result.segments[1].start > 0.48


def test_wrong_text_is_flagged_and_the_right_one_is_not():
    said = "THE_QUICK|BROWN|FOX|JUMPS|OVER|THE|LAZY|DOG_".replace("_", "|")

    right = align(f"_{said}_", "the quick brown fox jumps over the lazy dog")
    wrong = align(f"_{said}_", "pack my box with five dozen jugs")

    assert right.warnings == ()
    assert wrong.warnings[0].startswith("the text does not seem to belong to this audio")
    assert not wrong.segments[0].ok


def test_one_wrong_line_is_flagged_alone():
    path = "_GO|HOME|NOW__|THE|QUICK|FOX|JUMPS__|PUT|IT|DOWN_"

    result = align(path, "go home now\nmy dozen big liquor\nput it down")

    assert [s.ok for s in result.segments] == [True, False, True]
    assert result.warnings[0].startswith("1 line of 3 not heard as written, the first at")


def test_words_below_the_lowest_score_are_marked():
    result = align("_HI|YXU_", "hi you", min_score=0.5)

    assert [w.ok for w in result.segments[0].words] == [True, False]
    assert align("_HI|YXU_", "hi you").segments[0].words[1].ok


def test_long_word_is_a_warning():
    result = align("_HI" + "_" * 170 + "S_|YOU_", "his you")

    assert "1 word longer than 3 s, the first at 0.02 s: 'his'" in result.warnings


def test_text_longer_than_the_audio_is_an_error_with_both_numbers():
    with pytest.raises(InputError, match=r"spelled: the text needs 13 frames .* only 3"):
        align("_HI", "hello hello")


@pytest.mark.parametrize("text", ["", "\n \n", "...", "—\n—"])
def test_text_that_says_nothing_is_an_error(text):
    with pytest.raises(InputError, match="holds no word"):
        align("_HI_", text)


@pytest.mark.parametrize("seed", range(10))
def test_chunks_do_not_move_words(seed):
    choose = random.Random(seed)
    spoken = [choose.choice(["CAT", "HORSE", "A", "BEE", "ZOO"]) for _ in range(120)]
    path = "".join(
        "".join(c * choose.randint(1, 4) + "_" * choose.randint(1, 2) for c in word)
        + "|" + "_" * choose.randint(0, 9)
        for word in spoken
    )  # fmt: skip

    whole = align(path, " ".join(spoken), chunk_length=600)
    parts = align(path, " ".join(spoken), chunk_length=4, stride=1)

    assert words_of(parts) == words_of(whole)
    assert [w[0] for w in words_of(whole)] == spoken
    assert whole.warnings == ()


def test_inputs_come_back_in_order_and_failed_ones_in_their_place(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"not sound")
    line = (Segment("hi", 0, 0),)
    gone = FailedInput("gone.wav", InputError("gone.wav: no such file"))
    inputs = [
        TextOf(spell("_HI_"), line),
        TextOf(AudioInput(str(tmp_path / "broken.wav")), line),
        gone,
        TextOf(spell("H"), (Segment("much too long", 0, 0),)),
        TextOf(spell("_____HI_"), line),
    ]

    results = list(align_stream(inputs, spelling_recognizer(), AlignOptions(batch_size=2)))

    assert [isinstance(r, FailedInput) for r in results] == [False, True, True, True, False]
    assert results[2] is gone
    assert results[4].segments[0].start == pytest.approx(0.1)


def test_times_are_those_of_the_file_for_a_part_of_it():
    audio = spell("_HI_")
    part = Audio(audio.samples, audio.sample_rate, "part", offset=10.0)

    result = asrkit.align(part, "hi", spelling_recognizer(), tail=0)

    assert words_of(result) == [("hi", 10.02, 10.06)]


@pytest.mark.parametrize(
    "text",
    [
        ["hi", "you"],
        [Segment("hi", 0, 0), Segment("you", 5, 6)],
        Transcript("a", 1.0, "hi you", (Segment("hi", 0, 1), Segment("you", 1, 2))),
    ],
)
def test_text_may_be_lines_segments_or_a_transcript(text):
    result = align("_HI|YOU_", text)

    assert [s.text for s in result.segments] == ["hi", "you"]


def test_text_may_be_a_file(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\n<i>Hi</i>\nyou\n")

    result = align("_HI|YOU_", path)

    assert result.segments[0].lines == ("Hi", "you")


@pytest.mark.parametrize(
    "options",
    [
        {"level": "phone"},
        {"unknown": "guess"},
        {"star": "all"},
        {"min_score": 2},
        {"batch_size": 0},
        {"tail": -1},
        {"beam": 3},
    ],
)
def test_options_that_cannot_work_are_refused(options):
    with pytest.raises(UsageError):
        align("_HI_", "hi", **options)


def test_result_survives_json():
    audio = replace(spell("_IN__|T_WO_TEN_|AGE_"), id="one")

    result = asrkit.align(audio, "in 210 age", spelling_recognizer(), min_score=0.99, level="char")

    assert Transcript.from_dict(result.to_dict()) == result


def test_envelope_has_the_loudest_sample_of_each_frame():
    seen: list[Alignment] = []

    (result,) = align_stream(
        [TextOf(spell("_HI_"), (Segment("hi", 0, 0),))],
        spelling_recognizer(),
        AlignOptions(),
        on_alignment=seen.append,
    )

    assert [item.transcript for item in seen] == [result]
    assert seen[0].envelope[:4] == pytest.approx(np.array([0, 11, 10, 0]) / 32)
