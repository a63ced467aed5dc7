"""Heads on a Wav2Vec2 or HuBERT encoder: characters, classes, speakers.

The numbers, and the names of modules and config keys, follow transformers; the heads of SUPERB
(Yang et al. 2021, arXiv:2105.01051) come from s3prl. A family subclasses a head and names its
base model, see `wav2vec2.py`.

Shapes: B batch, T samples, F frames, D width, V vocabulary, L tokens, N classes, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models import kernels
from asrkit.models.layers import require, valid_mask

if TYPE_CHECKING:
    from asrkit.models.layers import EncoderOutput
    from asrkit.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model


@dataclass(frozen=True)
class HeadOutput:
    """What a model with a head gives.

    Attributes:
        logits: (B, F, V) or (B, F, N) from a head that scores frames, (B, N) from one that scores
            waveforms; before softmax.
        lengths: (B,) valid frames.
        hidden_states: as in `EncoderOutput`.
        loss: in float32, when labels were given.
    """

    logits: Tensor
    lengths: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    loss: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class XVectorOutput(HeadOutput):
    """What a speaker model gives.

    Attributes:
        embeddings: (B, X), one vector a waveform; their cosine says how alike two voices are.
    """

    embeddings: Tensor


class Head(nn.Module):
    """A base model, under the name that checkpoints give it, and what stands on it."""

    config_class: ClassVar[type[Wav2Vec2Config]]
    base_class: ClassVar[type[Wav2Vec2Model]]
    base_prefix: ClassVar[str]
    title: ClassVar[str]  # as in "there is no ... head in the weights"

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.config = config
        setattr(self, self.base_prefix, self.base_class(config))

    @property
    def base(self) -> Wav2Vec2Model:
        """The base model."""
        model: Wav2Vec2Model = getattr(self, self.base_prefix)
        return model


class ForCTC(Head):
    """A linear layer over characters, frame by frame."""

    title = "CTC"

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        self.lm_head = kernels.Linear(config.encoder_width, config.vocab_size)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        labels: Tensor | None = None,
    ) -> HeadOutput:
        """Score characters, frame by frame.

        Args:
            values: (B, T) normalised samples.
            lengths: (B,) valid samples; None means all.
            output_hidden_states: keep every layer's output.
            labels: (B, L) token ids, padded with negative numbers; asks for the loss.

        Raises:
            ValueError: a label is not in the vocabulary.
        """
        encoded = self.base(values, lengths, output_hidden_states=output_hidden_states)
        logits = self.lm_head(encoded.last_hidden_state)
        loss = None if labels is None else self._loss(logits, encoded.lengths, labels)
        return HeadOutput(logits, encoded.lengths, encoded.hidden_states, loss)

    def _loss(self, logits: Tensor, lengths: Tensor, labels: Tensor) -> Tensor:
        if int(labels.max()) >= self.config.vocab_size:
            raise ValueError(
                f"label {int(labels.max())} is not below the vocabulary size "
                f"{self.config.vocab_size}"
            )
        log_probs = F.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)  # (F, B, V)
        is_label = labels >= 0
        return F.ctc_loss(
            log_probs,
            labels[is_label],
            lengths,
            is_label.sum(-1),
            blank=self.config.pad_token_id,
            reduction=self.config.ctc_loss_reduction,
            zero_infinity=self.config.ctc_zero_infinity,
        )


class FeatureHead(Head):
    """A head on the last hidden state, or on a learned mean of all of them."""

    reads_padding: ClassVar[bool] = False  # whether frames beyond an item's length count

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__(config)
        if config.use_weighted_layer_sum:
            num_states = config.num_hidden_layers + 1
            self.layer_weights = nn.Parameter(torch.full((num_states,), 1 / num_states))

    def encode(
        self, values: Tensor, lengths: Tensor | None, *, output_hidden_states: bool
    ) -> tuple[Tensor, EncoderOutput]:
        """The features (B, F, D) that the head reads, and what the base model gives.

        PARITY: for stable models the last state counts after the final layer norm, as in s3prl and
        in transformers up to 5.8; 5.23 takes it before that norm.
        """
        is_sum = self.config.use_weighted_layer_sum
        encoded = self.base(
            values,
            lengths,
            output_hidden_states=output_hidden_states or is_sum,
            with_padding=self.reads_padding,
        )
        if not is_sum or encoded.hidden_states is None:
            return encoded.last_hidden_state, encoded
        weights = self.layer_weights.softmax(-1)
        features = torch.zeros_like(encoded.hidden_states[0])
        for weight, state in zip(weights, encoded.hidden_states, strict=True):
            features = features + weight * state
        return features, encoded if output_hidden_states else replace(encoded, hidden_states=None)


class ForSequenceClassification(FeatureHead):
    """Classes of a whole waveform: keywords, emotions, languages, speakers."""

    title = "sequence classification"

    def __init__(self, config: Wav2Vec2Config) -> None:
        require("add_adapter", config.add_adapter, (False,))
        super().__init__(config)
        self.projector = kernels.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = kernels.Linear(config.classifier_proj_size, config.num_labels)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        labels: Tensor | None = None,
    ) -> HeadOutput:
        """Score the classes of each waveform, from the mean over its valid frames.

        Args:
            values: (B, T) normalised samples.
            lengths: (B,) valid samples; None means all.
            output_hidden_states: keep every layer's output.
            labels: asks for the loss that the config's `problem_type` names: (B,) classes for
                single_label_classification, (B, N) of 0 and 1 for multi_label_classification,
                numbers of the logits' shape, or (B,) for one of them, for regression.

        Raises:
            ValueError: a label is not a class.
        """
        features, encoded = self.encode(values, lengths, output_hidden_states=output_hidden_states)
        projected = self.projector(features)  # (B, F, P)
        means = [
            item[:length].mean(0, dtype=torch.float32)
            for item, length in zip(projected, encoded.lengths.tolist(), strict=True)
        ]
        logits = self.classifier(torch.stack(means).to(projected.dtype))
        loss = None if labels is None else self._loss(logits.float(), labels)
        return HeadOutput(logits, encoded.lengths, encoded.hidden_states, loss)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        # PARITY: the reference takes the cross-entropy whatever problem_type says.
        if self.config.problem_type == "multi_label_classification":
            return F.binary_cross_entropy_with_logits(logits, labels.float())
        if self.config.problem_type == "regression":
            return F.mse_loss(logits, labels.float().view_as(logits))
        _check_classes(labels, self.config.num_labels)
        return F.cross_entropy(logits, labels.flatten())


class ForAudioFrameClassification(FeatureHead):
    """Classes of every frame: who speaks when, if the classes are speakers."""

    title = "audio frame classification"

    def __init__(self, config: Wav2Vec2Config) -> None:
        require("add_adapter", config.add_adapter, (False,))
        super().__init__(config)
        self.classifier = kernels.Linear(config.hidden_size, config.num_labels)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        labels: Tensor | None = None,
    ) -> HeadOutput:
        """Score the classes of each frame.

        Args:
            values: (B, T) normalised samples.
            lengths: (B,) valid samples; None means all.
            output_hidden_states: keep every layer's output.
            labels: (B, F, N), the largest at a frame's class; asks for the loss, the mean over
                valid frames.
        """
        features, encoded = self.encode(values, lengths, output_hidden_states=output_hidden_states)
        logits = self.classifier(features)
        loss = None
        if labels is not None:
            classes = labels.argmax(-1)  # (B, F)
            # PARITY: the reference counts the frames of the padding too.
            mask = valid_mask(encoded.lengths, logits.shape[1])
            if mask is not None:
                classes = classes.masked_fill(~mask, -100)
            loss = F.cross_entropy(logits.float().flatten(0, 1), classes.flatten())
        return HeadOutput(logits, encoded.lengths, encoded.hidden_states, loss)


class TDNNLayer(nn.Module):
    """A time-delay layer: a dilated convolution over frames, without padding.

    `kernel` holds the weight as (C_out, kernel * C_in), the frames of a window one after another.
    """

    def __init__(self, in_channels: int, out_channels: int, *, size: int, dilation: int) -> None:
        super().__init__()
        self.size, self.dilation = size, dilation
        self.kernel = nn.Linear(in_channels * size, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, F) to (B, C_out, F - dilation * (size - 1))."""
        weight = self.kernel.weight.view(len(self.kernel.weight), self.size, -1).transpose(1, 2)
        return F.relu(F.conv1d(x, weight, self.kernel.bias, dilation=self.dilation))


