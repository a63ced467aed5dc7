"""Speech2Text and Speech2Text2: loading, batches, loss, generation."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from asrkit import load_model
from asrkit.errors import AsrkitError, CheckpointError
from asrkit.models import runtime
from asrkit.models.speech_encoder_decoder import SpeechEncoderDecoderConfig
from asrkit.models.speech_to_text import Speech2TextConfig
from tests.tiny import tiny_model, tiny_speech_encoder_decoder, tiny_speech_to_text

BOTH = (tiny_speech_to_text, tiny_speech_encoder_decoder)
LABELS = torch.tensor([[5, 6, 7]])


def features(*lengths: int) -> list[torch.Tensor]:
    torch.manual_seed(3)
    return [torch.randn(length, 80) for length in lengths]


def edit_weights(folder, change) -> None:
    path = folder / "model.safetensors"
    save_file({k: v.clone() for k, v in change(load_file(path)).items()}, path)


def edit_config(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ----------------------------------------------------------------------------------- reference

GOLDEN = sorted((Path(__file__).parent / "golden" / "encoder_decoder").glob("*.safetensors"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_stage_gives_the_numbers_of_the_reference(path, tmp_path):
    with safe_open(path, "pt") as file:
        stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        (tmp_path / "config.json").write_text(file.metadata()["config"])
    weights = {key[7:]: stored.pop(key) for key in list(stored) if key.startswith("weight:")}
    save_file(weights, tmp_path / "model.safetensors")
    model = load_model(str(tmp_path), head="seq2seq")
    values = stored["values"]

    with torch.inference_mode():
        output = model(values, labels=stored["labels"], output_hidden_states=True)
        found = {
            "first_hidden": output.hidden_states[0],
            "middle_hidden": output.hidden_states[1],
            "encoded": model.encode(values).last_hidden_state,
            "logits": output.logits,
            "loss": output.loss,
        }
        tokens = model.generate(values, num_beams=3, max_length=12, early_stopping=True)

    for name, tensor in found.items():
        torch.testing.assert_close(tensor, stored[name], rtol=0, atol=1e-4, msg=name)
    assert tokens.tolist() == stored["generated"].tolist()


@pytest.mark.parametrize("family", ["speech_to_text-", "speech_to_text_2-"])
def test_golden_files_of_a_family_are_small(family):
    sizes = [path.stat().st_size for path in GOLDEN if path.name.startswith(family)]

    assert len(sizes) == 2
    assert sum(sizes) <= 100_000


# -------------------------------------------------------------------------------- forward pass


def padded_with_noise(items):
    """Items in one tensor; what follows an item's end is noise, and is ignored."""
    values = torch.randn(len(items), max(map(len, items)), *items[0].shape[1:])
    for row, item in zip(values, items, strict=True):
        row[: len(item)] = item
    return values, torch.tensor([len(item) for item in items])


