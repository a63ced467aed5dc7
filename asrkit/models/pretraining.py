"""The pre-training head of Wav2Vec2: tell a masked frame's quantized speech from distractors.

Baevski et al. 2020, "wav2vec 2.0" (arXiv:2006.11477), sections 2 and 3. Dropout and layer drop are
not implemented: in train mode the only noise is the quantizer's, and losses equal those of the
reference with these at 0.

Shapes: B batch, T samples, F frames, D width, C channels, G groups, V entries of a group's
codebook, K negatives, P width in which frames are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from asrkit.errors import CheckpointError
from asrkit.models.heads import Head
from asrkit.models.layers import require

if TYPE_CHECKING:
    from asrkit.models.wav2vec2 import Wav2Vec2Config


@dataclass(frozen=True)
class PreTrainingOutput:
    """What a model in pre-training gives.

    Attributes:
        projected_states: (B, F, P), what the transformer makes of each frame.
        projected_quantized_states: (B, F, P), the frame's quantized features.
        codevector_perplexity: how many entries of the codebooks are in use, summed over groups.
        lengths: (B,) valid frames.
        hidden_states: as in `EncoderOutput`.
        loss: contrastive_loss + diversity_loss_weight * diversity_loss, when negatives were given.
        contrastive_loss: summed over masked frames.
        diversity_loss: share of the codebooks that is not in use, times the masked frames.
    """

    projected_states: Tensor
    projected_quantized_states: Tensor
    codevector_perplexity: Tensor
    lengths: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    loss: Tensor | None = None
    contrastive_loss: Tensor | None = None
    diversity_loss: Tensor | None = None


class GumbelVectorQuantizer(nn.Module):
    """One entry of each group's codebook a frame; in training a random one, by its score.

    Source: Jang et al. 2017, "Categorical reparameterization with Gumbel-softmax"
    (arXiv:1611.01144).
    """

    def __init__(self, config: Wav2Vec2Config) -> None:
        super().__init__()
        self.num_groups = config.num_codevector_groups
        num_entries = config.num_codevectors_per_group
        width = config.codevector_dim // self.num_groups
        self.codevectors = nn.Parameter(torch.rand(1, self.num_groups * num_entries, width))
        self.weight_proj = nn.Linear(config.conv_dim[-1], self.num_groups * num_entries)
        self.temperature = 2.0  # of the noise in training; training lowers it

    def forward(self, features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Quantize features (B, F, C).

        Args:
            features: (B, F, C).
            mask: (B, F), the frames that the perplexity is of; None means all.

        Returns:
            (B, F, codevector_dim), and the perplexity.
        """
        num_items, num_frames, _ = features.shape
        scores = self.weight_proj(features).view(num_items, num_frames, self.num_groups, -1)
        num_entries = scores.shape[-1]
        if self.training:
            # One row a draw, so that a seed gives the reference's noise.
            rows = scores.reshape(-1, num_entries).float()
            choice = F.gumbel_softmax(rows, tau=self.temperature, hard=True).view_as(scores)
            probs = scores.softmax(-1, dtype=torch.float32)
        else:
            choice = probs = F.one_hot(scores.argmax(-1), num_entries).float()
        codebooks = self.codevectors.view(self.num_groups, num_entries, -1)  # (G, V, W)
        chosen = torch.einsum("bfgv,gvw->bfgw", choice.to(codebooks.dtype), codebooks)
        return chosen.flatten(2), _perplexity(probs if mask is None else probs[mask])


def _perplexity(probs: Tensor) -> Tensor:
    """The exponential of the entropy of the mean of probs (..., G, V), summed over groups."""
    mean = probs.flatten(0, -3).mean(0)
    return torch.exp(-torch.xlogy(mean, mean).sum(-1)).sum()


