"""The fast forms of operations against torch's plain ones."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

from asrkit.models import kernels, wav2vec2
from asrkit.models.kernels import Items
from tests.tiny import tiny_model

DOUBLE = torch.float64


def close(found, expected, tolerance=1e-10):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lengths", [[3, 1, 5], [4, 4], [1]])
def test_rows_of_a_padded_batch_come_back_with_zeros_behind_them(lengths):
    padded = torch.randn(len(lengths), 5, 2)

    items = Items.of(torch.tensor(lengths), 5)
    rows = items.pack(padded)
    back = items.pad(rows)

    assert rows.shape == (sum(lengths), 2)
    for item, old, length in zip(back, padded, lengths, strict=True):
        close(item[:length], old[:length], 0)
        assert not item[length:].any()


def test_rows_with_padding_are_all_rows_and_silent_beyond_the_end():
    padded = torch.ones(2, 3, 1)

    rows = Items.of(torch.tensor([3, 1]), 3, with_padding=True).pack(padded)

    assert rows.flatten().tolist() == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("shape", [(1, 7), (33, 7), (2, 3, 7)])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, DOUBLE])
def test_linear_layer_is_that_of_torch(shape, has_bias, dtype):
    layer = kernels.Linear(7, 5, bias=has_bias, dtype=dtype)
    x = torch.randn(shape, dtype=dtype)

    with torch.inference_mode():
        found = layer(x)

    close(
        found,
        functional.linear(x, layer.weight, layer.bias),
        1e-2 if dtype == torch.bfloat16 else 1e-5,
    )


def test_linear_layer_has_gradients():
    layer = kernels.Linear(3, 2)

    layer(torch.ones(1, 3)).sum().backward()

    close(layer.weight.grad, torch.ones(2, 3))


@pytest.mark.parametrize(("kernel", "stride"), [(10, 5), (3, 2), (2, 2), (5, 1), (2, 4), (1, 1)])
@pytest.mark.parametrize("num_positions", [10, 61])
def test_windows_times_a_matrix_are_a_strided_convolution(kernel, stride, num_positions):
    conv = nn.Conv1d(3, 7, kernel, stride=stride, dtype=DOUBLE)
    rows = torch.randn(num_positions + 4, 3, dtype=DOUBLE)[4:]  # not at the start of its memory

    found = kernels.windows(rows, kernel, stride) @ kernels.as_matrix(conv.weight).T + conv.bias

    close(found, conv(rows.T)[:].T)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(("offset", "num_samples"), [(0, 400), (50, 403), (0, 10)])
def test_folded_group_norm_is_convolution_then_norm(has_bias, offset, num_samples):
    conv = nn.Conv1d(1, 6, 10, stride=5, bias=has_bias, dtype=DOUBLE)
    norm = nn.GroupNorm(6, 6, dtype=DOUBLE)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    samples = torch.randn(num_samples, 1, dtype=DOUBLE) + offset

    matrix, bias = kernels.fold_group_norm(samples, conv, norm)
    found = kernels.windows(samples, 10, 5) @ matrix.T + bias

    # One window has no variance, and torch refuses to norm it: only the bias is left.
    expected = norm(conv(samples.T[None]))[0].T if num_samples > 10 else norm.bias[None]
    close(found, expected, 1e-9)


def test_folded_group_norm_is_as_exact_as_the_norm_where_a_channel_hears_almost_nothing():
    # A channel of differences, on a tone far below its band: nearly all of its covariance cancels.
    conv = nn.Conv1d(1, 1, 10, stride=5, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -4, 6, -4, 1, 0, 0, 0, 0, 0]))
    norm = nn.GroupNorm(1, 1)
    samples = torch.sin(torch.arange(20_000) * 0.1)[:, None]

    matrix, bias = kernels.fold_group_norm(samples, conv, norm)
    found = kernels.windows(samples.double(), 10, 5) @ matrix.T.double() + bias

    expected = norm.double()(conv.double()(samples.double().T[None]))[0].T
    close(found, expected, 2e-3)


@pytest.mark.parametrize("kernel", [1, 4, 5, 128])
@pytest.mark.parametrize("num_frames", [1, 2, 40])
def test_convolution_over_frames_is_the_padded_one_cut_to_length(kernel, num_frames):
    conv = nn.Conv1d(6, 6, kernel, padding=kernel // 2, groups=3, dtype=DOUBLE)
    x = torch.randn(num_frames, 6, dtype=DOUBLE)

    weight = conv.weight[:, :, None].contiguous(memory_format=torch.channels_last)
    found = kernels.convolve_frames(x, weight, conv.bias, groups=3)

    close(found, conv(x.T)[:, :num_frames].T)


@pytest.mark.parametrize("lengths", [[4, 4], [5, 2, 1], [6]])
@pytest.mark.parametrize("with_padding", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, DOUBLE])
def test_attention_among_rows_is_that_of_a_padded_batch_with_a_mask(lengths, with_padding, dtype):
    items = Items.of(torch.tensor(lengths), 6, with_padding=with_padding)
    padded = torch.randn(3, len(lengths), 6, 8, dtype=dtype)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]

    found = kernels.attend(*(items.pack(part) for part in padded), items, 2)

    heads = padded.masked_fill(~mask[..., None], 0).double().unflatten(-1, (2, 4)).transpose(2, 3)
    expected = functional.scaled_dot_product_attention(*heads, attn_mask=mask[:, None, None])
    expected = torch.cat(
        [x[:n] for x, n in zip(expected.transpose(1, 2).flatten(2), items.sizes, strict=True)]
    )
    close(found.double(), expected, 3e-2 if dtype == torch.bfloat16 else 1e-10)


@pytest.mark.parametrize("scores_at_once", [1, 50, 2**21])
def test_plain_attention_a_few_heads_at_a_time_is_the_fused_one(scores_at_once, monkeypatch):
    monkeypatch.setattr(kernels, "_takes_plain_attention", lambda q: True)
    monkeypatch.setattr(kernels, "_SCORES_AT_ONCE", scores_at_once)
    q, k, v = torch.randn(3, 2, 3, 5, 4, dtype=DOUBLE)

    with torch.inference_mode():
        found = kernels._attend(q, k[:, :, :4], v[:, :, :4])

    close(found, functional.scaled_dot_product_attention(q, k[:, :, :4], v[:, :, :4]))


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_overwrites_only_where_no_gradient_is_asked_for(approximate):
    x = torch.randn(5)
    kept = x.clone()

    with torch.enable_grad():
        expected = kernels.gelu(x, approximate=approximate)
    close(x, kept, 0)
    with torch.inference_mode():
        found = kernels.gelu(x, approximate=approximate)

    assert found.data_ptr() == x.data_ptr()
    close(found, expected, 1e-6)
    close(expected, functional.gelu(kept, approximate=approximate), 0)


def test_derived_value_is_made_again_when_a_weight_has_changed_and_is_not_saved():
    weight = nn.Parameter(torch.ones(2))
    derived = kernels.Derived()
    made = []

    def get(holder=derived):
        return holder.get([weight], lambda: made.append(1) or weight.sum().item())

    with torch.no_grad():
        assert [get(), get()] == [2, 2]
        weight.mul_(3)
        assert [get(), get()] == [6, 6]
        assert len(made) == 2
        get(copy.deepcopy(derived))
        get(pickle.loads(pickle.dumps(derived)))
    assert len(made) == 4
    get()  # gradients flow through what is made
    assert len(made) == 5


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("lengths", [[4_000], [4_000, 1_234, 400]])
def test_feature_encoder_in_pieces_is_the_stack_of_plain_layers(
    norm, has_bias, lengths, monkeypatch
):
    monkeypatch.setattr(wav2vec2, "_FRAMES_AT_ONCE", 5)
    model = tiny_model(feat_extract_norm=norm, conv_bias=has_bias).double().wav2vec2
    values = torch.randn(len(lengths), 4_000, dtype=DOUBLE)

    with torch.inference_mode():
        found, frames = model.features(values, torch.tensor(lengths), with_padding=False)

        for item, samples, length, count in zip(found, values, lengths, frames, strict=True):
            x = samples[None, None, :length]
            for layer in model.feature_extractor.conv_layers:
                x = layer.conv(x)
                if isinstance(layer.layer_norm, nn.LayerNorm):
                    x = layer.layer_norm(x.transpose(1, 2)).transpose(1, 2)
                elif layer.layer_norm is not None and x.shape[-1] > 1:
                    x = layer.layer_norm(x)
                x = functional.gelu(x)
            assert count == x.shape[-1]
            close(item[:count], x[0].T)
