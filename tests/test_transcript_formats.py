"""Transcripts there and back, in every format, and those that other programs wrote."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asrkit.errors import InputError
from asrkit.formats import FORMATS, read_segments, reading, render
from asrkit.formats.reading import read_text, segments_of, transcripts_in
from asrkit.formats.times import voices
from asrkit.options import SegmentOptions
from asrkit.outputs import encode
from asrkit.types import Character, Segment, Transcript, Word
from tests.test_formats import TWO_CUES

OPTIONS = SegmentOptions()
# How many cases of each property: some always, many where there is time
CASES = pytest.mark.parametrize("count", [8, pytest.param(300, marks=pytest.mark.slow)])
READABLE = [name for name, item in FORMATS.items() if item.read and name != "txt"]
# What is kept of times; milliseconds elsewhere
GRID_MS = {"ass": 10, "lrc": 10}
TRICKY = (
    'say "x" <i> </b> <v> --> -- {\\an8} {x} \\N \\ & &amp; [00:01.00] <00:01.00> [ti:x] ; ;;'
    " # 1984 NOTE WEBVTT שלום مرحبا ‏a 日本語 e\u0301 👩‍👩‍👧 \ufeff \u2060 <NA> a,b"
    " 00:00:01,000 1:2".split()
)


def back(text: str, name: str) -> Transcript:
    (transcript,) = transcripts_in(text, FORMATS[name])
    return transcript


def written(transcript: Transcript, name: str) -> str:
    return render(transcript, name, options=OPTIONS)


# ---------------------------------------------------------------------------- there and back

anything = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
tokens = st.sampled_from(TRICKY) | st.text(anything, min_size=1, max_size=6).filter(
    lambda text: text.split() == [text]
)


@st.composite
def spoken(draw: st.DrawFn, *, grid_ms: int = 1, overlap: bool = True) -> Transcript:
    """Speakers, segments and words at times of a grid; speech may overlap, words of one may not."""
    has_words = draw(st.booleans())
    segments = []
    begin = 0
    for _ in range(draw(st.integers(0, 5))):
        begin += draw(st.integers(0, 300))
        said = draw(st.lists(tokens, min_size=1, max_size=5))
        steps = draw(st.lists(st.integers(1, 90), min_size=len(said), max_size=len(said)))
        pauses = draw(st.lists(st.integers(0, 40), min_size=len(said), max_size=len(said)))
        words = []
        time = begin
        for text, step, pause in zip(said, steps, pauses, strict=True):
            start, end = (value * grid_ms / 1000 for value in (time + pause, time + pause + step))
            time += pause + step
            words.append(Word(text, start, end, draw(st.integers(0, 10_000)) / 10_000))
        end = time + draw(st.integers(0, 50))
        segments.append(
            Segment(
                " ".join(said),
                begin * grid_ms / 1000,
                end * grid_ms / 1000,
                draw(st.none() | st.just(0.5)),
                tuple(words) if has_words else (),
                speaker=draw(st.sampled_from([None, "Ann", "B", "a&b<c>"])),
            )
        )
        begin = begin if overlap and draw(st.booleans()) else end
    text = " ".join(segment.text for segment in segments)
    last = max((segment.end for segment in segments), default=0.0)
    return Transcript("a.wav", last + 1, text, tuple(segments), id="a")


def fold(text: str) -> str:
    """The text with the brackets that a format had to replace as they were."""
    text = text.replace("\\\u2060", "\\")
    return text.translate(str.maketrans("‹｛｝［，", "<{}[,")).replace("→", "-->")


def held(transcript: Transcript, name: str) -> list[tuple[object, ...]]:
    """What a format holds of a transcript, as rows in an order of their own."""
    holds = FORMATS[name].holds
    rows: list[tuple[object, ...]] = []
    for segment in transcript.segments:
        words = [
            (fold(word.text), word.start, word.end, word.score if "scores" in holds else 1)
            for word in segment.words
        ]
        if name == "ass":  # a word lasts until the next one
            starts = [*(start for _, start, _, _ in words), segment.end]
            words = [
                (word[0], *pair, 1) for word, pair in zip(words, pairwise(starts), strict=True)
            ]
        if "segments" not in holds and words:
            rows += words
            continue
        rows.append(
            (
                segment.start,
                segment.end,
                fold(segment.text) if "text" in holds else "",
                segment.speaker if "speakers" in holds else None,
                segment.score if "scores" in holds else None,
                tuple(words) if "words" in holds else (),
            )
        )
    return sorted(rows, key=repr)


@CASES
@pytest.mark.parametrize("name", READABLE)
def test_what_a_format_holds_comes_back(name, count):
    words_only = name in ("ctm", "words")

    @settings(max_examples=count)
    @given(spoken(grid_ms=GRID_MS.get(name, 1), overlap=name != "lrc"))
    def check(transcript):
        if words_only:
            assume(all(segment.words for segment in transcript.segments))
        if name == "aud":  # labels are words where there are some
            segments = tuple(replace(s, words=()) for s in transcript.segments)
            transcript = replace(transcript, segments=segments)

        again = back(written(transcript, name), name)

        assert held(again, name) == held(transcript, name)

    check()


@pytest.mark.parametrize("name", ["json", "jsonl"])
@settings(max_examples=8)
@given(transcript=spoken())
def test_json_holds_everything(name, transcript):
    letters = (Character("a", 0.0, 0.1, 0.5),)
    word = Word("a", 0.0, 0.1, 0.5, letters, aligned=False, ok=False)
    extra = Segment("a", 0.0, 0.1, words=(word,), lines=("a",), ok=False, source_text="b")
    segments = (extra, *transcript.segments)
    transcript = replace(transcript, segments=segments, warnings=("x",), source_text="b")

    assert back(written(transcript, name), name) == transcript


@st.composite
def careless(draw: st.DrawFn) -> Transcript:
    """Segments of any times, blank or on top of each other, with words of any length inside."""
    times = st.floats(0, 50) | st.integers(0, 5000).map(lambda n: n / 100)
    texts = st.lists(tokens | st.sampled_from([" ", "a b", "a\tb", "c\n\nd"]), max_size=4)
    segments = []
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(times, times)))
        inner = sorted(draw(st.lists(st.floats(start, end), max_size=6)))
        words = [
            Word(draw(tokens), *span, 0.25, aligned=draw(st.booleans()))
            for span in zip(inner[::2], inner[1::2], strict=False)
        ]
        speaker = draw(st.sampled_from([None, "A", "Ann", " ", "a - words"]))
        text = " ".join(draw(texts))
        segments.append(Segment(text, start, end, words=tuple(words), speaker=speaker))
    segments.sort(key=lambda segment: segment.start)
    return Transcript("a.wav", draw(times), "x", tuple(segments), id="a")


@CASES
@pytest.mark.parametrize("name", READABLE)
def test_what_was_read_is_written_as_it_was(name, count):
    @settings(max_examples=count)
    @given(careless())
    def check(transcript):
        assume(any(segment.end > 0 for segment in transcript.segments))
        first = written(transcript, name)

        again = back(first, name)

        if again.segments:
            assert written(replace(again, id="a"), name) == first

    check()


def test_voices_of_a_textgrid_that_begin_together_keep_their_order():
    speakers = (None, "A", None)
    segments = tuple(Segment("say", 0.0, 1.0, speaker=speaker) for speaker in speakers)
    grid = written(Transcript("a.wav", 1.0, "say say say", segments), "textgrid")

    assert written(back(grid, "textgrid"), "textgrid") == grid


@settings(max_examples=20)
@given(careless())
def test_voices_are_apart_and_nothing_is_lost(transcript):
    found = voices(transcript)

    assert sorted(repr(s) for s in transcript.segments if s.text.strip()) == sorted(
        repr(segment) for voice in found for segment in voice.segments
    )
    for voice in found:
        ends = accumulate((round(s.end * 1000) for s in voice.segments), max)
        starts = [round(s.start * 1000) for s in voice.segments[1:]]
        assert all(end <= start for end, start in zip(ends, starts, strict=False))
        assert len({(segment.speaker or "").strip() for segment in voice.segments}) <= 1


def test_the_same_text_may_be_said_by_two_at_once_in_a_textgrid():
    transcript = Transcript(
        "a.wav",
        3.0,
        "hi you hi",
        (
            Segment("hi you", 0.0, 2.0, speaker="Ann"),
            Segment("hi", 1.0, 1.5, words=(Word("hi", 1.0, 1.5, 1.0),), speaker="Bob"),
            Segment("no", 1.5, 3.0, speaker="Ann"),
        ),
    )

    grid = written(transcript, "textgrid")

    names = re.findall(r'name = "(.*)"', grid)
    assert names == ["Ann - segments", "Bob - segments", "Bob - words", "Ann - segments"]
    again = back(grid, "textgrid").segments
    assert [(s.text, s.speaker, len(s.words)) for s in again] == [
        ("hi you", "Ann", 0),
        ("hi", "Bob", 1),
        ("no", "Ann", 0),
    ]


# ------------------------------------------------------------------- files of other programs


def rows(transcript: Transcript) -> list[tuple[str, float, float]]:
    return [(s.text, s.start, s.end) for s in transcript.segments]


def words(transcript: Transcript) -> list[tuple[str, float, float]]:
    return [(w.text, w.start, w.end) for s in transcript.segments for w in s.words]


WHISPER = {
    "text": " Hi there. Bye.",
    "segments": [
        {
            "id": 0, "seek": 0, "start": 0.5, "end": 1.5, "text": " Hi there.",
            "tokens": [50364, 15], "temperature": 0.0, "avg_logprob": -0.3,
            "words": [
                {"word": " Hi", "start": 0.5, "end": 0.8, "probability": 0.75},
                {"word": " there.", "start": 0.8, "end": 0.8, "probability": 0.5},
            ],
        },
        {"id": 1, "start": 3, "end": 4.25, "text": " Bye."},
    ],
    "language": "en",
}  # fmt: skip
WHISPERX = {
    "segments": [
        {
            "start": 1.0, "end": 4.0, "text": " At 10 or 1130 maybe 7", "speaker": "SPEAKER_01",
            "words": [
                {"word": "At", "start": 1.0, "end": 1.5, "score": 0.9, "speaker": "SPEAKER_01"},
                {"word": "10"},
                {"word": "or", "start": 1.7, "end": 2.0, "score": 0.8},
                {"word": "1130"},
                {"word": "maybe", "start": 3.0, "end": 3.5, "score": 0.7},
                {"word": "7"},
            ],
        }
    ],
    "word_segments": [{"word": "At", "start": 1.0, "end": 1.5, "score": 0.9}],
}  # fmt: skip
WHISPER_CPP = {
    "systeminfo": "AVX = 1",
    "result": {"language": "en"},
    "transcription": [
        {
            "timestamps": {"from": "00:00:00,000", "to": "00:00:02,500"},
            "offsets": {"from": 0, "to": 2500},
            "text": " Americans, go",
            "tokens": [
                {"text": "[_BEG_]", "offsets": {"from": 0, "to": 0}, "id": 50363, "p": 0.98},
                {"text": " Americ", "offsets": {"from": 100, "to": 800}, "id": 1, "p": 0.5},
                {"text": "ans", "offsets": {"from": 800, "to": 1000}, "id": 2, "p": 0.9},
                {"text": ",", "offsets": {"from": 1000, "to": 1100}, "id": 3, "p": 0.9},
                {"text": " go", "offsets": {"from": 1200, "to": 2500}, "id": 4, "p": 0.25},
                {"text": "[_TT_125]", "offsets": {"from": 2500, "to": 2500}, "id": 50488},
            ],
        }
    ],
}


@pytest.mark.parametrize("data", [WHISPER, WHISPER["segments"]])
def test_json_of_whisper(data):
    found = back(json.dumps(data), "json")

    assert found.text == "Hi there. Bye."
    assert rows(found) == [("Hi there.", 0.5, 1.5), ("Bye.", 3.0, 4.25)]
    assert words(found) == [("Hi", 0.5, 0.8), ("there.", 0.8, 0.8)]
    assert [w.score for w in found.segments[0].words] == [0.75, 0.5]


def test_words_of_whisperx_without_times_lie_between_their_neighbours():
    found = back(json.dumps(WHISPERX), "json")

    assert words(found) == [
        ("At", 1.0, 1.5),
        ("10", 1.5, 1.7),
        ("or", 1.7, 2.0),
        ("1130", 2.0, 3.0),
        ("maybe", 3.0, 3.5),
        ("7", 3.5, 4.0),
    ]
    guessed = [w.text for s in found.segments for w in s.words if not w.aligned]
    assert guessed == ["10", "1130", "7"]
    assert found.segments[0].speaker == "SPEAKER_01"
    assert found.warnings == ("3 words had no times and got guessed ones",)


def test_neighbours_without_times_share_by_their_letters():
    items = [{"word": "1"}, {"word": "100"}, {"word": "b", "start": 2.0, "end": 2.5}]
    data = {"segments": [{"start": 0.0, "end": 3.0, "text": "1 100 b", "words": items}]}

    assert words(back(json.dumps(data), "json")) == [
        ("1", 0.0, 0.5),
        ("100", 0.5, 2.0),
        ("b", 2.0, 2.5),
    ]


def test_tokens_of_whisper_cpp_become_words():
    found = back(json.dumps(WHISPER_CPP), "json")

    assert rows(found) == [("Americans, go", 0.0, 2.5)]
    assert words(found) == [("Americans,", 0.1, 1.1), ("go", 1.2, 2.5)]


def test_a_character_that_whisper_cpp_cut_between_tokens_is_whole_again(tmp_path):
    data = json.dumps(WHISPER_CPP).encode()
    data = data.replace(b"Americans", "Año".encode()).replace(b" Americ", b" A\xc3")
    data = data.replace(b'"ans"', b'"\xb1o"')
    path = tmp_path / "a.json"
    path.write_bytes(data)

    (segment,) = read_segments(path)

    assert [word.text for word in segment.words] == ["Año,", "go"]
    path.write_bytes(data.replace("Año".encode(), b"A\xf1o"))
    with pytest.raises(InputError, match=r"transcription\[0\]: .* is not text"):
        read_segments(path)


def test_words_of_whisper_timestamped():
    word = {"text": "hi", "start": 0.5, "end": 0.75, "confidence": 0.25}
    data = {"segments": [{"text": " hi", "start": 0.5, "end": 1.0, "words": [word]}]}

    (segment,) = back(json.dumps(data), "json").segments

    assert segment.words == (Word("hi", 0.5, 0.75, 0.25),)


def test_chunks_of_transformers():
    chunks = [{"timestamp": [0.0, 1.5], "text": " hi"}, {"timestamp": [2.0, None], "text": " you"}]

    assert rows(back(json.dumps({"text": " hi you", "chunks": chunks}), "json")) == [
        ("hi", 0.0, 1.5),
        ("you", 2.0, 2.0),
    ]


def test_tables_of_whisper_are_milliseconds_and_ours_are_seconds():
    whisper = "start\tend\ttext\n500\t1500\tHi there\n3000\t4250\tit's 5\" long\n"
    cpp = 'start,end,text\n500,1500," Hi ""there"""\n'

    assert rows(back(whisper, "tsv")) == [("Hi there", 0.5, 1.5), ("it's 5\" long", 3.0, 4.25)]
    assert rows(back(cpp, "csv")) == [('Hi "there"', 0.5, 1.5)]
    assert rows(back("start\tend\ttext\n500\t1500.5\thi\n", "tsv")) == [("hi", 500.0, 1500.5)]


YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.389 align:start position:0%
 
hello<00:00:00.480><c> and</c><00:00:00.640><c> welcome</c>

00:00:02.389 --> 00:00:02.399 align:start position:0%
hello and welcome
 

00:00:02.399 --> 00:00:04.950 align:start position:0%
hello and welcome
to<00:00:02.560><c> the</c><00:00:03.000><c.colorE5E5E5> big</c> show
"""


def test_rolling_captions_of_youtube_say_everything_once_with_word_times():
    found = back(YOUTUBE, "vtt")

    assert rows(found) == [("hello and welcome", 0.16, 2.389), ("to the big show", 2.399, 4.95)]
    assert words(found)[:4] == [
        ("hello", 0.16, 0.48),
        ("and", 0.48, 0.64),
        ("welcome", 0.64, 2.389),
        ("to", 2.399, 2.56),
    ]
    assert [w.text for s in found.segments for w in s.words if not w.aligned] == ["show"]


def test_voices_of_webvtt_are_speakers():
    text = (
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<v.loud R&amp;B>one\n\n"
        "00:02.000 --> 00:03.000\n<v A>x</v>\n<v B>y\n"
    )

    found = back(text, "vtt").segments

    assert [(s.text, s.speaker) for s in found] == [("one", "R&B"), ("x y", None)]


def test_karaoke_syllables_become_words():
    text = (
        "[Events]\nFormat: Start, End, Name, Text\n"
        "Dialogue: 0:00:01.00,0:00:03.00,Ann,{\\pos(1,2)}"
        "{\\k20}{\\kf30}ka{\\K20}ra {\\ko50}o{\\k1}ke\n"
    )

    found = back(text, "ass")

    assert words(found) == [("kara", 1.2, 1.7), ("oke", 1.7, 2.21)]
    assert rows(found) == [("kara oke", 1.0, 3.0)]
    assert found.segments[0].speaker == "Ann"


def test_lyrics_with_tags_word_times_repeats_and_translation():
    text = (
        "[ti:Song]\n[offset:+100]\n[length:00:20]\n"
        "[00:05.00]<00:05.00>Row, <00:05.50>row<00:05.90>\n"
        "[00:10.10][00:01.10]boat\n[00:12.10]\n[00:15:10]eau\n[00:15.10]water\n"
    )

    found = back(text, "lrc")

    assert rows(found) == [
        ("boat", 1.0, 4.9),
        ("Row, row", 4.9, 10.0),
        ("boat", 10.0, 12.0),
        ("water", 15.0, 20.0),
    ]
    assert words(found) == [("Row,", 4.9, 5.4), ("row", 5.4, 5.8)]
    assert [s.source_text for s in found.segments] == [None, None, None, "eau"]


def test_broken_subrip_still_reads():
    text = (
        "\ufeff1\r\n00:00:01.5 --> 00:00:03,000\r\none\r\n\r\n"
        "00:00:02,000 --> 00:00:04,000\r\nno number, overlaps\r\n"
        "7\r\n00:00:05,000 --> 00:00:04,000\r\nbackwards\r\n"
    )

    assert rows(back(reading.decode_text(text.encode()), "srt")) == [
        ("one", 1.5, 3.0),
        ("no number, overlaps", 2.0, 4.0),
        ("backwards", 5.0, 5.0),
    ]


def test_audacity_labels_with_frequencies():
    text = "0.5\t1.25\tone two\n\\\t100.0\t200.0\n2\t2\tpoint\n3\t4\t\n"

    assert rows(back(text, "aud")) == [("one two", 0.5, 1.25), ("point", 2.0, 2.0)]


def test_textgrid_of_the_montreal_forced_aligner():
    tiers = [("Ann - words", "hi"), ("Ann - phones", "HH"), ("Bob - words", "you")]
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n3\n'
    body = "".join(f'"IntervalTier"\n"{n}"\n0\n2\n1\n0.5\n1.5\n"{t}"\n' for n, t in tiers)

    found = back(head + body, "textgrid")

    assert [
        (s.text, s.speaker, words_of[0].text) for s in found.segments for words_of in [s.words]
    ] == [
        ("hi", "Ann", "hi"),
        ("you", "Bob", "you"),
    ]
    assert found.duration == 2.0


def test_a_file_of_several_recordings_gives_several_transcripts():
    ctm = ";; comment\nr1 A 0.5 0.5 hi 0.9\nr1 B 0.7 0.5 you\nr2 1 0 1 bye\n"
    rttm = (
        "SPKR-INFO r1 1 <NA>\nSPEAKER r1 1 0.5 1.5 <NA> <NA> Ann <NA> <NA>\n"
        "SPEAKER r2 1 0 1 <NA> <NA> Bob 0.5\n"
    )
    table = "id,start,end,text,speaker\nr1,0.5,1,hi,Ann\nr2,0,1,bye,\n"

    from_ctm, from_rttm, from_csv = (
        transcripts_in(text, FORMATS[name])
        for text, name in ((ctm, "ctm"), (rttm, "rttm"), (table, "csv"))
    )

    assert [t.id for t in from_ctm] == [t.id for t in from_rttm] == [t.id for t in from_csv]
    assert [(s.text, s.speaker) for s in from_ctm[0].segments] == [("hi", "A"), ("you", "B")]
    assert rows(from_rttm[0]) == [("Ann", 0.5, 2.0)]
    assert [t.segments[0].speaker for t in from_csv] == ["Ann", None]


# ------------------------------------------------------------------------------ hostile files

SAMPLES = [(name, written(TWO_CUES, name)) for name in READABLE]
SAMPLES += [("json", json.dumps(data)) for data in (WHISPER, WHISPERX, WHISPER_CPP)]
SAMPLES += [("vtt", YOUTUBE), ("jsonl", json.dumps(WHISPER) + "\n" + json.dumps({"error": "x"}))]
POISON = [
    "nan",
    "-1",
    "1e999",
    "9" * 400,
    "1e300",
    "null",
    "true",
    "[",
    "{",
    '"',
    "\\ud800",
    "\\u0000",
]
POISON += [
    "\n",
    "\t",
    "-->",
    "<",
    "0:",
    "\\k99999999",
    "[1:2]",
    "\x85",
    "NaN",
    "-Infinity",
    " - words",
]


@CASES
@pytest.mark.parametrize(("name", "sample"), SAMPLES)
def test_a_damaged_file_is_read_or_refused(name, sample, count):
    places = st.integers(0, len(sample))
    edits = st.lists(st.tuples(places, places, st.sampled_from(POISON) | st.text(max_size=3)))

    @settings(max_examples=count)
    @given(edits)
    def check(changes):
        text = sample
        for begin, end, poison in changes:
            text = (
                text[:begin] + poison + text[end:]
                if begin % 2
                else text.replace(text[begin : begin + 3], poison, 1)
            )
        try:
            found = transcripts_in(text, FORMATS[name])
        except InputError:
            return
        for transcript in found:
            for other in FORMATS:
                with suppress(InputError):  # it has no times
                    encode(written(transcript, other))

    check()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.srt", "1\n00:00:01,000 -> 00:00:02\nhi\n", "no subtitles found"),
        ("a.srt", "1\n\n00:00:0x,000 --> 00:00:02,000\nhi\n", "line 3: '00:00:0x"),
        ("a.srt", "1\n-00:00:01,000 --> 00:00:02,000\nhi\n", "line 2: '-00:00:01"),
        ("a.vtt", "WEBVTT\n\n99999999:00:00.000 --> 99999999:00:01.000\nhi\n", "line 3: .* to 1e"),
        (
            "a.ass",
            "[Events]\nDialogue: 0,x,0:00:01.00,,,,,,,hi\n",
            "line 2: dialogue without times",
        ),
        ("a.lrc", "hello\n", "no subtitles found"),
        ("a.tsv", "start\tend\n1\t2\n", "line 1: no column 'text', found start, end"),
        ("a.tsv", "start\tend\ttext\n1\t2\n", "line 2: found 2 columns, expected 3"),
        ("a.csv", "start,end,text\n1.0,nan,x\n", "line 2: 'nan' is not a number"),
        ("a.csv", "start,end,text\n-1.0,2,x\n", "line 2: -1.0 s, expected a time"),
        (
            "a.words.tsv",
            "start\tend\tscore\tchar\tnote\n0\t1\t\tx\t\n",
            "line 1: no column 'word' or",
        ),
        ("a.ctm", "a 1 -1 1 hi\n", "a: 'hi' is from -1.0"),
        ("a.rttm", "SPEAKER a 1 inf 1 <NA> <NA> x\n", "line 1: 'inf' is not a number"),
        ("a.rttm", "hello\n", "no SPEAKER lines"),
        ("a.aud.txt", "1\n", "line 1: expected start<TAB>"),
        ("a.TextGrid", "hello", "not a TextGrid"),
        ("a.json", "[1]", r"segments\[0\]: not complete"),
        ("a.json", "1", "not an asrkit transcript"),
        ("a.json", '{"segments": [{"text": "x"}]}', r"segments\[0\]: not complete: KeyError"),
        ("a.json", '{"segments": [3]}', r"segments\[0\]: not complete"),
        ("a.json", '{"segments": [{"start": 0, "end": NaN, "text": "x"}]}', "not a number"),
        ("a.json", '{"segments": [{"start": 0, "end": 1e9, "text": "x"}]}', "expected a time"),
        ("a.json", '{"schema": 1, "segments": ["x"]}', "not a complete asrkit transcript"),
        ("a.json", '{"schema": ' + "[" * 200 + "]" * 200 + "}", "nested more than 64 deep"),
        ("a.json", '{"schema": "\\ud800"}', "is not text"),
        ("a.jsonl", '{"error": {"message": "no"}}\n', "line 1: an input that failed"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(name, text, message):
    with pytest.raises(InputError, match=message):
        segments_of(text, name)


def test_times_out_of_order_in_json_are_refused():
    backwards = Transcript("a.wav", 1.0, "x", (Segment("x", 0.5, 0.25),))

    with pytest.raises(InputError, match=r"segment 1: from 0\.5 to 0\.25 s"):
        back(written(backwards, "json"), "json")


def test_a_file_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 1 << 20)

    with pytest.raises(InputError, match="zero: longer than 1 MiB"):
        read_text("/dev/zero")