def assert_batch_is_single(model, items):
    tokens = torch.tensor([[2, 5, 6, 7]]).expand(len(items), -1)
    values, lengths = padded_with_noise(items)

    with torch.inference_mode():
        batch = model(values, lengths, decoder_input_ids=tokens)
        states = model.encode(values, lengths).last_hidden_state
        for row, item in enumerate(items):
            alone = model(item[None], decoder_input_ids=tokens[:1])
            frames = int(alone.lengths)
            expected = model.encode(item[None]).last_hidden_state[0]

            assert batch.lengths[row] == frames == len(expected)
            torch.testing.assert_close(states[row, :frames], expected, rtol=0, atol=1e-4)
            torch.testing.assert_close(batch.logits[row], alone.logits[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("kernels", [(5, 5), (3,), (1, 7, 3), (4, 2)])
def test_padded_features_give_each_item_what_it_gets_alone(kernels):
    model = tiny_speech_to_text(conv_kernel_sizes=kernels, num_conv_layers=len(kernels))

    assert_batch_is_single(model, features(97, 96, 50, 3, 1))


@pytest.mark.parametrize("encoder", [{}, {"add_adapter": True}, {"feat_extract_norm": "layer"}])
@pytest.mark.parametrize("d_model", [16, 24])  # with and without a projection
def test_padded_waveforms_give_each_item_what_it_gets_alone(encoder, d_model):
    model = tiny_speech_encoder_decoder(encoder=encoder, d_model=d_model)
    assert (model.enc_to_dec_proj is None) == (d_model == 24)

    assert_batch_is_single(model, [torch.randn(length) for length in (6_000, 3_333, 720, 11)])


@pytest.mark.parametrize(("num_frames", "expected"), [(1, 1), (4, 1), (5, 2), (100, 25), (101, 26)])
def test_two_convolutions_keep_every_fourth_frame(num_frames, expected):
    output = tiny_speech_to_text().encode(torch.randn(1, num_frames, 80))

    assert output.last_hidden_state.shape == (1, expected, 16)
    assert output.lengths.tolist() == [expected]


def test_labels_become_inputs_that_begin_with_the_start_token():
    model = tiny_speech_to_text(decoder_start_token_id=4, pad_token_id=1)

    shifted = model.shift_right(torch.tensor([[7, 8, 9], [7, -100, -100]]))

    assert shifted.tolist() == [[4, 7, 8], [4, 7, 1]]


@pytest.mark.parametrize("tiny", BOTH)
def test_loss_is_the_mean_surprise_of_labels_that_count(tiny):
    model = tiny()
    values = torch.randn(2, 800) if tiny is BOTH[1] else torch.randn(2, 9, 80)

    with torch.inference_mode():
        output = model(values, labels=torch.tensor([[5, 6], [7, -100]]))

    p = output.logits.softmax(-1)
    by_hand = -(p[0, 0, 5] * p[0, 1, 6] * p[1, 0, 7]).log() / 3
    torch.testing.assert_close(output.loss, by_hand, rtol=1e-5, atol=1e-5)


def test_label_outside_the_vocabulary_is_an_error():
    with pytest.raises(ValueError, match="label 20 is not below the vocabulary size 20"):
        tiny_speech_to_text()(torch.randn(1, 9, 80), labels=torch.tensor([[20]]))


def test_model_without_tokens_and_labels_is_an_error():
    with pytest.raises(ValueError, match="decoder_input_ids or labels"):
        tiny_speech_to_text()(torch.randn(1, 9, 80))


@pytest.mark.parametrize("is_tied", [True, False])
def test_model_can_be_trained(is_tied):
    model = tiny_speech_to_text(tie_word_embeddings=is_tied).train()

    output = model(torch.randn(2, 30, 80), torch.tensor([30, 9]), labels=torch.ones(2, 3).long())
    output.loss.backward()

    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("tiny", BOTH)
def test_half_precision_stays_near_float32(tiny, dtype, tmp_path):
    folder = tiny(folder=tmp_path)
    values = torch.randn(1, 50, 80) if tiny is BOTH[0] else torch.randn(1, 4_000)

    with torch.inference_mode():
        exact = load_model(str(folder))(values, labels=LABELS).logits
        rough = load_model(str(folder), dtype=dtype)(values, labels=LABELS).logits

    assert rough.dtype == getattr(torch, dtype)
    assert (exact - rough.float()).abs().max() < 0.15 * exact.abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("tiny", BOTH)
def test_accelerator_gives_the_numbers_of_the_cpu(tiny, tmp_path):
    folder = tiny(folder=tmp_path)
    items = features(60, 33) if tiny is BOTH[0] else [torch.randn(n) for n in (4_000, 2_000)]
    values, lengths = padded_with_noise(items)
    exact, model = load_model(str(folder)), load_model(str(folder), device="cuda")

    with torch.inference_mode():
        expected = exact(values, lengths, labels=LABELS.expand(2, -1))
        found = model(values.cuda(), lengths.cuda(), labels=LABELS.expand(2, -1).cuda())

    torch.testing.assert_close(found.logits.cpu(), expected.logits, rtol=1e-3, atol=1e-3)
    texts = model.generate(values.cuda(), lengths.cuda(), max_length=9)
    assert texts.tolist() == exact.generate(values, lengths, max_length=9).tolist()


# -------------------------------------------------------------------------------------- config


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_function", "geglu"),
        ("d_model", "256"),
        ("d_model", 0),
        ("d_model", 1 << 40),
        ("vocab_size", -5),
        ("encoder_layers", 10**9),
        ("decoder_layers", 0),
        ("encoder_attention_heads", 3),
        ("decoder_attention_heads", 0),
        ("conv_kernel_sizes", [5]),
        ("conv_kernel_sizes", [5, -1]),
        ("conv_kernel_sizes", 5),
        ("num_conv_layers", 0),
        ("conv_channels", 7),
        ("pad_token_id", 10_000),
        ("decoder_start_token_id", -1),
        ("scale_embedding", "yes"),
    ],
)
def test_config_value_that_is_not_implemented_is_refused_by_name(key, value):
    with pytest.raises(CheckpointError, match=key):
        Speech2TextConfig.from_dict({key: value})


