"""Heads on an encoder: classes, speakers, pre-training, against numbers worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from asrkit import load_model
from asrkit.errors import CheckpointError
from asrkit.models import hubert, runtime, wav2vec2
from asrkit.models.heads import AMSoftmaxLoss, TDNNLayer
from asrkit.models.kernels import Items
from asrkit.models.layers import valid_mask
from asrkit.models.pretraining import (
    GumbelVectorQuantizer,
    compute_mask_indices,
    sample_negative_indices,
)
from asrkit.models.wav2vec2 import HEADS, Wav2Vec2Config
from tests.tiny import tiny_config

GOLDEN = sorted((Path(__file__).parent / "golden" / "heads").glob("*.safetensors"))
SPEAKERS = {"tdnn_dim": (8, 8), "tdnn_kernel": (3, 1), "tdnn_dilation": (2, 1)}


def tiny_head(head: str, **options):
    """A random model with a head, in eval mode."""
    torch.manual_seed(0)
    small = {"classifier_proj_size": 6, "xvector_output_dim": 5} | SPEAKERS
    return HEADS[head](tiny_config(**(small | options))).eval()


def write(folder: Path, model, **config) -> Path:
    """Save a model as a checkpoint."""
    settings = {"model_type": "wav2vec2", "architectures": [type(model).__name__]}
    fields = {key: getattr(model.config, key) for key in vars(model.config)}
    (folder / "config.json").write_text(json.dumps(fields | settings | config))
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    return folder


def waveforms(*sizes: int) -> list[np.ndarray]:
    noise = np.random.default_rng(0)
    return [noise.normal(size=size).astype(np.float32) for size in sizes]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_head_gives_the_numbers_of_the_reference(path, tmp_path):
    with safe_open(path, "pt") as file:
        stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        (tmp_path / "config.json").write_text(file.metadata()["config"])
    weights = {key[7:]: stored.pop(key) for key in list(stored) if key.startswith("weight:")}
    save_file(weights, tmp_path / "model.safetensors")
    options = {key[7:]: stored.pop(key) for key in list(stored) if key.startswith("option:")}
    values, lengths = stored.pop("values"), stored.pop("lengths", None)

    with torch.inference_mode():
        output = load_model(str(tmp_path))(values, lengths, **options)

    assert stored
    for name, expected in stored.items():
        found = getattr(output, name)
        if path.stem.endswith("frame"):  # frames of the padding mean nothing
            mask = valid_mask(output.lengths, found.shape[1])
            found, expected = found[mask], expected[mask]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4, msg=name)


def test_golden_files_of_heads_are_small():
    assert sum(path.stat().st_size for path in GOLDEN) <= 100_000
    assert len(GOLDEN) == 5


# ------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("head", ["sequence-classification", "frame-classification"])
@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("is_sum", [False, True])
def test_padded_batch_gives_each_item_the_classes_it_gets_alone(head, norm, is_sum):
    """I4."""
    model = tiny_head(head, feat_extract_norm=norm, use_weighted_layer_sum=is_sum)
    items = waveforms(8_000, 5_123, 400)

    batch = runtime.class_logits(model, items)
    alone = [runtime.class_logits(model, [item])[0] for item in items]

    for found, expected in zip(batch, alone, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_sequence_logits_are_the_classifier_of_the_mean_over_valid_frames():
    model = tiny_head("sequence-classification")
    values, lengths = torch.randn(2, 4_000), torch.tensor([4_000, 2_000])

    with torch.inference_mode():
        states = model.wav2vec2(values, lengths)
        frames = int(states.lengths[1])
        mean = model.projector(states.last_hidden_state[1, :frames]).mean(0)
        expected = model.classifier(mean)
        found = model(values, lengths).logits[1]

    assert frames < states.last_hidden_state.shape[1]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_weighted_layer_sum_mixes_all_states_by_a_softmax():
    model = tiny_head("frame-classification", use_weighted_layer_sum=True, num_hidden_layers=2)
    model.layer_weights.data = torch.tensor([math.log(1), math.log(2), math.log(5)])
    values = torch.randn(1, 2_000)

    with torch.inference_mode():
        first, middle, last = model.wav2vec2(values, output_hidden_states=True).hidden_states
        expected = model.classifier(first / 8 + middle * 2 / 8 + last * 5 / 8)
        found = model(values).logits

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_states_come_out_only_when_asked_for():
    model = tiny_head("frame-classification", use_weighted_layer_sum=True)

    assert model(torch.randn(1, 800)).hidden_states is None
    assert len(model(torch.randn(1, 800), output_hidden_states=True).hidden_states) == 3


@pytest.mark.parametrize(
    ("problem_type", "labels", "expected"),
    [
        # Logits are 0 and ln 3: probabilities 1/4 and 3/4 together, 1/2 and 3/4 one by one.
        ("single_label_classification", torch.tensor([0]), math.log(4)),
        ("multi_label_classification", torch.tensor([[1, 0]]), (math.log(2) + math.log(4)) / 2),
        ("regression", torch.tensor([[1.0, math.log(3)]]), 0.5),
    ],
)
def test_loss_of_a_sequence_is_the_one_of_its_problem(problem_type, labels, expected):
    model = tiny_head("sequence-classification", problem_type=problem_type)
    model.classifier.weight.data.zero_()
    model.classifier.bias.data = torch.tensor([0, math.log(3)])

    loss = model(torch.randn(1, 800), labels=labels).loss

    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_loss_of_frames_counts_valid_frames_alone():
    model = tiny_head("frame-classification")
    model.classifier.weight.data.zero_()
    model.classifier.bias.data = torch.tensor([0, math.log(3)])
    lengths = torch.tensor([1_040, 720])  # 3 and 2 frames
    labels = torch.tensor([[[1, 0]] * 3, [[0, 1], [0, 1], [1, 0]]])  # the last is of the padding

    loss = model(torch.randn(2, 1_040), lengths, labels=labels).loss

    assert loss.item() == pytest.approx((3 * math.log(4) + 2 * math.log(4 / 3)) / 5, abs=1e-6)


@pytest.mark.parametrize("head", ["sequence-classification", "xvector"])
def test_label_that_is_no_class_is_an_error(head):
    with pytest.raises(ValueError, match="label 2 is not below the 2 classes"):
        tiny_head(head)(torch.randn(1, 4_000), labels=torch.tensor([2]))


# ------------------------------------------------------------------------------------- speakers


def test_time_delay_layer_is_a_dilated_convolution_frame_by_frame():
    layer = TDNNLayer(3, 5, size=3, dilation=2)
    x = torch.randn(1, 3, 9)

    with torch.inference_mode():
        found = layer(x)
        windows = [torch.cat([x[0, :, t + 2 * k] for k in range(3)]) for t in range(5)]
        expected = torch.stack([layer.kernel(window).relu() for window in windows], dim=1)

    torch.testing.assert_close(found[0], expected, rtol=0, atol=1e-5)


def test_x_vector_is_made_of_mean_and_unbiased_deviation_over_time():
    model = tiny_head("xvector")
    values = torch.randn(1, 4_000)

    with torch.inference_mode():
        x = model.projector(model.wav2vec2(values).last_hidden_state).transpose(1, 2)
        for layer in model.tdnn:
            x = layer(x)
        frames = x[0].double().numpy()
        statistics = np.concatenate([frames.mean(1), frames.std(1, ddof=1)])
        expected = model.feature_extractor(torch.from_numpy(statistics).float())
        found = model(values)
        logits = model.classifier(found.embeddings)

    torch.testing.assert_close(found.embeddings[0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.logits, logits)


def test_masked_x_vector_forgets_the_dilation():
    """Of 12 frames beside 20, layers of 3 frames with dilation 2 leave 8, and count 10."""
    model = tiny_head("xvector", feat_extract_norm="layer")
    values = torch.randn(2, 6_480)
    lengths = torch.tensor([6_480, 3_920])

    with torch.inference_mode():
        states = model.wav2vec2(values, lengths, with_padding=True).last_hidden_state
        x = model.projector(states).transpose(1, 2)
        for layer in model.tdnn:
            x = layer(x)
        pooled = [torch.cat((row.mean(1), row.std(1))) for row in (x[0], x[1, :, :10])]
        expected = model.feature_extractor(torch.stack(pooled))
        found = model(values, lengths).embeddings

    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_x_vectors_of_a_list_are_those_of_each_alone():
    model = tiny_head("xvector", feat_extract_norm="layer")
    items = waveforms(8_000, 3_000)

    found = runtime.xvectors(model, items)

    for vector, item in zip(found, items, strict=True):
        with torch.inference_mode():
            alone = model(torch.from_numpy(item)[None]).embeddings[0]
        np.testing.assert_allclose(vector, alone, rtol=0, atol=1e-6)


def test_audio_too_short_for_an_x_vector_is_an_error_that_says_how_much_it_takes():
    model = tiny_head("xvector")
    enough, short = waveforms(2_000, 1_999)

    assert model.min_samples == 2_000  # 6 frames: two are left after a context of four
    assert np.isfinite(runtime.xvectors(model, [enough])[0]).all()
    with pytest.raises(ValueError, match=r"5 frames .* takes 6 frames \(2000 samples\)"):
        runtime.xvectors(model, [short])


def test_published_x_vector_takes_a_third_of_a_second():
    assert HEADS["xvector"](Wav2Vec2Config(num_hidden_layers=0)).min_samples == 5_200


def test_margin_softmax_of_two_right_angles():
    loss = AMSoftmaxLoss(2, 2)
    loss.weight.data = torch.tensor([[3.0, 0.0], [0.0, 2.0]])  # two speakers, at right angles

    found = loss(torch.tensor([[5.0, 0.0]]), torch.tensor([0]))

    # Cosines 1 and 0, the first less 0.4, times 30.
    assert found.item() == pytest.approx(math.log(1 + math.exp(-18)), abs=1e-6)
    assert loss(torch.tensor([[5.0, 0.0]]), torch.tensor([1])).item() == pytest.approx(42, abs=1e-4)


# ---------------------------------------------------------------------------------- pre-training


def test_quantizer_picks_the_best_entry_of_each_group():
    config = tiny_config(num_codevector_groups=2, num_codevectors_per_group=3, codevector_dim=4)
    quantizer = GumbelVectorQuantizer(config).eval()
    features = torch.randn(1, 5, 12)

    with torch.inference_mode():
        found, perplexity = quantizer(features, None)
        scores = quantizer.weight_proj(features)[0].view(5, 2, 3)
    best = scores.argmax(-1)

    books = quantizer.codevectors.detach()[0].view(2, 3, 2)
    expected = torch.stack([torch.cat([books[0, a], books[1, b]]) for a, b in best])
    torch.testing.assert_close(found[0], expected)
    shares = [np.bincount(best[:, group], minlength=3) / 5 for group in range(2)]
    entropies = [-sum(p * math.log(p) for p in share if p) for share in shares]
    assert perplexity.item() == pytest.approx(sum(math.exp(h) for h in entropies), rel=1e-5)


def test_contrastive_loss_of_one_frame_by_hand():
    model = tiny_head("pretraining", contrastive_logits_temperature=0.5)
    own, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    targets = torch.stack([own, other, own])[None]  # (1, 3, 2); frames 0 and 2 are the same
    mask = torch.tensor([[True, False, False]])
    negatives = torch.tensor([[[1, 2], [0, 0], [0, 0]]])

    loss = model._contrastive_loss(2 * targets, targets, negatives, mask)

    # Cosine 1 with itself, 0 with the other; the distractor that is the same does not count.
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_pretraining_loss_is_contrast_and_unused_codebook():
    model = tiny_head("pretraining", num_codevectors_per_group=4, diversity_loss_weight=0.5)
    draws = np.random.RandomState(0)
    mask = compute_mask_indices([12, 12], 12, mask_prob=0.6, mask_length=2, random=draws)
    negatives = sample_negative_indices(mask, num_negatives=3, random=draws)

    output = model(
        torch.randn(2, 4_000),
        mask_time_indices=torch.from_numpy(mask),
        sampled_negative_indices=torch.from_numpy(negatives),
    )

    unused = (8 - output.codevector_perplexity) / 8  # 2 groups of 4
    torch.testing.assert_close(output.diversity_loss, unused * mask.sum())
    total = output.contrastive_loss + 0.5 * output.diversity_loss
    torch.testing.assert_close(output.loss, total)


def test_pretraining_reaches_every_weight_in_train_mode():
    model = tiny_head("pretraining").train()
    draws = np.random.RandomState(0)
    mask = compute_mask_indices([12], 12, mask_prob=0.6, mask_length=2, random=draws)
    negatives = sample_negative_indices(mask, num_negatives=3, random=draws)

    model(
        torch.randn(1, 4_000),
        mask_time_indices=torch.from_numpy(mask),
        sampled_negative_indices=torch.from_numpy(negatives),
    ).loss.backward()

    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_masked_frames_are_hidden_from_the_transformer():
    model = tiny_head("pretraining", feat_extract_norm="layer")
    values = torch.randn(1, 4_000)
    everything = torch.ones(1, 12, dtype=torch.bool)

    with torch.inference_mode():
        found = model(values, mask_time_indices=everything).projected_states
        other = model(-values, mask_time_indices=everything).projected_states

    torch.testing.assert_close(found, other, rtol=0, atol=0)


def test_negatives_without_a_mask_are_an_error():
    with pytest.raises(ValueError, match="without mask_time_indices"):
        tiny_head("pretraining")(
            torch.randn(1, 800), sampled_negative_indices=torch.zeros(1, 2, 1).long()
        )


def test_mask_without_an_embedding_for_it_is_an_error():
    model = tiny_head("pretraining", mask_time_prob=0.0)

    with pytest.raises(ValueError, match="no embedding for masked frames"):
        model(torch.randn(1, 800), mask_time_indices=torch.ones(1, 2).bool())


def test_masks_are_spans_within_the_valid_frames():
    draws = np.random.RandomState(0)
    lengths = [50, 30, 3]

    for _ in range(50):
        mask = compute_mask_indices(
            lengths, 50, mask_prob=0.4, mask_length=5, min_masks=1, random=draws
        )

        for row, length in zip(mask[:2], lengths, strict=False):
            assert not row[length:].any()
            edges = np.flatnonzero(np.diff(np.concatenate(([0], row, [0]))))
            assert row.any()
            assert (edges[1::2] - edges[::2] >= 5).all()
        assert np.flatnonzero(mask[2]).tolist() == [49]  # no span fits: the last frame of the batch


@pytest.mark.parametrize("mask_length", [0, 13])
def test_mask_longer_than_the_audio_is_an_error(mask_length):
    with pytest.raises(ValueError, match=f"a mask of {mask_length} frames, expected 1 to 12"):
        compute_mask_indices(
            [12], 12, mask_prob=0.5, mask_length=mask_length, random=np.random.RandomState(0)
        )


def test_negatives_are_other_masked_frames_of_the_same_item_each_as_often():
    mask = np.array([[True, True, False, True], [False, True, True, False]])

    found = sample_negative_indices(mask, num_negatives=2_000, random=np.random.RandomState(0))

    assert set(found[1, 1]) == {6}
    assert set(found[1, 2]) == {5}
    for frame, others in ((0, [1, 3]), (1, [0, 3]), (3, [0, 1])):
        counts = np.bincount(found[0, frame], minlength=4)
        assert counts[others].sum() == 2_000
        assert abs(counts[others] - 1_000).max() < 150


def test_one_masked_frame_has_no_negatives():
    with pytest.raises(ValueError, match="item 0 has 1 masked frames"):
        sample_negative_indices(
            np.array([[True, False]]), num_negatives=1, random=np.random.RandomState(0)
        )


# --------------------------------------------------------------------- states, attention, loading


@pytest.mark.parametrize("head", ["base", "ctc"])
def test_states_of_a_list_are_those_of_each_alone(head):
    model = tiny_head(head, add_adapter=True)
    items = waveforms(8_000, 3_000, 50)

    found = runtime.hidden_states(model, items)

    assert [states.shape for states in found] == [(3, 24, 24), (3, 9, 24), (3, 1, 24)]
    for states, item in zip(found, items, strict=True):
        np.testing.assert_allclose(
            states, runtime.hidden_states(model, [item])[0], rtol=0, atol=1e-4
        )


def test_attention_maps_say_what_each_frame_takes_of_each():
    model = tiny_head("ctc", num_hidden_layers=1, num_attention_heads=1)
    (samples,) = waveforms(2_000)
    layer = model.wav2vec2.encoder.layers[0]

    maps = runtime.attention_maps(model, samples)
    x = torch.from_numpy(runtime.hidden_states(model, [samples])[0][0])
    with torch.inference_mode():
        mixed = layer.attention.out_proj(torch.from_numpy(maps[0, 0]) @ layer.attention.v_proj(x))
        expected = layer.attention(x, Items(6, [6], [6]))

    assert maps.shape == (1, 1, 6, 6)
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-5)
    assert not layer.attention._forward_pre_hooks  # the next pass is as fast as ever


@pytest.mark.parametrize("head", [name for name in HEADS if name != "base"])
def test_every_head_loads_by_its_architecture(head, tmp_path):
    model = tiny_head(head)

    loaded = load_model(str(write(tmp_path, model)))

    assert type(loaded) is type(model)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)


def test_hubert_has_the_heads_that_the_reference_has():
    assert {cls.__name__ for cls in hubert.HEADS.values()} == {
        "HubertModel", "HubertForCTC", "HubertForSequenceClassification",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("head", "title"),
    [
        ("ctc", "CTC"),
        ("sequence-classification", "sequence classification"),
        ("frame-classification", "audio frame classification"),
        ("xvector", "x-vector"),
        ("pretraining", "pre-training"),
    ],
)
def test_missing_head_is_an_error_and_never_random(head, title, tmp_path):
    """I14."""
    write(tmp_path, tiny_head("base"))

    with pytest.raises(CheckpointError, match=f"there is no {title} head in the weights") as caught:
        load_model(str(tmp_path), head=head)
    assert "Wav2Vec2Model" in caught.value.hint


@pytest.mark.parametrize("head", [name for name in HEADS if name != "base"])
def test_base_model_loads_from_a_checkpoint_with_any_head(head, tmp_path):
    model = tiny_head(head, mask_time_prob=0.0)

    base = load_model(str(write(tmp_path, model)), head="base")

    values = torch.randn(1, 2_000)
    with torch.inference_mode():
        expected = model.wav2vec2(values).last_hidden_state
        torch.testing.assert_close(base(values).last_hidden_state, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("sequence-classification", {"add_adapter": True}, "add_adapter is True"),
        ("frame-classification", {"add_adapter": True}, "add_adapter is True"),
        ("pretraining", {"add_adapter": True}, "add_adapter is True"),
        ("xvector", {"add_adapter": True, "output_hidden_size": 8}, "output_hidden_size is 8"),
        ("xvector", {"tdnn_kernel": (3, 1, 1)}, "lengths 2, 3 and 2"),
        ("pretraining", {"codevector_dim": 7}, "codevector_dim 7 is not a multiple"),
    ],
)
def test_config_that_a_head_cannot_have_is_refused(head, options, message):
    with pytest.raises(CheckpointError, match=message):
        tiny_head(head, **options)


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ({}, {0: "LABEL_0", 1: "LABEL_1"}),
        ({"id2label": {"1": "yes", "0": "no"}}, {0: "no", 1: "yes"}),
        ({"num_labels": 3}, {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}),
        ({"num_labels": 3, "id2label": None}, {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}),
    ],
)
def test_classes_are_named_by_numbers(data, labels):
    config = Wav2Vec2Config.from_dict(data)

    assert config.id2label == labels
    assert config.num_labels == len(labels)


@pytest.mark.parametrize(
    ("key", "value"),
    [("id2label", {"a": "b"}), ("id2label", ["no"]), ("problem_type", "ranking"), ("tdnn_dim", 5)],
)
def test_head_value_that_is_not_implemented_is_refused_by_name(key, value):
    """I5."""
    with pytest.raises(CheckpointError, match=key):
        Wav2Vec2Config.from_dict({key: value})


def test_every_family_names_its_heads_alike():
    for family in (wav2vec2, hubert):
        assert set(family.HEADS) <= set(HEADS)
        for name, cls in family.HEADS.items():
            assert cls.base_prefix == ("" if name == "base" else family.__name__.split(".")[-1])
