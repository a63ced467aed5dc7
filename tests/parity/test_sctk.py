"""Counts and MAPSSWE segments beside NIST's own programs (Debian's package sctk)."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from asrkit.scoring import Counts, align_words, count_words
from asrkit.significance import error_segments

FOLDER = Path("/usr/lib/sctk/bin")
SCLITE, SC_STATS = (
    shutil.which(name) or shutil.which(FOLDER / name) for name in ("sclite", "sc_stats")
)
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not (SCLITE and SC_STATS), reason="sctk is not installed"),
]
# sclite weighs errors otherwise (4 a substitution, 3 others), so that of two alignments with as few
# errors it may take the other one, with more hits; sums of errors are the same with so many words.
WORDS = [f"w{number}" for number in range(500)]


def heard(said: list[str], rate: float, rng: random.Random) -> list[str]:
    text = []
    for word in said:
        chance = rng.random()
        if chance >= 0.25 * rate:
            text.append(rng.choice(WORDS) if chance < 0.8 * rate else word)
        if rng.random() < 0.2 * rate:
            text.append(rng.choice(WORDS))
    return text


@pytest.mark.parametrize("seed", range(3))
def test_errors_and_segments_are_those_of_sctk(seed, tmp_path):
    rng = random.Random(seed)
    said = [rng.choices(WORDS, k=rng.randint(5, 20)) for _ in range(200)]
    systems = [[heard(text, rate, rng) for text in said] for rate in (0.15, 0.11)]
    for name, texts in zip(("ref", "a", "b"), (said, *systems), strict=True):
        lines = (f"{' '.join(text)} (spk-{n:04})\n" for n, text in enumerate(texts))
        (tmp_path / f"{name}.trn").write_text("".join(lines))
    for name in "ab":
        command = [SCLITE, "-r", "ref.trn", "trn", "-h", f"{name}.trn", "trn"]
        subprocess.run(
            [*command, "-i", "spu_id", "-o", "sgml", "rsum"],
            cwd=tmp_path, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    both = b"".join((tmp_path / f"{name}.trn.sgml").read_bytes() for name in "ab")
    subprocess.run(
        [SC_STATS, "-p", "-t", "mapsswe", "-v", "-n", "both"],
        cwd=tmp_path, check=True, input=both, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    theirs = (tmp_path / "both.stats.mapsswe").read_text()

    alignments = [align_words(said, texts) for texts in systems]
    totals = [Counts.of(np.array(list(map(count_words, rows)))) for rows in alignments]
    pairs = zip(*alignments, strict=True)
    segments = [segment for one, two in pairs for segment in error_segments(one, two)]

    for name, total in zip("ab", totals, strict=True):
        (line,) = re.findall(r"\| Sum .*", (tmp_path / f"{name}.trn.raw").read_text())
        counts = list(map(int, re.findall(r"\d+", line)))
        assert counts[:2] == [200, total.num_reference]
        assert counts[6] == total.errors
    assert int(re.findall(r"Number of Segments\s+(\d+)", theirs)[0]) == len(segments)
    found = re.findall(r"Totals\s+\d+\s+(\d+)\s+(\d+)", theirs)[0]
    assert tuple(map(int, found)) == tuple(np.sum(segments, axis=0))