@pytest.mark.parametrize("kind", ["wavlm", "speech_to_text", None, ["wav2vec2"]])
def test_encoder_of_another_type_is_refused_by_name(kind):
    with pytest.raises(CheckpointError, match=r"encoder\.model_type") as caught:
        SpeechEncoderDecoderConfig.from_dict({"encoder": {"model_type": kind}, "decoder": {}})
    assert str(kind) in str(caught.value)
    assert caught.value.hint == "supported are wav2vec2, hubert"


@pytest.mark.parametrize("kind", ["mbart", "bart", "bert", "gpt2"])
def test_decoder_of_another_type_is_refused_by_name(kind, tmp_path):
    folder = tiny_speech_encoder_decoder(folder=tmp_path)
    edit_config(folder, decoder={"model_type": kind})

    with pytest.raises(CheckpointError, match=f"{folder}.*decoder.model_type '{kind}'") as caught:
        load_model(str(folder))
    assert caught.value.hint == "supported are speech_to_text_2"


@pytest.mark.parametrize(
    ("encoder", "decoder", "message"),
    [
        ({"hidden_act": "geglu"}, {}, r"encoder\.hidden_act is 'geglu'"),
        ({}, {"activation_function": "geglu"}, r"decoder\.activation_function is 'geglu'"),
        ({}, {"d_model": [1]}, r"decoder\.d_model is \[1\]"),
        ({"hidden_size": 24, "num_attention_heads": 2, "num_conv_pos_embedding_groups": 2},
         {"cross_attention_hidden_size": 24}, "states are 24 wide, the decoder expects 256"),
        ({"add_adapter": True, "output_hidden_size": 512}, {},
         "states are 512 wide, the projection expects 768"),
    ],
)  # fmt: skip
def test_value_of_a_part_is_refused_by_its_full_name(encoder, decoder, message):
    parts = {
        "encoder": {"model_type": "wav2vec2"} | encoder,
        "decoder": {"model_type": "speech_to_text_2"} | decoder,
    }

    with pytest.raises(CheckpointError, match=message):
        SpeechEncoderDecoderConfig.from_dict(parts)


def test_config_without_a_part_is_refused():
    with pytest.raises(CheckpointError, match="encoder is None, expected an object"):
        SpeechEncoderDecoderConfig.from_dict({})


def test_tokens_of_the_whole_model_stand_before_those_of_its_decoder():
    parts = {"encoder": {"model_type": "hubert"}, "decoder": {"model_type": "speech_to_text_2"}}

    silent = SpeechEncoderDecoderConfig.from_dict(parts | {"pad_token_id": None})
    loud = SpeechEncoderDecoderConfig.from_dict(parts | {"decoder_start_token_id": 7})

    assert (silent.pad_token_id, silent.decoder_start_token_id) == (1, 2)
    assert (loud.pad_token_id, loud.decoder_start_token_id) == (1, 7)
    assert loud.decoder.decoder_start_token_id == 2


@pytest.mark.parametrize("tiny", [tiny_model, *BOTH])
@pytest.mark.parametrize("value", [-1, 1 << 24, 10**15, 10**30, "x", [], [10**18]])
def test_no_config_value_ends_in_a_traceback(tiny, value, tmp_path):
    folder = tiny(folder=tmp_path)
    content = json.loads((folder / "config.json").read_text())
    parts = [content, *(content[name] for name in ("encoder", "decoder") if name in content)]

    for part in parts:
        for key in part:
            original, part[key] = part[key], value
            (folder / "config.json").write_text(json.dumps(content))
            with suppress(AsrkitError):
                load_model(str(folder))
            part[key] = original


