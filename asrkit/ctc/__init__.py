"""Connectionist temporal classification: from frame-wise scores to tokens with times."""

from asrkit.ctc.emissions import Emissions, FrameClock
from asrkit.ctc.greedy import BestPath, collapse

__all__ = ["BestPath", "Emissions", "FrameClock", "collapse"]
