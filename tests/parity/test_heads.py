"""Heads of Wav2Vec2 and HuBERT against transformers, on the same random checkpoints.

Every small configuration is compared without lengths, and with them where the reference is given
the attention mask. Models with group norm, a batch norm before the positional convolution or an
adapter are compared item by item then: padding reaches the reference's numbers through these, and
asrkit gives each item what it gets alone.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

import torch  # noqa: E402
from transformers.loss.loss_utils import ForSequenceClassificationLoss  # noqa: E402
from transformers.models.wav2vec2 import modeling_wav2vec2 as reference_code  # noqa: E402

import asrkit  # noqa: E402
from asrkit.models import pretraining, runtime  # noqa: E402
from tests.parity import reference  # noqa: E402
from tests.parity.test_ctc_models import difference, speechlike  # noqa: E402

TOLERANCE = 1e-4
SEEDS = range(40)
NUM_SAMPLES = 24_000
LENGTHS = (24_000, 15_001, 9_777)
HEADS = [
    ("Wav2Vec2ForSequenceClassification", "wav2vec2"),
    ("HubertForSequenceClassification", "hubert"),
    ("Wav2Vec2ForAudioFrameClassification", "wav2vec2"),
    ("Wav2Vec2ForXVector", "wav2vec2"),
]
BASE = dict(mask_time_prob=0.0, use_weighted_layer_sum=True)
LARGE = dict(
    hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
    feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True,
)  # fmt: skip
PUBLISHED = {
    "wav2vec2-base-superb-ks": ("Wav2Vec2ForSequenceClassification", BASE | {"num_labels": 12}),
    "hubert-base-superb-er": ("HubertForSequenceClassification", BASE | {"num_labels": 4}),
    "hubert-large-superb-er": ("HubertForSequenceClassification", BASE | LARGE | {"num_labels": 4}),
    "wav2vec2-base-superb-sd": ("Wav2Vec2ForAudioFrameClassification", BASE | {"num_labels": 2}),
    "wav2vec2-base-superb-sv": ("Wav2Vec2ForXVector", BASE | {"num_labels": 1251}),
}


def small_config(architecture: str, family: str, seed: int):
    """A random small configuration of a head; every second one with the weighted layer sum."""
    choose = random.Random(f"{architecture} {seed}")
    config = reference.small_config(family, seed)
    tdnn = [(24, 5, 1), (16, 3, 2), (20, 3, 3), (28, 1, 1), (18, 2, 2)][: choose.randint(1, 5)]
    config.update(
        {
            "use_weighted_layer_sum": seed % 2 == 1,
            "num_labels": choose.randint(2, 9),
            "classifier_proj_size": choose.choice((16, 40)),
            "tdnn_dim": [width for width, _, _ in tdnn],
            "tdnn_kernel": [size for _, size, _ in tdnn],
            "tdnn_dilation": [dilation for _, _, dilation in tdnn],
            "xvector_output_dim": choose.choice((12, 32)),
        }
    )
    if family == "wav2vec2":
        # Only the speaker head allows an adapter, of one width; few frames are left by three.
        config.add_adapter = config.add_adapter and architecture.endswith("XVector")
        config.num_adapter_layers = 1
        config.output_hidden_size = config.hidden_size
    return config


def load_pair(architecture: str, config, folder, *, seed: int):
    """The reference model, and asrkit's from its checkpoint."""
    expected = reference.random_model(config, seed=seed, architecture=architecture)
    expected.save_pretrained(folder)
    return reference.norm_last_state(expected), asrkit.load_model(str(folder))


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values (3, T), zero where padded, their lengths, and the attention mask."""
    values = torch.cat([speechlike(NUM_SAMPLES, seed + i) for i in range(len(LENGTHS))])
    lengths = torch.tensor(LENGTHS)
    mask = (torch.arange(NUM_SAMPLES) < lengths[:, None]).long()
    return values * mask, lengths, mask


def compare(found, expected) -> dict[str, float]:
    result = {
        "logits": difference(found.logits, expected.logits),
        "|logits|": float(expected.logits.abs().max()),
    }
    if hasattr(found, "embeddings"):
        result["embeddings"] = difference(found.embeddings, expected.embeddings)
    if found.loss is not None:
        result["loss"] = difference(found.loss, expected.loss)
    if found.hidden_states is not None:
        pairs = zip(found.hidden_states, expected.hidden_states, strict=True)
        result["hidden"] = max(difference(a, b) for a, b in pairs)
    return result


def check(result: dict[str, float]) -> None:
    assert {key: value for key, value in result.items() if key != "|logits|"} == {
        key: pytest.approx(0, abs=TOLERANCE) for key in result if key != "|logits|"
    }


def labels_of(architecture: str, logits: torch.Tensor, num_labels: int) -> torch.Tensor:
    """Random labels of the shape that the head's loss takes."""
    if architecture.endswith("FrameClassification"):
        classes = torch.randint(num_labels, logits.shape[:2])
        return torch.nn.functional.one_hot(classes, num_labels)
    return torch.randint(num_labels, (len(logits),))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("architecture", "family"), HEADS)
