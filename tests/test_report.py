"""Reports as files: what they say, and that no text in them is more than text."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

import asrkit
from asrkit.errors import UsageError
from asrkit.formats.utterances import Utterance
from asrkit.report import REPORTS, plan_reports

HOSTILE = (
    "<script>alert(1)</script> & \"quotes\" 'single' | `code` \x07 :: %0A <img src=x onerror=y>"
)
VOID = {"meta", "link", "input", "br"}


def hostile_report():
    said = [Utterance(HOSTILE, HOSTILE, labels={"speaker": HOSTILE}, audio="javascript:alert(1)")]
    heard = [Utterance(HOSTILE, "other words")]
    return asrkit.evaluate(said, heard, by="speaker", fail_above=0.0)


def write(name: str, report, folder: str = ".") -> str:
    return "".join(REPORTS[name].write(report, Path(folder)))


class Page(HTMLParser):
    """The elements of a page; fails where they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


def test_a_page_nests_and_runs_only_its_own_script():
    page = Page(write("html", hostile_report()))

    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 1
    assert "img" not in tags
    handlers = [name for _, attributes in page.found for name in attributes if name[:2] == "on"]
    assert handlers == []


def test_a_page_needs_no_network():
    text = write("html", hostile_report())

    links = [
        value
        for _, attributes in Page(text).found
        for name, value in attributes.items()
        if name in ("src", "href", "action", "srcset")
    ]
    assert links == ["data:,", "javascript%3Aalert%281%29"]
    assert not re.search(r"https?://|url\(|@import", text)
    assert "default-src 'none'" in text


def test_a_page_shows_words_that_were_lost_and_added():
    text = write("html", asrkit.evaluate(["a b c"], ["a x c d"]))

    assert "a <del dir='auto'>b</del><ins dir='auto'>x</ins> c <ins dir='auto'>d</ins>" in text


def test_words_in_other_directions_are_kept_apart():
    text = write("html", asrkit.evaluate(["שלום עולם"], ["שלום world"]))

    assert "<p dir='auto'>שלום <del dir='auto'>עולם</del><ins dir='auto'>world</ins></p>" in text


@pytest.mark.parametrize(
    ("audio", "folder", "link"),
    [
        ("clips/a b#1.wav", "out", "../clips/a%20b%231.wav#t=1.500,3.500"),
        ("out/a.wav", "out", "a.wav#t=1.500,3.500"),
    ],
)
def test_players_find_the_audio_from_where_the_page_is(audio, folder, link):
    said = [Utterance("1", "a", audio=audio, offset=1.5, duration=2.0)]
    report = asrkit.evaluate(said, [Utterance("1", "a")])

    page = Page(write("html", report, folder))

    assert [item["href"] for tag, item in page.found if tag == "a"] == [link]


def test_a_page_of_many_utterances_holds_the_worst(monkeypatch):
    monkeypatch.setattr("asrkit.report.html._MOST_ROWS", 2)

    text = write("html", asrkit.evaluate(["a b", "c", "d e"], ["a b", "x", "y z"]))

    assert re.findall(r"data-id='(.*?)'", text) == ["line 3", "line 2"]
    assert "The 2 with most errors of 3" in text


def test_json_is_what_the_report_says_with_a_line_for_each_utterance():
    report = hostile_report()

    text = write("json", report)

    assert json.loads(text) == json.loads(json.dumps(report.to_dict()))
    assert len([line for line in text.splitlines() if '"hypotheses"' in line]) == 1


def test_csv_comes_back():
    (row,) = csv.DictReader(io.StringIO(write("csv", hostile_report()), newline=""))

    assert row["reference"] == row["id"] == row["speaker"] == HOSTILE
    assert row["hypothesis"] == "other words"


def test_junit_is_xml_whatever_the_texts():
    report = asrkit.evaluate([Utterance("1", "a")], [Utterance("1", "b")], fail_above=0.0)

    root = ElementTree.fromstring(write("junit", report).encode())

    assert [item.get("name") for item in root.iter("testcase")] == ["wer of hypothesis 1"]


def test_junit_without_checks_is_one_case_that_passes():
    root = ElementTree.fromstring(write("junit", asrkit.evaluate(["a"], ["b"])).encode())

    assert root.get("failures") == "0"
    assert len(list(root.iter("testcase"))) == 1


def test_github_commands_stay_on_their_lines():
    lines = write("github", hostile_report()).splitlines()

    assert len(lines) == 2
    assert all(line.startswith(("::error ", "::notice ")) for line in lines)


def test_markdown_tables_keep_their_cells():
    text = write("markdown", hostile_report())

    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert widths == {10, 4}
    assert "<script>" not in text


def test_every_kind_writes_a_report_without_errors():
    report = asrkit.evaluate(["a"], ["a"])

    for name in REPORTS:
        assert write(name, report)


@pytest.mark.parametrize(
    ("outputs", "formats", "plan"),
    [
        (["-"], None, [("text", None)]),
        (["-"], "json", [("json", None)]),
        (["x.html"], None, [("html", "x.html")]),
        (["x.HTML"], None, [("html", "x.HTML")]),
        (["x.log"], "json", [("json", "x.log")]),
        (["out/"], "json,html", [("json", "out/eval-wer.json"), ("html", "out/eval-wer.html")]),
        (["-", "x.json"], None, [("text", None), ("json", "x.json")]),
        (["x.json", "y.html"], "json,html", [("json", "x.json"), ("html", "y.html")]),
    ],
)
def test_plans(outputs, formats, plan):
    found = plan_reports(outputs, formats)

    assert [(name, str(path) if path else None) for name, path in found] == plan


@pytest.mark.parametrize(
    ("outputs", "formats"),
    [(["-"], "json,csv"), (["x.csv"], "json,html"), (["x.doc"], None), (["-", "-"], None)],
)
def test_plans_that_cannot_be(outputs, formats):
    with pytest.raises(UsageError):
        plan_reports(outputs, formats)
