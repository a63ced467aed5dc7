"""Speech2Text2: a Wav2Vec2 or HuBERT encoder with Speech2Text's decoder, for translation.

Wang et al. 2021, "Large-Scale Self- and Semi-Supervised Learning for Speech Translation"
(arXiv:2104.06678). The numbers follow transformers 4.40, the last release that has it.

What is special here: the decoder's norms stand after the residual sums, and none is last; a linear
layer makes the encoder's states as wide as the decoder wants them, where they are not.

Shapes: B batch, T samples, F frames, D width, V vocabulary, L tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models import kernels
from asrkit.models.decoder import DecoderConfig, TextDecoder
from asrkit.models.hubert import HubertModel
from asrkit.models.layers import EncoderOutput, read_config
from asrkit.models.speech_to_text import EncoderDecoder
from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model, spell_weight_norm

# model_type of the encoder's part of config.json -> its base model
ENCODERS: Mapping[str, type[Wav2Vec2Model]] = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel}


@dataclass(frozen=True)
class Speech2Text2Config(DecoderConfig):
    """What the decoder's part of config.json says; the fields are its keys."""

    cross_attention_hidden_size: int | None = None


@dataclass(frozen=True)
class SpeechEncoderDecoderConfig:
    """What config.json says about the forward pass.

    Attributes:
        encoder: its part `encoder`.
        encoder_type: the `model_type` in it.
        decoder: its part `decoder`.
        pad_token_id: replaces what is no label; the decoder's own if absent.
        decoder_start_token_id: begins every text; the decoder's own if absent.
    """

    encoder: Wav2Vec2Config
    encoder_type: str
    decoder: Speech2Text2Config
    pad_token_id: int
    decoder_start_token_id: int

    def __post_init__(self) -> None:
        needed = self.encoder.hidden_size if self.has_projection else self.decoder.d_model
        if self.encoder.encoder_width != needed:
            raise CheckpointError(
                f"config.json: the encoder's states are {self.encoder.encoder_width} wide, "
                f"the {'projection' if self.has_projection else 'decoder'} expects {needed}"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SpeechEncoderDecoderConfig:
        """Read a parsed config.json.

        Raises:
            CheckpointError: a value is of the wrong type, or the encoder, the decoder or a value
                of theirs is not implemented.
        """
        encoder = _part(data, "encoder", {kind: c.config_class for kind, c in ENCODERS.items()})
        decoder = _part(data, "decoder", {"speech_to_text_2": Speech2Text2Config})
        own = ("pad_token_id", "decoder_start_token_id")
        tokens = read_config(
            Speech2Text2Config,
            dataclasses.asdict(decoder) | {k: data[k] for k in own if data.get(k) is not None},
        )
        return cls(
            encoder,
            data["encoder"]["model_type"],
            decoder,
            tokens.pad_token_id,
            tokens.decoder_start_token_id,
        )

    @property
    def has_projection(self) -> bool:
        """Whether a linear layer stands between encoder and decoder."""
        # PARITY: the reference compares `output_hidden_size` even if there is no adapter.
        width = self.encoder.output_hidden_size or self.encoder.hidden_size
        return width != self.decoder.d_model and self.decoder.cross_attention_hidden_size is None


def _part(data: Mapping[str, Any], name: str, kinds: Mapping[str, Any]) -> Any:
    """The config dataclass of the encoder or the decoder."""
    content = data.get(name)
    if not isinstance(content, dict):
        raise CheckpointError(f"config.json: {name} is {content!r}, expected an object")
    kind = content.get("model_type")
    if not isinstance(kind, str) or kind not in kinds:
        raise CheckpointError(
            f"config.json: {name}.model_type {kind!r} is not supported",
            hint=f"supported are {', '.join(kinds)}",
        )
    try:
        return read_config(kinds[kind], content)
    except CheckpointError as error:
        detail = error.message.removeprefix("config.json: ")
        raise CheckpointError(f"config.json: {name}.{detail}", hint=error.hint) from error


class SpeechEncoderDecoderModel(EncoderDecoder):
    """Waveforms to text: encoder, projection, decoder, and a linear layer over the vocabulary."""

    config_class: ClassVar[type[SpeechEncoderDecoderConfig]] = SpeechEncoderDecoderConfig

    def __init__(self, config: SpeechEncoderDecoderConfig) -> None:
        super().__init__(config)
        width = config.decoder.d_model
        self.encoder = ENCODERS[config.encoder_type](config.encoder)
        self.enc_to_dec_proj = None
        if config.has_projection:
            self.enc_to_dec_proj = kernels.Linear(config.encoder.hidden_size, width)
        self.decoder = TextDecoder(config.decoder, norm_first=False)
        self.lm_head = nn.Linear(width, config.decoder.vocab_size, bias=False)

    def encode(
        self, values: Tensor, lengths: Tensor | None = None, *, output_hidden_states: bool = False
    ) -> EncoderOutput:
        """Encode normalised waveforms (B, T) of `lengths` (B,) valid samples."""
        output: EncoderOutput = self.encoder(
            values, lengths, output_hidden_states=output_hidden_states
        )
        if self.enc_to_dec_proj is None:
            return output
        projected = self.enc_to_dec_proj(output.last_hidden_state)
        return dataclasses.replace(output, last_hidden_state=projected)

    @property
    def text_decoder(self) -> TextDecoder:
        """The decoder."""
        return self.decoder

    @property
    def output_weight(self) -> Tensor:
        """(V, D), never the embeddings themselves: published models have both."""
        return self.lm_head.weight


def rename_keys(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, head: bool
) -> dict[str, Tensor]:
    """Spell a checkpoint's keys as the modules do.

    Args:
        tensors: as stored, with either spelling of weight norm in the encoder.
        config: the parsed config.json.
        head: always true; there is no model without.
    """
    renamed = {}
    for key, tensor in tensors.items():
        if key.endswith(".embed_positions.weights"):
            continue  # computed
        name = spell_weight_norm(key).replace("decoder.model.decoder.", "decoder.")
        renamed[name.replace("decoder.lm_head.", "lm_head.")] = tensor
    # PARITY: a decoder whose config ties its head is saved without. The reference shares one
    # tensor even where the file has two, and keeps the one it read last; here both are used.
    if config["decoder"].get("tie_word_embeddings", Speech2Text2Config.tie_word_embeddings):
        embeddings = renamed.get("decoder.embed_tokens.weight")
        if embeddings is not None:
            renamed.setdefault("lm_head.weight", embeddings)
    return renamed


HEADS = {"seq2seq": SpeechEncoderDecoderModel}