class AMSoftmaxLoss(nn.Module):
    """Cross-entropy of scaled cosines, the true class's lowered by a margin.

    Source: Wang et al. 2018, "Additive margin softmax for face verification" (arXiv:1801.05599).
    """

    scale = 30.0
    margin = 0.4

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, num_classes))

    def forward(self, x: Tensor, classes: Tensor) -> Tensor:
        """The mean loss of x (B, X), whose classes are (B,)."""
        cosines = F.normalize(x.float(), dim=1) @ F.normalize(self.weight.float(), dim=0)
        margins = self.margin * F.one_hot(classes, self.weight.shape[1])
        return F.cross_entropy(self.scale * (cosines - margins), classes)


class ForXVector(FeatureHead):
    """Time-delay layers, statistics over time, and two linear layers: a vector a voice.

    Source: Snyder et al. 2018, "X-vectors: Robust DNN embeddings for speaker recognition".
    """

    title = "x-vector"
    reads_padding = True  # see `_num_pooled`

    def __init__(self, config: Wav2Vec2Config) -> None:
        windows = tuple(zip(config.tdnn_kernel, config.tdnn_dilation, strict=False))
        if not len(config.tdnn_dim) == len(config.tdnn_kernel) == len(config.tdnn_dilation):
            raise CheckpointError(
                f"config.json: tdnn_dim, tdnn_kernel and tdnn_dilation have lengths "
                f"{len(config.tdnn_dim)}, {len(config.tdnn_kernel)} and "
                f"{len(config.tdnn_dilation)}, expected equal lengths"
            )
        if not config.use_weighted_layer_sum and config.encoder_width != config.hidden_size:
            require("output_hidden_size", config.encoder_width, (config.hidden_size,))
        super().__init__(config)
        widths = (config.tdnn_dim[0], *config.tdnn_dim)
        self.projector = nn.Linear(config.hidden_size, widths[0])
        self.tdnn = nn.ModuleList(
            TDNNLayer(widths[index], widths[index + 1], size=size, dilation=dilation)
            for index, (size, dilation) in enumerate(windows)
        )
        self.feature_extractor = nn.Linear(2 * widths[-1], config.xvector_output_dim)
        self.classifier = nn.Linear(config.xvector_output_dim, config.xvector_output_dim)
        self.objective = AMSoftmaxLoss(config.xvector_output_dim, config.num_labels)
        self.num_context_frames = sum((size - 1) * dilation for size, dilation in windows)
        self.num_masked_frames = sum(size - 1 for size, _ in windows)

    @property
    def min_samples(self) -> int:
        """The shortest waveform that has an x-vector: its deviation over time needs two frames."""
        config = self.config
        return config.receptive_field + config.samples_per_frame * (self.num_context_frames + 1)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        output_hidden_states: bool = False,
        labels: Tensor | None = None,
    ) -> XVectorOutput:
        """Make one vector of each waveform.

        With `lengths`, items shorter than the batch include a few frames of their padding, see
        `_num_pooled`; alone, or without `lengths`, none does.

        Args:
            values: (B, T) normalised samples.
            lengths: (B,) valid samples; None means all.
            output_hidden_states: keep every layer's output.
            labels: (B,) speakers; asks for the AM-softmax loss.

        Raises:
            ValueError: an item has fewer frames than the statistics need, or a label is not a
                speaker.
        """
        features, encoded = self.encode(values, lengths, output_hidden_states=output_hidden_states)
        x = self.projector(features).transpose(1, 2)  # (B, C, F)
        num_pooled = self._num_pooled(encoded.lengths, x.shape[2], is_masked=lengths is not None)
        if min(num_pooled) < 2:
            raise ValueError(
                f"an item of {int(encoded.lengths.min())} frames is too short for an x-vector, "
                f"which takes {self.num_context_frames + 2} frames ({self.min_samples} samples)"
            )
        for layer in self.tdnn:
            x = layer(x)
        pooled = [
            torch.cat((item.mean(dim=-1), item.std(dim=-1)))
            for item in (item[:, :n].float() for item, n in zip(x, num_pooled, strict=True))
        ]
        embeddings = self.feature_extractor(torch.stack(pooled).to(x.dtype))
        logits = self.classifier(embeddings)
        loss = None
        if labels is not None:
            _check_classes(labels, self.config.num_labels)
            loss = self.objective(logits, labels.flatten())
        return XVectorOutput(
            logits, encoded.lengths, encoded.hidden_states, loss, embeddings=embeddings
        )

    def _num_pooled(self, lengths: Tensor, num_frames: int, *, is_masked: bool) -> list[int]:
        """Frames of each item that the statistics run over.

        PARITY: with a mask the reference forgets the dilation. An item of n frames leaves
        n - `num_context_frames` that see nothing else, and counts n - `num_masked_frames`.
        """
        available = num_frames - self.num_context_frames
        if not is_masked:
            return [available] * len(lengths)
        return (lengths - self.num_masked_frames).clamp(max=available).tolist()


def _check_classes(labels: Tensor, num_classes: int) -> None:
    if int(labels.max()) >= num_classes:
        raise ValueError(f"label {int(labels.max())} is not below the {num_classes} classes")
