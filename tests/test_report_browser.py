"""The page in a real browser. Skipped where playwright or Chromium is not installed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import asrkit
from asrkit.formats.utterances import Utterance
from asrkit.report import REPORTS

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
]

SAID = ["the cat sat on the mat", "a quick brown fox", "שלום עולם", "I"]
HEARD = ["the cat sat on a mat today", "a quick brown fox", "שלום world", "a"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    soundfile.write(folder / "clip.wav", np.zeros(1600), 16_000)
    said = [
        Utterance(f"u{n}", text, labels={"speaker": "ab"[n % 2]}, audio=str(folder / "clip.wav"))
        for n, text in enumerate(SAID)
    ]
    heard = [Utterance(f"u{n}", text) for n, text in enumerate(HEARD)]
    report = asrkit.evaluate(said, heard, by="speaker")
    path = folder / "report.html"
    path.write_text("".join(REPORTS["html"].write(report, folder)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, page_file):
    """The page, opened; fails after the test if it has complained or asked the network."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda r: r.url.startswith("file:") or complaints.append(r.url))
    page.goto(page_file.as_uri())
    yield page
    context.close()
    assert complaints == []


def shown(page) -> list[str]:
    return page.locator(".utterances > li:visible h3").all_text_contents()


def test_opens_with_the_worst_first(page):
    assert page.title() == "WER 30.77 % · reference"
    assert shown(page) == ["u0", "u2", "u3", "u1"]


def test_sorts_with_the_keyboard(page):
    page.get_by_role("button", name="Id").focus()
    page.keyboard.press("Enter")
    assert shown(page) == ["u0", "u1", "u2", "u3"]

    page.keyboard.press("Enter")
    assert shown(page) == ["u3", "u2", "u1", "u0"]

    page.get_by_role("button", name="WER").click()
    assert shown(page) == ["u3", "u2", "u0", "u1"]
    pressed = page.locator("button[aria-pressed=true]").all_inner_texts()
    assert pressed == ["WER ↓"]


def test_filters_by_word_errors_and_group(page):
    page.get_by_role("searchbox").fill("fox")
    assert shown(page) == ["u1"]
    assert page.locator("#count").inner_text() == "1 of 4 shown"

    page.get_by_role("searchbox").fill("")
    page.get_by_label("errors only").check()
    assert shown(page) == ["u0", "u2", "u3"]

    page.locator("#group").select_option("speaker=a")
    assert shown(page) == ["u0", "u2"]


def test_plays_audio(page):
    page.locator("a.play").first.click()

    page.wait_for_function("document.querySelector('audio').readyState >= 2")
    assert page.locator(".player").is_visible()
    assert page.locator(".player span").inner_text() == "u0"


def test_fits_a_telephone(page):
    page.set_viewport_size({"width": 400, "height": 800})

    excess = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    assert excess == 0
    assert page.locator("h1").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, scheme):
    page.emulate_media(color_scheme=scheme)

    for selector in ("body", ".quiet", "del", "ins", ".sort button[aria-pressed=true]"):
        ratio = page.evaluate(CONTRAST, selector)
        assert ratio >= 4.5, (selector, ratio)


# The contrast ratio of WCAG 2 between the text of an element and the first ground behind it.
CONTRAST = """selector => {
  const numbers = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].reduce((sum, value, index) => {
    const part = value / 255;
    const linear = part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    return sum + linear * [0.2126, 0.7152, 0.0722][index];
  }, 0);
  const element = document.querySelector(selector);
  let behind = element;
  const ground = node => numbers(getComputedStyle(node).backgroundColor);
  while (behind.parentElement && ground(behind)[3] === 0) behind = behind.parentElement;
  const pair = [light(numbers(getComputedStyle(element).color)), light(ground(behind))];
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
}"""
