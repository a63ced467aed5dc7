"""References and hypotheses from files, and which belongs to which."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrkit.corpus import pair
from asrkit.errors import InputError
from asrkit.formats.utterances import Texts, Utterance, read_texts, words_in_segments
from asrkit.options import TableOptions
from asrkit.types import Word

TABLES = TableOptions()


def write(folder: Path, name: str, text: str | bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def texts_of(path: str, **options) -> dict[str, str | None]:
    is_hypothesis = options.pop("is_hypothesis", False)
    found = read_texts(path, TableOptions(**options), is_hypothesis=is_hypothesis)
    return {item.id: item.text for item in found.utterances}


def pairs_of(folder: Path, reference: tuple[str, str], hypothesis: tuple[str, str], **options):
    """(id, said, heard) of two files given by name and content."""
    missing = options.pop("missing", "error")
    tables = TableOptions(**options)
    said = read_texts(write(folder, *reference), tables)
    heard = read_texts(write(folder, *hypothesis), tables, is_hypothesis=True)
    corpus = pair(said, [heard], missing)
    return [
        (item.id, item.text, text)
        for item, text in zip(corpus.utterances, corpus.systems[0].texts, strict=True)
    ]


# ------------------------------------------------------------------------------------------ lines


def test_lines_are_texts_in_order(tmp_path):
    path = write(tmp_path, "ref.txt", "the cat\nI\n\na dog\r\n")

    assert [item.text for item in read_texts(path, TABLES).utterances] == [
        "the cat", "I", "", "a dog",
    ]  # fmt: skip


def test_other_line_ends_of_unicode_do_not_end_a_line(tmp_path):
    path = write(tmp_path, "ref.txt", "one\u2028two\x0cthree\n")

    assert len(read_texts(path, TABLES).utterances) == 1


def test_ids_before_lines_are_seen(tmp_path):
    path = write(tmp_path, "text", "utt1 hello there\nutt2\nutt3  you\n")

    assert texts_of(path) == {"utt1": "hello there", "utt2": "", "utt3": "you"}


def test_ids_behind_lines_are_seen(tmp_path):
    path = write(tmp_path, "ref.trn", "hello (there) you (cmh_sa01)\n(cmh_sa02)\n")

    assert texts_of(path) == {"cmh_sa01": "hello (there) you ", "cmh_sa02": ""}


def test_ids_before_tabs_are_seen_as_transcribe_prints_them(tmp_path):
    path = write(tmp_path, "out.txt", "a b.wav\tHELLO THERE\nc.wav\t\n")

    assert texts_of(path) == {"a b.wav": "HELLO THERE", "c.wav": ""}


@pytest.mark.parametrize(
    "text",
    [
        "the cat\nthe dog\n",  # a first word comes twice
        "one thing\ntwo things\n",  # no digits
        "9-year-old boy\n",  # a single line
        "1 thing\nsome thing\n",
    ],
)
def test_first_words_that_need_not_be_ids_are_words(tmp_path, text):
    found = read_texts(write(tmp_path, "ref.txt", text), TABLES)

    assert not found.has_ids


def test_where_ids_stand_can_be_said(tmp_path):
    path = write(tmp_path, "ref.txt", "one 1 (x)\ntwo 2 (y)\n")

    assert texts_of(path, ids="first") == {"one": "1 (x)", "two": "2 (y)"}
    assert [u.text for u in read_texts(path, TableOptions(ids="none")).utterances] == [
        "one 1 (x)", "two 2 (y)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ids", "message"), [("last", r"line 2: found no \(id\)"), ("tab", "line 1: expected")]
)
def test_a_line_without_its_id_is_an_error(tmp_path, ids, message):
    path = write(tmp_path, "ref.txt", "one (x)\ntwo\n")

    with pytest.raises(InputError, match=message):
        read_texts(path, TableOptions(ids=ids))


# ----------------------------------------------------------------------------------------- tables


def test_a_manifest_names_utterances_by_their_audio(tmp_path):
    path = write(
        tmp_path, "m.tsv", "audio_filepath\ttext\tspeaker\na/1.wav\thello\tann\na/2.wav\t\tbob\n"
    )

    items = read_texts(path, TABLES).utterances

    assert [item.id for item in items] == [f"{tmp_path}/a/1.wav", f"{tmp_path}/a/2.wav"]
    assert [item.audio for item in items] == [item.id for item in items]
    assert items[0].labels == {"speaker": "ann"}


def test_hypotheses_have_a_column_of_their_own(tmp_path):
    row = {"id": 7, "text": "said", "pred_text": "heard", "duration": 2.0, "seconds": 0.5}
    path = write(tmp_path, "m.jsonl", json.dumps(row) + "\n")

    assert texts_of(path) == {"7": "said"}
    assert texts_of(path, is_hypothesis=True) == {"7": "heard"}
    (item,) = read_texts(path, TABLES, is_hypothesis=True).utterances
    assert (item.duration, item.seconds) == (2.0, 0.5)


def test_json_lines_of_transcribe_are_hypotheses(tmp_path):
    rows = [
        {"schema": 1, "audio": "a.wav", "id": "a.wav", "text": "HELLO", "duration": 1.0},
        {"schema": 1, "audio": "b.wav", "id": "b.wav", "error": {"type": "AudioError"}},
    ]
    path = write(tmp_path, "out.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    assert texts_of(path, is_hypothesis=True) == {"a.wav": "HELLO", "b.wav": None}


def test_a_table_with_commas_is_read_with_its_quotes(tmp_path):
    path = write(tmp_path, "m.csv", 'id,text\n1,"yes, ""sir"""\n')

    assert texts_of(path) == {"1": 'yes, "sir"'}


