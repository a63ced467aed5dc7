"""HuBERT: Wav2Vec2's network, trained to predict clusters of hidden units.

Hsu et al. 2021 (arXiv:2106.07447). Inference differs from Wav2Vec2 in three places: the feature
projection may have no layer norm (DistilHuBERT), the positional convolution may have a batch norm
in place of weight norm, and there are no adapters.
"""

from __future__ import annotations

from dataclasses import dataclass

from asrkit.models.layers import require
from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Model, rename_keys

__all__ = ["HEADS", "HubertConfig", "HubertForCTC", "HubertModel", "rename_keys"]


@dataclass(frozen=True)
class HubertConfig(Wav2Vec2Config):
    """What config.json says about the forward pass; the fields are its keys."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("add_adapter", self.add_adapter, (False,))
        require("adapter_attn_dim", self.adapter_attn_dim, (None,))


class HubertModel(Wav2Vec2Model):
    """The base model: waveforms to hidden states."""

    config_class = HubertConfig


class HubertForCTC(Wav2Vec2ForCTC):
    """The base model with a linear layer over characters."""

    config_class = HubertConfig
    base_class = HubertModel
    base_prefix = "hubert"


HEADS = {"base": HubertModel, "ctc": HubertForCTC}
