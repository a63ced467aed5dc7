"""Connectionist temporal classification: from frame-wise scores to tokens with times."""

from asrkit.ctc.align import forced_align
from asrkit.ctc.alphabet import Alphabet
from asrkit.ctc.beam import BeamDecoder
from asrkit.ctc.emissions import Emissions, FrameClock
from asrkit.ctc.greedy import BestPath, collapse
from asrkit.ctc.lm import LanguageModel

__all__ = [
    "Alphabet",
    "BeamDecoder",
    "BestPath",
    "Emissions",
    "FrameClock",
    "LanguageModel",
    "collapse",
    "forced_align",
]