def test_a_tsv_without_a_header_has_ids_and_texts(tmp_path):
    path = write(tmp_path, "out.tsv", "a.wav\tHELLO\nb.wav\tYOU\n")

    assert texts_of(path) == {"a.wav": "HELLO", "b.wav": "YOU"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "id,words\n1,a\n", "m.csv:2: no column 'text', found id, words"),
        ("m.jsonl", '{"text": 3}\n', "m.jsonl:1: text is not text"),
        ("m.jsonl", "{]\n", "m.jsonl:1: not JSON"),
        ("m.csv", "id,text\n1\n", "m.csv:2: found 1 columns, expected 2"),
        ("ref.txt", b"caf\xe9\n", "ref.txt: not UTF-8: byte 3 does not fit"),
        ("ref.txt", b"a\0b", "ref.txt: holds NUL characters"),
        ("x.stm", "a 1 s 0\n", "x.stm: line 1: 4 fields"),
        ("x.stm", "a 1 s 0 soon hello\n", "x.stm: line 1: 'soon' is not a number"),
        ("x.ctm", "a 1 0 0\n", "x.ctm: line 1: 4 fields"),
        ("x.json", "{}", "x.json: not a transcript"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read_texts(write(tmp_path, name, text), TABLES)


def test_utf16_with_its_mark_is_read(tmp_path):
    path = write(tmp_path, "ref.txt", "日本\n".encode("utf-16"))

    assert read_texts(path, TABLES).utterances[0].text == "日本"


def test_standard_input_is_read(monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(b'{"id": "a", "text": "hello"}\n'))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert texts_of("-") == {"a": "hello"}


# ------------------------------------------------------------------------------------------ times

STM = """;; comment
rec A ann 0.00 2.00 <O,F> hello there
rec A bob 2.00 4.00 general
rec A ann 4.00 5.00 IGNORE_TIME_SEGMENT_IN_SCORING
rec A ann 5.00 6.00
"""


def test_segments_have_speakers_and_times(tmp_path):
    items = read_texts(write(tmp_path, "ref.stm", STM), TABLES).utterances

    assert [item.labels["speaker"] for item in items] == ["ann", "bob", "ann", "ann"]
    assert [item.text for item in items] == ["hello there", "general", None, ""]
    assert items[0].labels["label"] == "O,F"
    assert (items[1].offset, items[1].duration) == (2.0, 2.0)


def test_words_fall_into_the_segments_that_their_middles_are_in(tmp_path):
    ctm = (
        "rec A 0.10 0.50 hello\n"
        "rec A 1.80 0.50 kenobi\n"  # its middle is at 2.05
        "rec A 0.70 0.50 there\n"  # not in order
        "rec A 4.20 0.10 noise\n"  # where scoring is to ignore
        "rec A 7.00 0.50 late\n"  # nearest to the last segment
    )

    pairs = pairs_of(tmp_path, ("ref.stm", STM), ("hyp.ctm", ctm))

    assert [heard for _, _, heard in pairs] == ["hello there", "kenobi", "late"]


@given(data=st.data())
def test_every_word_is_in_its_nearest_segment(data):
    times = st.integers(0, 40).map(lambda half: half / 2)
    starts = data.draw(st.lists(times, min_size=1, max_size=6))
    where = {"recording": "r", "channel": "1"}
    segments = [
        Utterance(f"s{n}", "x", labels=where, offset=start, duration=data.draw(times))
        for n, start in enumerate(starts)
    ]
    words = [Word(f"w{n}", start, start, 1.0) for n, start in enumerate(data.draw(st.lists(times)))]

    found = words_in_segments(segments, Texts("hyp", [], words={("r", "1"): words}))

    place = {word: item for item in found.utterances for word in (item.text or "").split()}
    assert len(place) == len(words)
    for word in words:
        inside = [s for s in segments if s.offset <= word.start <= s.offset + s.duration]
        if inside:
            assert place[word.text].id in [item.id for item in inside]


def test_a_word_at_the_very_end_of_a_long_segment_belongs_to_it(tmp_path):
    stm = "rec A ann 7.5 18.5 long\nrec A bob 7.5 7.5 nothing\n"

    pairs = pairs_of(tmp_path, ("ref.stm", stm), ("hyp.ctm", "rec A 18.0 1.0 long\n"))

    assert [heard for _, _, heard in pairs] == ["long", ""]


def test_words_of_an_unknown_recording_are_an_error(tmp_path):
    with pytest.raises(InputError, match="recording 'rec' channel '1' is not in the reference"):
        pairs_of(tmp_path, ("ref.stm", STM), ("hyp.ctm", "rec 1 0.1 0.5 hello\n"))


def test_words_on_both_sides_are_paired_by_recording(tmp_path):
    pairs = pairs_of(
        tmp_path,
        ("ref.ctm", "a 1 0 1 hi\na 1 1 1 you\nb 1 0 1 x\n"),
        ("hyp.ctm", "b 1 0 1 y\na 1 0.2 1 hi\n"),
    )

    assert pairs == [("a", "hi you", "hi"), ("b", "x", "y")]


# -------------------------------------------------------------------------------------- documents

SRT = "1\n00:00:00,000 --> 00:00:01,000\nhello\n\n2\n00:00:01,000 --> 00:00:02,000\nyou there\n"


def test_subtitles_are_one_text_and_so_are_the_lines_beside_them(tmp_path):
    pairs = pairs_of(tmp_path, ("ref.txt", "hello you\nthere\n"), ("hyp.srt", SRT))

    assert pairs == [(f"{tmp_path}/ref.txt", "hello you there", "hello you there")]


def test_folders_are_paired_by_the_names_of_their_files(tmp_path):
    for name, text in (("ref/a.txt", "one\ntwo\n"), ("ref/deep/b.txt", ""), ("hyp/a.srt", SRT)):
        write(tmp_path, name, text)
    write(tmp_path, "hyp/deep/b.vtt", "WEBVTT\n")

    said, heard = (read_texts(str(tmp_path / name), TABLES) for name in ("ref", "hyp"))
    corpus = pair(said, [heard])

    assert [(u.id, u.text) for u in corpus.utterances] == [("a", "one two"), ("deep/b", "")]
    assert corpus.systems[0].texts == ["hello you there", ""]


def test_two_files_of_one_name_are_an_error(tmp_path):
    write(tmp_path, "ref/a.txt", "x")
    write(tmp_path, "ref/a.srt", SRT)

    with pytest.raises(InputError, match="several texts are called a"):
        read_texts(str(tmp_path / "ref"), TABLES)


# ---------------------------------------------------------------------------------------- pairing

IDS = st.lists(st.from_regex(r"[a-z]{1,3}[0-9]{1,2}", fullmatch=True), unique=True, min_size=2)
TEXTS = st.lists(st.sampled_from(["hi", "you", "été", "I", "שלום"]), max_size=5).map(" ".join)


@given(data=st.data(), ids=IDS, form=st.sampled_from(["first", "last", "tab", "csv", "jsonl"]))
def test_pairs_come_back_from_every_form_in_any_order(data, ids, form, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    said = {id_: data.draw(TEXTS) for id_ in ids}
    heard = {id_: data.draw(TEXTS) for id_ in data.draw(st.permutations(ids))}
    write_form = {
        "first": lambda id_, text: f"{id_} {text}\n",
        "last": lambda id_, text: f"{text} ({id_})\n",
        "tab": lambda id_, text: f"{id_}\t{text}\n",
        "csv": lambda id_, text: f'{id_},"{text}"\n',
        "jsonl": lambda id_, text: json.dumps({"id": id_, "text": text}) + "\n",
    }[form]
    head = "id,text\n" if form == "csv" else ""
    suffix = form if form in ("csv", "jsonl") else "txt"

    pairs = pairs_of(
        folder,
        (f"ref.{suffix}", head + "".join(write_form(*item) for item in said.items())),
        (f"hyp.{suffix}", head + "".join(write_form(*item) for item in heard.items())),
    )

    assert [(id_, text.strip(), other.strip()) for id_, text, other in pairs] == [
        (id_, text, heard[id_]) for id_, text in said.items()
    ]


def test_lines_of_unequal_number_are_an_error_that_counts_them(tmp_path):
    with pytest.raises(InputError, match=r"ref\.txt has 2 lines, .*hyp\.txt has 3"):
        pairs_of(tmp_path, ("ref.txt", "a\nb\n"), ("hyp.txt", "a\nb\nc\n"))


def test_missing_ids_are_named_and_counted(tmp_path):
    ref = "".join(f"u{n} x\n" for n in range(9))

    with pytest.raises(InputError) as caught:
        pairs_of(tmp_path, ("ref.txt", ref), ("hyp.txt", "u0 x\nz9 y\n"))

    assert "has no hypothesis for u1, u2, u3, u4, u5 ... (8 in all)" in caught.value.message
    assert "has no reference for z9" in caught.value.message
    assert "--missing empty" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("empty", [("u1", "x", "x"), ("u2", "y", "")]), ("skip", [("u1", "x", "x")])],
)
def test_missing_hypotheses_are_empty_or_left_out(tmp_path, missing, expected):
    pairs = pairs_of(
        tmp_path, ("ref.txt", "u1 x\nu2 y\n"), ("hyp.txt", "u1 x\nz9 z\n"), missing=missing
    )

    assert pairs == expected


