"""The text decoder: token by token as the whole text at once, and beams that share their past."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from asrkit.models import decoder as decoding
from asrkit.models.decoder import CompiledTexts, TextDecoder
from asrkit.models.layers import sinusoidal_positions

PAD = 1
HAS_CORE = decoding._native is not None
STATES = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(5))
LENGTHS = torch.tensor([7, 2, 5])


@pytest.fixture(params=["modules", *(decoding._native.instruction_sets() if HAS_CORE else ())])
def steps(request, monkeypatch):
    """Steps by the modules, and by the compiled core with each instruction set."""
    if request.param == "modules":
        monkeypatch.setattr(decoding, "_native", None)
        yield request.param
        return
    core = SimpleNamespace(
        Decoder=decoding._native.Decoder, instruction_sets=lambda: [request.param]
    )
    monkeypatch.setattr(decoding, "_native", core)
    with torch.no_grad():
        yield request.param


def decoder(*, norm_first=True, activation="relu", width=8, ffn=12, layers=2):
    torch.manual_seed(3)
    config = SimpleNamespace(
        vocab_size=19, d_model=width, decoder_layers=layers, decoder_attention_heads=2,
        decoder_ffn_dim=ffn, activation_function=activation, scale_embedding=True,
        pad_token_id=PAD,
    )  # fmt: skip
    model = TextDecoder(config, norm_first=norm_first).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.requires_grad_(False)


def tokens(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, 19, shape, generator=generator)  # no padding


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("norm_first", [True, False])
def test_steps_give_what_the_whole_text_gives(norm_first, activation, steps):
    model = decoder(norm_first=norm_first, activation=activation)
    text = tokens(3, 9)

    cache = model.start(STATES, LENGTHS)
    found = torch.cat([model.step(text[:, i : i + 1], cache) for i in range(9)], dim=1)

    assert isinstance(cache, CompiledTexts) == (steps != "modules" and activation == "relu")
    torch.testing.assert_close(found, model(text, STATES, LENGTHS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_rows", [1, 5])
def test_log_probs_of_steps_are_those_of_the_whole_text(num_rows, steps):
    model = decoder(width=128, ffn=2048, layers=1)
    states, head, text = torch.randn(3, 7, 128), torch.randn(1100, 128), tokens(3, 4)
    whole = (model(text, states, LENGTHS) @ head.T).log_softmax(-1)

    cache = model.start(states, LENGTHS, head=head)
    for i in range(4):
        found = model.step(text[:, i : i + 1].expand(-1, num_rows), cache)
        expected = whole[:, i : i + 1].expand(-1, num_rows, -1)
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.skipif(not HAS_CORE, reason="built without a compiler")
@torch.inference_mode()
def test_neither_neighbours_nor_threads_change_a_number():
    model = decoder(width=40, ffn=70)
    states, head = torch.randn(3, 7, 40), torch.randn(50, 40)
    text = tokens(6, 3, 2)  # a step each of three items and two beams

    def write(items, num_threads):
        torch.set_num_threads(num_threads)
        length = int(LENGTHS[items].max())
        cache = model.start(states[items, :length], LENGTHS[items], head=head)
        return torch.stack([model.step(row[items], cache) for row in text], dim=1)

    num_threads = torch.get_num_threads()
    try:
        together = write([0, 1, 2], 1)
        assert torch.equal(write([0, 1, 2], 3), together)
        for item in range(3):
            assert torch.equal(write([item], 2)[0], together[item])
    finally:
        torch.set_num_threads(num_threads)


@pytest.mark.skipif(not HAS_CORE, reason="built without a compiler")
@torch.inference_mode()
def test_the_core_works_in_float32_whatever_the_model():
    model = decoder(width=16).to(torch.bfloat16)
    states = STATES.repeat(1, 1, 2).to(torch.bfloat16)

    found = model.step(tokens(3, 1), model.start(states, LENGTHS))

    expected = model.float().step(tokens(3, 1), model.start(states.float(), LENGTHS))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0.03)  # the embedding's bfloat16


@pytest.mark.skipif(not HAS_CORE, reason="built without a compiler")
@torch.inference_mode()
def test_the_core_takes_nothing_on_trust():
    model = decoder()
    cache = model.start(STATES, LENGTHS)
    model.step(tokens(3, 2), cache)
    core = cache.texts
    frames = [(STATES[:, None].numpy(),) * 2] * 2

    for wrong in (
        lambda: core.step(np.zeros((3, 3, 8), "f")),
        lambda: core.step(np.zeros((2, 2, 8), "f")),
        lambda: core.step(np.zeros((3, 2, 7), "f")),
        lambda: core.reorder(np.array([[0, 1], [0, 2], [0, 0]])),
        lambda: core.reorder(np.array([[0, 1], [0, -1], [0, 0]])),
        lambda: core.reorder(np.zeros((3, 3), int)),
        lambda: core.select_items([0, 3]),
        lambda: core.select_items([1, 0]),
        lambda: model._compile(torch.zeros(5, 7)),
        lambda: model._compile(None).start(frames, [7, 2, 5], num_threads=1),
    ):
        with pytest.raises((ValueError, TypeError)):
            wrong()
    for lengths in ([7, 2, 8], [7, 0, 5], [7, 2]):
        parts = [tuple(part.numpy() for part in layer.listen(STATES)) for layer in model.layers]
        with pytest.raises(ValueError, match=r"lengths|frames"):
            model._compile(None).start(parts, lengths, num_threads=1)


@pytest.mark.parametrize("name", ["fc1", "fc2"])
def test_changed_weights_are_seen_by_the_next_start(name, steps):
    model = decoder(width=128, ffn=2048, layers=1)
    states, text = torch.randn(1, 7, 128), tokens(1, 1)
    before = model.step(text, model.start(states))

    getattr(model.layers[0], name).weight.mul_(2)
    after = model.step(text, model.start(states))

    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, model(text, states), atol=1e-4, rtol=1e-4)


def test_beams_that_change_places_keep_their_own_past(steps):
    model = decoder()
    generator = torch.Generator().manual_seed(1)
    cache = model.start(STATES, LENGTHS)
    texts = tokens(3, 4, 1)  # (B, R, L)

    for length in range(1, 41):  # long enough for slots to be thrown away
        found = model.step(texts[:, :, -1], cache)
        if length % 8 == 0:
            for item in range(3):
                states, lengths = STATES[item].expand(4, 7, 8), LENGTHS[item].expand(4)
                whole = model(texts[item], states, lengths)[:, -1]
                torch.testing.assert_close(found[item], whole, atol=1e-5, rtol=1e-5)
        parents = torch.randint(0, 4, (3, 4), generator=generator)
        cache.reorder(parents)
        texts = torch.cat(
            [texts.take_along_dim(parents[..., None], 1), tokens(3, 4, 1, seed=length)], dim=-1
        )

    if steps == "modules":
        assert cache.visible.shape[-1] < 4 * 40


@pytest.mark.parametrize("num_rows", [1, 3])
def test_the_items_that_are_left_go_on_as_before(num_rows, steps):
    model = decoder()
    text = tokens(6, 3, num_rows)
    cache, fewer = model.start(STATES, LENGTHS), model.start(STATES, LENGTHS)
    items = torch.tensor([0, 2])

    for index, row in enumerate(text):
        if index == 3:
            fewer.select_items(items)
        expected = model.step(row, cache)[items]
        found = model.step(row[items] if index >= 3 else row, fewer)

    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_frames_beyond_the_length_are_not_heard():
    model = decoder()
    noisy = STATES.clone()
    noisy[1, 2:] = 100.0

    torch.testing.assert_close(
        model(tokens(3, 4), noisy, LENGTHS), model(tokens(3, 4), STATES, LENGTHS)
    )


def test_what_follows_a_token_does_not_change_it():
    model = decoder()
    one, other = tokens(3, 6), tokens(3, 6, seed=1)
    other[:, :4] = one[:, :4]

    a, b = model(one, STATES), model(other, STATES)

    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert not torch.allclose(a[:, 4:], b[:, 4:])


def test_gradients_reach_every_weight():
    model = decoder().requires_grad_()

    model(tokens(3, 5), STATES, LENGTHS).square().mean().backward()

    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_decoder_that_has_written_can_be_copied_and_stored():
    model = decoder()
    model.start(STATES)

    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(tokens(3, 2), STATES), model(tokens(3, 2), STATES))


def test_positions_are_sines_then_cosines():
    # Four columns: frequencies 1 and 1 / 10000.
    found = sinusoidal_positions(torch.tensor([0, 2]), 5)

    expected = [[0, 0, 1, 1, 0], [0.909297, 0.0002, -0.416147, 1.0, 0]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-6)