class ForPreTraining(Head):
    """The base model, with a quantizer of its features and projections into one space."""

    title = "pre-training"

    def __init__(self, config: Wav2Vec2Config) -> None:
        require("add_adapter", config.add_adapter, (False,))
        if config.codevector_dim % config.num_codevector_groups:
            raise CheckpointError(
                f"config.json: codevector_dim {config.codevector_dim} is not a multiple of "
                f"num_codevector_groups {config.num_codevector_groups}"
            )
        super().__init__(config)
        if config.has_mask_embedding:
            embedding = nn.Parameter(torch.rand(config.hidden_size))
            self.base.register_parameter("masked_spec_embed", embedding)
        self.quantizer = GumbelVectorQuantizer(config)
        self.project_hid = nn.Linear(config.hidden_size, config.proj_codevector_dim)
        self.project_q = nn.Linear(config.codevector_dim, config.proj_codevector_dim)

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        *,
        mask_time_indices: Tensor | None = None,
        sampled_negative_indices: Tensor | None = None,
        output_hidden_states: bool = False,
    ) -> PreTrainingOutput:
        """Predict the quantized features of masked frames.

        Args:
            values: (B, T) normalised samples.
            lengths: (B,) valid samples; None means all.
            mask_time_indices: (B, F) of bool, from `compute_mask_indices`: frames that the
                transformer does not see; None masks none.
            sampled_negative_indices: (B, F, K), from `sample_negative_indices`; asks for the loss.
            output_hidden_states: keep every layer's output.

        Raises:
            ValueError: negatives without a mask.
        """
        mask = None if mask_time_indices is None else mask_time_indices.bool()
        if mask is None and sampled_negative_indices is not None:
            raise ValueError("sampled_negative_indices without mask_time_indices")
        # PARITY: the reference masks, and counts, frames of the padding too.
        features, lengths = self.base.features(values, lengths, with_padding=True)
        features = self.base.feature_projection.normalised(features)
        x = self.base.feature_projection.projection(features)
        # PARITY: the reference takes no mask, not even this one, without apply_spec_augment.
        if mask is not None and self.config.apply_spec_augment:
            if not self.config.has_mask_embedding:
                raise ValueError(
                    "the model has no embedding for masked frames: its mask_*_prob is 0"
                )
            embedding = self.base.get_parameter("masked_spec_embed")
            x = torch.where(mask[..., None], embedding, x)
        encoded = self.base.encode(
            x, lengths, output_hidden_states=output_hidden_states, with_padding=True
        )
        predicted = self.project_hid(encoded.last_hidden_state)
        quantized, perplexity = self.quantizer(features, mask)
        targets = self.project_q(quantized)
        states = encoded.hidden_states
        if mask is None or sampled_negative_indices is None:
            return PreTrainingOutput(predicted, targets, perplexity, encoded.lengths, states)
        contrastive = self._contrastive_loss(predicted, targets, sampled_negative_indices, mask)
        num_entries = self.quantizer.codevectors.shape[1]
        diversity = (num_entries - perplexity) / num_entries * mask.sum()
        loss = contrastive + self.config.diversity_loss_weight * diversity
        return PreTrainingOutput(
            predicted, targets, perplexity, encoded.lengths, states, loss, contrastive, diversity
        )

    def _contrastive_loss(
        self, predicted: Tensor, targets: Tensor, negatives: Tensor, mask: Tensor
    ) -> Tensor:
        """-log of the share of a masked frame's own target among it and its K distractors."""
        own = targets[mask][:, None]  # (M, 1, P)
        others = targets.flatten(0, 1)[negatives[mask].long()]  # (M, K, P)
        cosines = F.cosine_similarity(
            predicted[mask][:, None].float(), torch.cat((own, others), dim=1).float(), dim=-1
        )
        logits = cosines / self.config.contrastive_logits_temperature  # (M, 1 + K)
        # A distractor with the entries of the target is none.
        is_own = (others == own).all(-1)
        logits[:, 1:] = logits[:, 1:].masked_fill(is_own, float("-inf"))
        own_first = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return F.cross_entropy(logits, own_first, reduction="sum")


def compute_mask_indices(
    lengths: Sequence[int],
    num_frames: int,
    *,
    mask_prob: float,
    mask_length: int,
    min_masks: int = 0,
    random: np.random.RandomState,
) -> NDArray[np.bool_]:
    """Draw the spans of frames that pre-training hides.

    Args:
        lengths: (B,) valid frames.
        num_frames: padded length.
        mask_prob: share of the frames in spans, were none to overlap.
        mask_length: frames of one span.
        min_masks: spans of an item at least, if they fit.
        random: `RandomState(seed)` draws what the reference draws after `numpy.random.seed(seed)`.

    Returns:
        (B, num_frames), True where masked.

    Raises:
        ValueError: a span has no frame, or is longer than `num_frames`.

    Source: Park et al. 2019, "SpecAugment" (arXiv:1904.08779).
    """
    if not 1 <= mask_length <= num_frames:
        raise ValueError(f"a mask of {mask_length} frames, expected 1 to {num_frames}")
    rounding = random.rand()

    def num_spans(length: int) -> int:
        wanted = max(int(mask_prob * length / mask_length + rounding), min_masks)
        return min(wanted, num_frames // mask_length, max(length - mask_length + 1, 0))

    mask = np.zeros((len(lengths), num_frames), dtype=np.bool_)
    if num_spans(num_frames) == 0:
        return mask
    for row, length in zip(mask, lengths, strict=True):
        num_starts = max(length - mask_length + 1, 0)
        starts = random.choice(num_starts, num_spans(length), replace=False)
        # PARITY: an item without a span hides the last frame of the batch, which is padding.
        for start in starts if len(starts) else (num_frames - 1,):
            row[start : start + mask_length] = True
    return mask


def sample_negative_indices(
    mask: NDArray[np.bool_], *, num_negatives: int, random: np.random.RandomState
) -> NDArray[np.int64]:
    """Draw distractors of each masked frame among the other masked frames of its item.

    Args:
        mask: (B, F), True where masked.
        num_negatives: distractors of a frame, K.
        random: as in `compute_mask_indices`.

    Returns:
        (B, F, K) indices into the B * F frames of the batch; without meaning where `mask` is False.

    Raises:
        ValueError: an item has fewer than two masked frames.
    """
    num_items, num_frames = mask.shape
    indices = np.zeros((num_items, num_frames, num_negatives), dtype=np.int64)
    for item, row in enumerate(mask):
        (frames,) = np.nonzero(row)
        if len(frames) < 2:
            raise ValueError(f"item {item} has {len(frames)} masked frames, expected at least 2")
        drawn = random.randint(0, len(frames) - 1, size=(len(frames), num_negatives))
        drawn += drawn >= np.arange(len(frames))[:, None]  # never the frame itself
        indices[item, frames] = frames[drawn]
        indices[item] += item * num_frames
    return indices