def test_what_is_missing_is_noted():
    said = Texts("ref", [Utterance("a", "x"), Utterance("b", "y")])
    heard = Texts("hyp", [Utterance("a", "x"), Utterance("c", "z"), Utterance("b", None)])

    corpus = pair(said, [heard], "empty")

    assert corpus.notes == (
        "no hypothesis in hyp, counted as nothing heard: b",
        "no reference for texts of hyp, left out: c",
    )
    assert corpus.systems[0].num_missing == 1


def test_doubles_are_named_with_their_lines(tmp_path):
    with pytest.raises(InputError, match=r"hyp\.txt: several texts for u1, in lines 1 and 3"):
        pairs_of(tmp_path, ("ref.txt", "u1 x\nu2 y\n"), ("hyp.txt", "u1\tx\nu2\ty\nu1\tz\n"))


def test_ids_without_one_in_common_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"no id in common: 'u1' there, 'a1' here"):
        pairs_of(tmp_path, ("ref.txt", "u1 x\nu2 y\n"), ("hyp.txt", "a1 x\na2 y\n"), missing="skip")


def test_ids_on_one_side_only_are_an_error(tmp_path):
    with pytest.raises(InputError, match="has none to pair them with"):
        pairs_of(tmp_path, ("ref.txt", "u1 x\nu2 y\n"), ("hyp.txt", "x\ny\n"))
    with pytest.raises(InputError, match="has none to pair them with"):
        pairs_of(tmp_path, ("ref.txt", "x\ny\n"), ("hyp.txt", "u1 x\nu2 y\n"))


def test_no_utterances_are_an_error(tmp_path):
    with pytest.raises(InputError, match="holds no utterances"):
        pairs_of(tmp_path, ("ref.txt", ""), ("hyp.txt", ""))


def test_lines_that_may_begin_with_ids_are_noted():
    said = Texts("ref", [Utterance("", f"{word} x") for word in ("ann", "bob", "cy")])
    heard = Texts("hyp", [Utterance("", f"{word} y") for word in ("ann", "bob", "cy")])

    assert "--ids first" in pair(said, [heard]).notes[0]


def test_systems_of_one_name_stay_apart():
    texts = Texts("t", [Utterance("", "x")])

    names = [system.name for system in pair(texts, [texts, texts, texts]).systems]

    assert names == ["t", "t (2)", "t (3)"]


def test_speed_is_that_of_texts_with_a_time():
    said = Texts("ref", [Utterance("a", "x", duration=4.0), Utterance("b", "y", duration=6.0)])
    heard = Texts("hyp", [Utterance("a", "x", seconds=0.5), Utterance("b", "y")])

    (system,) = pair(said, [heard]).systems

    assert (system.audio_seconds, system.seconds) == (4.0, 0.5)
