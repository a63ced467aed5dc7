"""The worked examples of CONTRIBUTING.md work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

import asrkit.models
from asrkit.formats import FORMATS, render, speech
from asrkit.options import SegmentOptions
from asrkit.types import Segment, Transcript
from tests.tiny import tiny_model

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(heading: str) -> list[str]:
    """The Python blocks of a section."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)


def test_format_is_written_and_offered_as_soon_as_it_is_registered(monkeypatch):
    monkeypatch.setattr(FORMATS, "_formats", dict(FORMATS))
    (code,) = blocks("Adding a format")

    exec(code, dict(vars(speech)))  # where CONTRIBUTING says that it belongs

    transcript = Transcript(
        "a talk.wav", 9.0, "GO ON STOP", (Segment("GO\nON", 0.25, 1.5), Segment("STOP", 2.0, 3.125))
    )
    assert FORMATS.find("stm").suffix == ".stm"
    assert render(transcript, "stm", options=SegmentOptions()) == (
        "a_talk 1 speech 0.250 1.500 GO ON\na_talk 1 speech 2.000 3.125 STOP\n"
    )


@pytest.fixture
def family(monkeypatch):
    """The family of the worked example, registered."""
    source, registration = blocks("Adding a model family")
    module = ModuleType("asrkit.models.unispeech")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(source, vars(module))
    monkeypatch.setattr(asrkit.models, "FAMILIES", dict(asrkit.models.FAMILIES))
    monkeypatch.setattr("asrkit.models.runtime.FAMILIES", asrkit.models.FAMILIES)
    exec(registration, vars(asrkit.models))
    return module


def test_family_loads_its_checkpoints_and_gives_the_numbers_of_its_network(family, tmp_path):
    folder = tiny_model(folder=tmp_path)
    expected = asrkit.load_model(str(folder))
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unispeech", "architectures": ["UniSpeechForCTC"]}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    renamed = {key.replace("wav2vec2.", "unispeech."): value for key, value in tensors.items()}
    save_file(renamed, folder / "model.safetensors")
    assert renamed.keys() != tensors.keys()

    model = asrkit.load_model(str(folder))

    values = torch.randn(2, 4_000, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4_000, 3_000])
    assert type(model) is family.UniSpeechForCTC
    assert torch.equal(model(values, lengths).logits, expected(values, lengths).logits)
    assert isinstance(asrkit.load_model(str(folder), head="base"), family.UniSpeechModel)
