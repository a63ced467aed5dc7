"""What a model says of a clip does not depend on its neighbours in a batch, to the bit.

Only so does a run that was stopped and goes on, whose batches are others, give the same bytes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asrkit import transcribe
from asrkit.models import decoder, kernels, runtime, wav2vec2
from asrkit.models.kernels import Items
from tests.tiny import tiny_config, tiny_speech_encoder_decoder, tiny_speech_to_text

pytestmark = pytest.mark.skipif(
    not kernels.takes_onednn(torch.ones(1)), reason="products of another library"
)
EXAMPLES = Path(__file__).parents[1] / "examples" / "audio"


def on_wav2vec2(head: str, **options):
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate("abc")), "classifier_proj_size": 9}
    return wav2vec2.HEADS[head](tiny_config(**(labels | options))).eval()


def encoder_states(model, inputs):
    values, lengths = runtime._padded(inputs, torch.device("cpu"))
    with torch.inference_mode():
        output = model.encode(values, lengths)
    states = zip(output.last_hidden_state, output.lengths, strict=True)
    return [state[:length].float().numpy() for state, length in states]


MODELS = {
    "group norm": (lambda: on_wav2vec2("ctc"), runtime.ctc_log_probs),
    "stable, of a language": (
        lambda: on_wav2vec2(
            "ctc", feat_extract_norm="layer", do_stable_layer_norm=True, adapter_attn_dim=7
        ),
        runtime.ctc_log_probs,
    ),
    "one head, odd widths": (
        lambda: on_wav2vec2(
            "ctc", num_attention_heads=1, hidden_size=20, intermediate_size=30, vocab_size=5
        ),
        runtime.ctc_log_probs,
    ),
    "approximate gelu": (
        lambda: on_wav2vec2("ctc", hidden_act="gelu_new", intermediate_size=30),
        runtime.ctc_log_probs,
    ),
    "adapter": (
        lambda: on_wav2vec2("ctc", add_adapter=True, output_hidden_size=10),
        runtime.ctc_log_probs,
    ),
    "classes": (lambda: on_wav2vec2("sequence-classification"), runtime.class_logits),
    "classes of frames": (lambda: on_wav2vec2("frame-classification"), runtime.class_logits),
    "hidden states": (lambda: on_wav2vec2("base"), runtime.hidden_states),
    "Speech2Text": (lambda: tiny_speech_to_text(activation_function="silu"), encoder_states),
    "Speech2Text2": (tiny_speech_encoder_decoder, encoder_states),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_a_clip_gets_the_same_bits_alone_and_in_any_batch(name, dtype):
    """I4, I16."""
    make, run = MODELS[name]
    model = make().to(dtype)
    random = np.random.default_rng(0)
    lengths = [*random.integers(16, 9_000, 3), 400, 1_000, 1_000]  # 1 frame, and 2 twice
    shapes = [(max(1, n // 160), 80) if name == "Speech2Text" else (n,) for n in lengths]
    clips = [random.standard_normal(shape).astype(np.float32) for shape in shapes]

    alone = [run(model, [clip])[0] for clip in clips]

    for batch in ([0, 1, 2, 3, 4, 5], [4, 5], [3, 0]):
        for index, found in zip(batch, run(model, [clips[i] for i in batch]), strict=True):
            np.testing.assert_array_equal(found, alone[index])


@pytest.mark.skipif(decoder._native is None, reason="built without a compiler")
@pytest.mark.parametrize("num_beams", [1, 4])
@pytest.mark.parametrize("make", [tiny_speech_to_text, tiny_speech_encoder_decoder])
def test_a_text_and_its_score_are_the_same_alone_and_in_any_batch(make, num_beams):
    """I16."""
    model = make()
    settings = replace(model.generation, num_beams=num_beams, max_length=30)
    random = np.random.default_rng(0)
    shapes = [(n, 80) if make is tiny_speech_to_text else (160 * n,) for n in (90, 3, 40, 41)]
    clips = [random.standard_normal(shape).astype(np.float32) for shape in shapes]

    alone = [runtime.generate(model, [clip], settings)[0] for clip in clips]

    assert runtime.generate(model, clips, settings) == alone
    assert runtime.generate(model, clips[1:], settings) == alone[1:]


def test_transcripts_and_scores_do_not_depend_on_the_size_of_batches():
    """I16."""
    names = ("espeak-us.wav", "flite-rms.flac", "stereo.wav")
    inputs = [EXAMPLES / name for name in names]

    one, all_ = (
        transcribe(inputs, batch_size=size, timestamps="char", chunk_length=2.0, stride=0.5)
        for size in (1, 32)
    )

    assert [item.to_dict() for item in one] == [item.to_dict() for item in all_]
    assert any(item.text for item in one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3072, 64), (20, 5), (768, 768)])
def test_a_row_times_a_matrix_is_the_same_among_others(shape, dtype):
    rows, weight = torch.randn(40, shape[0], dtype=dtype), torch.randn(shape[::-1], dtype=dtype)

    with torch.inference_mode():
        together = kernels.linear(rows, weight, None)
        for start, end in [(0, 1), (7, 8), (7, 9), (30, 40), (1, 40)]:
            found = kernels.linear(rows[start:end], weight, None)
            assert torch.equal(found, together[start:end])


@pytest.mark.parametrize("function", [torch.tanh, torch.nn.functional.silu, kernels.gelu])
def test_an_activation_of_an_item_is_the_same_among_others(function):
    rows = torch.randn(7, 5)
    items = Items(4, [1, 4, 2], [1, 4, 2])

    with torch.inference_mode():
        alone = [function(item.clone()) for item in items.split(rows)]
        found = items.activate(function, rows.clone())

    assert torch.equal(found, torch.cat(alone))
