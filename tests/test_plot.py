"""The picture of an alignment."""

from __future__ import annotations

import base64
import re
import zlib
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from asrkit.options import AlignOptions
from asrkit.plot import as_html, draw_alignment
from asrkit.tasks.align import Alignment, TextOf, align_stream
from asrkit.types import Segment
from tests.test_transcribe import spell, spelling_recognizer

SVG = "{http://www.w3.org/2000/svg}"


def picture(path="_HI|TWO|YOU_", text="hi 2 you", **changes):
    seen: list[Alignment] = []
    inputs = [TextOf(spell(path), (Segment(text, 0, 0),))]
    list(align_stream(inputs, spelling_recognizer(), AlignOptions(), on_alignment=seen.append))
    (result,) = seen
    return draw_alignment(
        replace(result.transcript, **changes),
        result.emissions,
        result.spans,
        labels=result.labels,
        blank=result.blank,
        envelope=result.envelope,
    )


def test_picture_is_xml_with_every_word_and_token():
    root = ElementTree.fromstring(picture())

    texts = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert {"hi", "2", "you"} <= set(texts)
    assert {"H", "I", "U", "*", "gap", "blank"} <= set(texts)
    assert len(list(root.iter(f"{SVG}rect"))) == 1 + 3


def test_picture_refers_to_nothing_outside():
    svg = picture()

    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    assert all(link.startswith("data:") for link in re.findall(r"href='([^']*)'", svg))
    assert "http" not in as_html(svg, "a").replace("http://www.w3.org/2000/svg", "")


def test_heat_map_holds_the_scores():
    data = re.search(r"base64,([^']*)'", picture("_HI_", "hi"))
    png = base64.b64decode(data.group(1))

    start = png.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompressobj().decompress(png[start:]), np.uint8)
    rows = rows.reshape(3, -1)[:, 1:]  # H, I and the blank, each after its filter byte
    assert rows.argmax(axis=0).tolist() == [2, 0, 1, 2]


def test_markup_in_words_and_names_is_text():
    svg = picture(source="<b>&\x00.wav", warnings=("'<i>'",))

    root = ElementTree.fromstring(svg)
    assert "<b>&\ufffd.wav" in "".join(root.itertext())
    ElementTree.fromstring(as_html(svg, "<&").partition("<body>")[2].partition("</body>")[0])


def test_long_audio_is_drawn_in_tiles():
    svg = picture("_HI_" + "_" * 5000, "hi")

    assert svg.count("<image ") == 3