@torch.inference_mode()
def test_head_gives_the_reference_numbers(architecture, family, seed, tmp_path, record):
    config = small_config(architecture, family, seed)
    expected_model, model = load_pair(architecture, config, tmp_path, seed=seed)
    values = speechlike(NUM_SAMPLES, seed)
    labels = labels_of(architecture, expected_model(values).logits, config.num_labels)

    expected = expected_model(values, labels=labels, output_hidden_states=True)
    found = model(values, labels=labels, output_hidden_states=True)

    result = compare(found, expected)
    record(architecture, result)
    check(result)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("architecture", "family"), HEADS)
@torch.inference_mode()
def test_head_with_lengths_gives_the_reference_numbers_with_a_mask(
    architecture, family, seed, tmp_path, record
):
    config = small_config(architecture, family, seed)
    expected_model, model = load_pair(architecture, config, tmp_path, seed=seed)
    values, lengths, mask = batch(seed)
    found = model(values, lengths)

    feels_padding = (
        config.feat_extract_norm == "group"
        or getattr(config, "conv_pos_batch_norm", False)
        or getattr(config, "add_adapter", False)
    )
    if not feels_padding:
        items = [(slice(None), expected_model(values, attention_mask=mask))]
    elif architecture.endswith("XVector"):
        # Padding changes x-vectors of the reference by its masked lengths too: one item at a time.
        found = model(values[:1], lengths[:1])
        items = [(slice(0, 1), expected_model(values[:1], attention_mask=mask[:1]))]
    else:
        items = [
            (slice(i, i + 1), expected_model(values[i : i + 1, :n])) for i, n in enumerate(LENGTHS)
        ]

    for rows, expected in items:
        logits = found.logits[rows]
        if logits.ndim == 3:  # frames of the padding mean nothing
            logits = logits[:, : expected.logits.shape[1]].clone()
            for row, frames in zip(range(len(logits)), found.lengths[rows], strict=True):
                expected.logits[row, frames:] = logits[row, frames:] = 0
        result = {"logits": difference(logits, expected.logits)}
        if hasattr(found, "embeddings"):
            result["embeddings"] = difference(found.embeddings[rows], expected.embeddings)
        record(f"{architecture}, masked", result)
        check(result)


@pytest.mark.parametrize("name", PUBLISHED)
@torch.inference_mode()
def test_published_size_gives_the_reference_numbers(name, tmp_path, record):
    architecture, options = PUBLISHED[name]
    config = reference.FAMILIES[name.partition("-")[0]][0](**options)
    expected_model, model = load_pair(architecture, config, tmp_path, seed=0)
    values = speechlike(48_000, seed=1)
    labels = labels_of(architecture, expected_model(values).logits, config.num_labels)

    result = compare(model(values, labels=labels), expected_model(values, labels=labels))

    record(name, result)
    check(result)


