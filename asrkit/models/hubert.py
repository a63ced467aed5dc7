"""HuBERT: Wav2Vec2's network, trained to predict clusters of hidden units.

Hsu et al. 2021 (arXiv:2106.07447). Inference differs from Wav2Vec2 in three places: the feature
projection may have no layer norm (DistilHuBERT), the positional convolution may have a batch norm
in place of weight norm, and no convolutional adapter follows the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asrkit.models import heads
from asrkit.models.layers import require
from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model, rename_keys

__all__ = ["HEADS", "HubertConfig", "HubertForCTC", "HubertModel", "rename_keys"]


@dataclass(frozen=True)
class HubertConfig(Wav2Vec2Config):
    """What config.json says about the forward pass; the fields are its keys."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("add_adapter", self.add_adapter, (False,))


class HubertModel(Wav2Vec2Model):
    """The base model: waveforms to hidden states."""

    config_class = HubertConfig


class _OnHubert:
    """What the heads below stand on."""

    config_class: ClassVar[type[Wav2Vec2Config]] = HubertConfig
    base_class: ClassVar[type[Wav2Vec2Model]] = HubertModel
    base_prefix = "hubert"


class HubertForCTC(_OnHubert, heads.ForCTC):
    """Characters, frame by frame."""


class HubertForSequenceClassification(_OnHubert, heads.ForSequenceClassification):
    """One set of classes for a whole waveform."""


HEADS = {
    "base": HubertModel,
    "ctc": HubertForCTC,
    "sequence-classification": HubertForSequenceClassification,
}