# ------------------------------------------------------------------------------------- loading


def logits_of(folder) -> torch.Tensor:
    with torch.inference_mode():
        return load_model(str(folder))(features(20)[0][None], labels=LABELS).logits


def test_tied_head_is_the_embedding_whatever_the_file_holds(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    without = logits_of(folder)
    edit_weights(folder, lambda tensors: tensors | {"lm_head.weight": torch.randn(20, 16)})

    torch.testing.assert_close(logits_of(folder), without, rtol=0, atol=0)
    names = dict(load_model(str(folder)).named_parameters())
    assert "model.decoder.embed_tokens.weight" in names
    assert "lm_head.weight" not in names


def test_untied_head_must_be_in_the_file(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path, tie_word_embeddings=False)
    load_model(str(folder))
    edit_weights(
        folder, lambda tensors: {k: v for k, v in tensors.items() if k != "lm_head.weight"}
    )

    with pytest.raises(
        CheckpointError, match=r"no sequence-to-sequence head .*lm_head\.weight is missing"
    ):
        load_model(str(folder))


def test_stored_positions_are_ignored(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    without = logits_of(folder)
    table = torch.full((1026, 16), 9.0)
    edit_weights(
        folder,
        lambda tensors: (
            tensors
            | {f"model.{part}.embed_positions.weights": table for part in ("encoder", "decoder")}
        ),
    )

    torch.testing.assert_close(logits_of(folder), without, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["model.encoder.layers.9.fc1.weight", "model.decoder.embed"])
def test_tensor_without_a_place_is_refused(name, tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    edit_weights(folder, lambda tensors: tensors | {name: torch.zeros(1)})

    with pytest.raises(CheckpointError, match=f"have no place in the model: {name}"):
        load_model(str(folder))


def test_base_model_loads_from_either_checkpoint(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    values = features(20)[0][None]

    states = []
    for _ in range(2):
        model = load_model(str(folder), head="base")
        with torch.inference_mode():
            states.append(model(values, decoder_input_ids=LABELS).decoder_state)
        edit_weights(folder, lambda t: {k.removeprefix("model."): v for k, v in t.items()})

    torch.testing.assert_close(*states, rtol=0, atol=0)


def test_bare_base_checkpoint_gains_a_tied_head(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    before = logits_of(folder)
    edit_weights(folder, lambda t: {k.removeprefix("model."): v for k, v in t.items()})

    torch.testing.assert_close(logits_of(folder), before, rtol=0, atol=0)


def translation_logits(folder) -> torch.Tensor:
    torch.manual_seed(4)
    with torch.inference_mode():
        return load_model(str(folder))(torch.randn(1, 2_000), labels=LABELS).logits


def test_both_spellings_of_weight_norm_load_the_same_translation_model(tmp_path):
    folder = tiny_speech_encoder_decoder(folder=tmp_path)
    new = translation_logits(folder)
    spellings = (("parametrizations.weight.original0", "weight_g"),
                 ("parametrizations.weight.original1", "weight_v"))  # fmt: skip

    def respell(tensors):
        for long, short in spellings:
            tensors = {key.replace(long, short): value for key, value in tensors.items()}
        return tensors

    edit_weights(folder, respell)

    assert any(key.endswith("weight_g") for key in load_file(folder / "model.safetensors"))
    torch.testing.assert_close(translation_logits(folder), new, rtol=0, atol=0)


def test_translation_decoder_saved_without_its_tied_head_uses_the_embeddings(tmp_path):
    folder = tiny_speech_encoder_decoder(folder=tmp_path)
    head, embeddings = "decoder.lm_head.weight", "decoder.model.decoder.embed_tokens.weight"
    assert not torch.equal(
        *(load_file(folder / "model.safetensors")[k] for k in (head, embeddings))
    )
    untouched = load_model(str(folder))
    edit_weights(folder, lambda t: {k: v for k, v in t.items() if k != head})
    tied = load_model(str(folder))

    assert not torch.equal(untouched.lm_head.weight, untouched.decoder.embed_tokens.weight)
    assert torch.equal(tied.lm_head.weight, tied.decoder.embed_tokens.weight)


def test_translation_decoder_with_its_own_head_must_bring_it(tmp_path):
    folder = tiny_speech_encoder_decoder(folder=tmp_path, tie_word_embeddings=False)
    edit_weights(folder, lambda t: {k: v for k, v in t.items() if "lm_head" not in k})

    with pytest.raises(CheckpointError, match=r"lm_head\.weight is missing"):
        load_model(str(folder))


def test_projection_must_be_in_the_file(tmp_path):
    folder = tiny_speech_encoder_decoder(folder=tmp_path)
    edit_weights(folder, lambda t: {k: v for k, v in t.items() if "enc_to_dec_proj" not in k})

    with pytest.raises(CheckpointError, match=r"enc_to_dec_proj\.bias, enc_to_dec_proj\.weight"):
        load_model(str(folder))


def test_hubert_encodes_for_translation(tmp_path):
    folder = tiny_speech_encoder_decoder(folder=tmp_path)
    expected = translation_logits(folder)
    edit_config(folder, encoder=json.loads((folder / "config.json").read_text())["encoder"]
                | {"model_type": "hubert"})  # fmt: skip

    torch.testing.assert_close(translation_logits(folder), expected, rtol=0, atol=0)
    assert type(load_model(str(folder)).encoder).__name__ == "HubertModel"


# ---------------------------------------------------------------------------------- generation


def by_forward(model, values, length: int) -> list[int]:
    """The most probable text, computed from the start for every token."""
    tokens = [model.config.decoder_start_token_id]
    for _ in range(length - 1):
        with torch.inference_mode():
            logits = model(values, decoder_input_ids=torch.tensor([tokens])).logits
        tokens.append(int(logits[0, -1].argmax()))
        if tokens[-1] in model.generation.eos_token_id:
            break
    return tokens


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tiny", BOTH)
def test_greedy_text_is_the_most_probable_token_after_each(tiny, seed):
    model = tiny(seed=seed)
    items = features(60, 33) if tiny is BOTH[0] else [torch.randn(n) for n in (4_000, 2_000)]
    values, lengths = padded_with_noise(items)

    found = model.generate(values, lengths, num_beams=1, max_length=12)

    pad = model.config.pad_token_id
    for row, item in zip(found.tolist(), items, strict=True):
        expected = by_forward(model, item[None], 12)
        assert row == expected + [pad] * (len(row) - len(expected))


def test_loaded_model_decodes_as_its_files_say(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    assert load_model(str(folder)).generation.num_beams == 5
    edit_config(folder, num_beams=3, max_length=200)
    assert load_model(str(folder)).generation.num_beams == 3
    (folder / "generation_config.json").write_text(json.dumps({"num_beams": 2, "max_length": 9}))

    model = load_model(str(folder))

    assert (model.generation.num_beams, model.generation.max_length) == (2, 9)
    assert model.generate(features(40)[0][None]).shape[1] <= 9


def test_generation_file_that_cannot_be_followed_is_refused_with_the_model(tmp_path):
    folder = tiny_speech_to_text(folder=tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"num_beams": -2}))

    with pytest.raises(
        CheckpointError, match=rf"{folder}: generation_config.json: num_beams is -2"
    ):
        load_model(str(folder))


@pytest.mark.parametrize("tiny", BOTH)
def test_arrays_in_texts_out(tiny):
    model = tiny()
    arrays = [np.ones((70, 80), np.float32), np.ones((30, 80), np.float32)]
    if tiny is BOTH[1]:
        arrays = [array[:, 0].repeat(100) for array in arrays]
    values, lengths = padded_with_noise([torch.from_numpy(array) for array in arrays])

    texts = runtime.generate(model, arrays, replace(model.generation, max_length=9))

    expected = model.generate(values, lengths, max_length=9).tolist()
    for best, row in zip([item[0] for item in texts], expected, strict=True):
        assert list(best.tokens) == row[: len(best.tokens)]


def test_batch_that_does_not_fit_into_memory_says_what_to_do():
    model = tiny_speech_to_text()
    model.model.register_forward_pre_hook(_run_out_of_memory)

    with pytest.raises(AsrkitError, match="not enough memory on cpu for 2 chunks"):
        runtime.generate(model, [np.zeros((9, 80), np.float32)] * 2, model.generation)


def _run_out_of_memory(*_):
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