@pytest.mark.parametrize(
    "problem_type", ["single_label_classification", "multi_label_classification", "regression"]
)
@pytest.mark.parametrize("seed", range(8))
@torch.inference_mode()
def test_losses_of_sequences_are_those_of_the_reference_library(problem_type, seed, tmp_path):
    """Its Wav2Vec2 model always takes the cross-entropy; these are its other classifiers'."""
    config = small_config("Wav2Vec2ForSequenceClassification", "wav2vec2", seed)
    config.problem_type = problem_type
    expected_model, model = load_pair(
        "Wav2Vec2ForSequenceClassification", config, tmp_path, seed=seed
    )
    values, lengths, _ = batch(seed)
    labels = {
        "single_label_classification": torch.randint(config.num_labels, (3,)),
        "multi_label_classification": torch.randint(2, (3, config.num_labels)).float(),
        "regression": torch.randn(3, config.num_labels),
    }[problem_type]

    found = model(values, lengths, labels=labels)

    expected = ForSequenceClassificationLoss(labels, found.logits, expected_model.config)
    torch.testing.assert_close(found.loss, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("family", ["wav2vec2", "hubert"])
def test_attention_maps_are_the_reference_attentions(family, seed, tmp_path, record):
    config = reference.small_config(family, seed)
    config._attn_implementation = "eager"
    expected_model = reference.random_model(config, seed=seed)
    expected_model.save_pretrained(tmp_path)
    values = speechlike(8_000, seed)

    with torch.inference_mode():
        expected = torch.cat(expected_model(values, output_attentions=True).attentions)
    found = runtime.attention_maps(asrkit.load_model(str(tmp_path)), values[0].numpy())

    result = {"attention": difference(torch.from_numpy(found), expected)}
    record(f"attention maps, {family}", result)
    check(result)


# --------------------------------------------------------------------------------- pre-training


def pretraining_config(seed: int):
    choose = random.Random(f"pretraining {seed}")
    config = reference.small_config("wav2vec2", seed)
    config.update(
        {
            "add_adapter": False, "mask_time_prob": 0.5, "mask_time_length": 4,
            "hidden_dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0,
            "feat_proj_dropout": 0.0, "feat_quantizer_dropout": 0.0, "layerdrop": 0.0,
            "num_codevector_groups": choose.choice((1, 2, 4)),
            "num_codevectors_per_group": choose.choice((6, 30, 64)),
            "codevector_dim": choose.choice((8, 24)),
            "proj_codevector_dim": choose.choice((12, 20)),
            "contrastive_logits_temperature": choose.choice((0.1, 0.5)),
            "diversity_loss_weight": choose.choice((0.1, 0.7)),
        }
    )  # fmt: skip
    return config


def check_pretraining(name, config, folder, values, lengths, mask, record, *, seed, is_training):
    """Compare one forward pass, the masks and negatives drawn by each side's own functions."""
    architecture = "Wav2Vec2ForPreTraining"
    expected_model, model = load_pair(architecture, config, folder, seed=seed)
    expected_model.train(is_training)
    model.train(is_training)
    num_frames = model.config.frame_lengths(values.shape[1])
    frames = model.config.frame_lengths(
        torch.full((len(values),), values.shape[1]) if lengths is None else lengths
    ).tolist()
    options = {"mask_prob": 0.5, "mask_length": 4, "min_masks": 2}
    frame_mask = torch.arange(num_frames) < torch.tensor(frames)[:, None]

    np.random.seed(seed)
    expected_masked = reference_code._compute_mask_indices(
        (len(values), num_frames), attention_mask=frame_mask.long(), **options
    )
    expected_negatives = reference_code._sample_negative_indices(
        expected_masked.shape, num_negatives=10, mask_time_indices=expected_masked
    )
    draws = np.random.RandomState(seed)
    masked = pretraining.compute_mask_indices(frames, num_frames, random=draws, **options)
    negatives = pretraining.sample_negative_indices(masked, num_negatives=10, random=draws)
    np.testing.assert_array_equal(masked, expected_masked)
    np.testing.assert_array_equal(negatives, expected_negatives)

    drawn = {
        "mask_time_indices": torch.from_numpy(masked),
        "sampled_negative_indices": torch.from_numpy(negatives),
    }
    with torch.inference_mode():
        torch.manual_seed(seed)
        expected = expected_model(values, attention_mask=mask, **drawn)
        torch.manual_seed(seed)
        found = model(values, lengths, **drawn)
    valid = [row[:n] for row, n in zip(found.projected_states, frames, strict=True)]
    expected_valid = [row[:n] for row, n in zip(expected.projected_states, frames, strict=True)]
    num_masked = int(masked.sum())
    result = {
        "logits": max(difference(a, b) for a, b in zip(valid, expected_valid, strict=True)),
        "quantized": difference(
            found.projected_quantized_states[drawn["mask_time_indices"]],
            expected.projected_quantized_states[drawn["mask_time_indices"]],
        ),
        "perplexity": difference(found.codevector_perplexity, expected.codevector_perplexity),
        # The losses are sums over masked frames.
        "contrastive": difference(found.contrastive_loss, expected.contrastive_loss) / num_masked,
        "diversity": difference(found.diversity_loss, expected.diversity_loss) / num_masked,
        "loss": difference(found.loss, expected.loss) / num_masked,
    }
    record(name, result)
    check(result)


@pytest.mark.parametrize("is_training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("seed", SEEDS)
def test_pretraining_gives_the_reference_losses(seed, is_training, tmp_path, record):
    name = f"Wav2Vec2ForPreTraining, {'train' if is_training else 'eval'}"
    config = pretraining_config(seed)
    values, lengths, mask = batch(seed)

    check_pretraining(
        name, config, tmp_path / "all", values, None, None, record,
        seed=seed, is_training=is_training,
    )  # fmt: skip
    if config.feat_extract_norm == "layer":
        check_pretraining(
            f"{name}, masked", config, tmp_path / "masked", values, lengths, mask, record,
            seed=seed, is_training=is_training,
        )  # fmt: skip


@pytest.mark.parametrize("is_training", [False, True], ids=["eval", "train"])
def test_pretraining_of_the_published_size_gives_the_reference_losses(
    is_training, tmp_path, record
):
    silent = ("hidden", "activation", "attention", "feat_proj", "feat_quantizer")
    config = transformers.Wav2Vec2Config(**{f"{name}_dropout": 0.0 for name in silent}, layerdrop=0)
    name = f"wav2vec2-base, {'train' if is_training else 'eval'}"
    values = torch.cat([speechlike(32_000, seed) for seed in range(2)])

    check_pretraining(
        name, config, tmp_path, values, None, None, record, seed=0, is_training=is_training
    )


@pytest.mark.parametrize("seed", range(200))
def test_masks_and_negatives_are_drawn_as_the_reference_draws_them(seed):
    choose = random.Random(seed)
    num_frames = choose.randint(12, 60)
    lengths = [num_frames, *(choose.randint(1, num_frames) for _ in range(choose.randint(0, 3)))]
    valid = torch.arange(num_frames) < torch.tensor(lengths)[:, None]
    options = {
        "mask_prob": choose.choice((0.05, 0.3, 0.65, 1.0)),
        "mask_length": choose.choice((1, 2, 5, 10)),
        "min_masks": choose.choice((0, 1, 2, 3)),
    }

    np.random.seed(seed)
    expected = reference_code._compute_mask_indices(
        (len(lengths), num_frames), attention_mask=valid.long(), **options
    )
    draws = np.random.RandomState(seed)
    found = pretraining.compute_mask_indices(lengths, num_frames, random=draws, **options)

    np.testing.assert_array_equal(found, expected)
    if found.sum(1).min() >= 2:
        np.testing.assert_array_equal(
            pretraining.sample_negative_indices(found, num_negatives=7, random=draws),
            reference_code._sample_negative_indices(expected.shape, 7, expected),
        )
