"""fairseq: wav2vec 2.0, HuBERT and MMS, Speech2Text, and wav2vec 2.0 with a text decoder.

A file holds the weights as `model` and the settings of their training: `args`, a flat namespace, in
older ones, `cfg` with its parts `model` and `task` in newer ones. Fine-tuned models keep the
settings of their encoder as `w2v_args`, of either kind.

Source: fairseq's model classes, for names and defaults.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from asrkit.errors import CheckpointError
from asrkit.models.layers import MAX_LAYERS
from asrkit.models.originals.layout import (
    FAIRSEQ_SPECIAL,
    WAVEFORMS,
    Companions,
    Parts,
    ctc_files,
    find_sentencepiece,
    find_tokens,
    text_files,
    unnamed_labels,
)
from asrkit.models.wav2vec2 import spell_weight_norm
from asrkit.safe_pickle import plain

Settings = Mapping[str, Any]

# fairseq's setting -> the key of config.json, and what fairseq takes where a file lacks it
_ENCODER = {
    "conv_bias": ("conv_bias", False),
    "encoder_layers": ("num_hidden_layers", 12),
    "encoder_embed_dim": ("hidden_size", 768),
    "encoder_ffn_embed_dim": ("intermediate_size", 3072),
    "encoder_attention_heads": ("num_attention_heads", 12),
    "activation_fn": ("hidden_act", "gelu"),
    "layer_norm_first": ("do_stable_layer_norm", False),
    "conv_pos": ("num_conv_pos_embeddings", 128),
    "conv_pos_groups": ("num_conv_pos_embedding_groups", 16),
}
_PRETRAINING = {
    "latent_vars": ("num_codevectors_per_group", 320),
    "latent_groups": ("num_codevector_groups", 2),
    "final_dim": ("proj_codevector_dim", 256),
    "logit_temp": ("contrastive_logits_temperature", 0.1),
    "num_negatives": ("num_negatives", 100),
}
_CONV_LAYERS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] + [(512, 2, 2)]"
_ACTIVATIONS = {"gelu_accurate": "gelu_new", "gelu_fast": "gelu_new"}  # both the tanh form
# Settings of what asrkit's encoder does not have -> the value that leaves it out
_ABSENT = {
    "layer_type": "transformer",
    "pos_conv_depth": 1,
    "quantize_input": False,
    "target_glu": False,
    "conv_pos_batch_norm": False,
    "adp_act_fn": "relu",
}

_FRONT = r"feature_extractor\.conv_layers\.(\d+)"
_LAYER = r"encoder\.layers\.(\d+)"
_KEYS = tuple(
    (re.compile(pattern), new)
    for pattern, new in {
        rf"{_FRONT}\.0\.": r"feature_extractor.conv_layers.\1.conv.",
        rf"{_FRONT}\.2\.(?:1\.)?": r"feature_extractor.conv_layers.\1.layer_norm.",
        r"post_extract_proj\.": "feature_projection.projection.",
        r"layer_norm\.": "feature_projection.layer_norm.",
        r"mask_emb$": "masked_spec_embed",
        r"encoder\.pos_conv\.0\.": "encoder.pos_conv_embed.conv.",
        r"encoder\.layer_norm\.": "encoder.layer_norm.",
        rf"{_LAYER}\.self_attn\.": r"encoder.layers.\1.attention.",
        rf"{_LAYER}\.self_attn_layer_norm\.": r"encoder.layers.\1.layer_norm.",
        rf"{_LAYER}\.final_layer_norm\.": r"encoder.layers.\1.final_layer_norm.",
        rf"{_LAYER}\.fc1\.": r"encoder.layers.\1.feed_forward.intermediate_dense.",
        rf"{_LAYER}\.fc2\.": r"encoder.layers.\1.feed_forward.output_dense.",
        rf"{_LAYER}\.adapter_layer\.": r"encoder.layers.\1.adapter_layer.",
    }.items()
)
# MMS keeps the adapters of a layer in one tensor.
_ADAPTER = {
    "W_a": "linear_1.weight",
    "b_a": "linear_1.bias",
    "W_b": "linear_2.weight",
    "b_b": "linear_2.bias",
    "ln_W": "norm.weight",
    "ln_b": "norm.bias",
}
_WAV2VEC2_HEADS = {
    "quantizer.vars": "quantizer.codevectors",
    "quantizer.weight_proj.": "quantizer.weight_proj.",
    "project_q.": "project_q.",
    "final_proj.": "project_hid.",
}
_HUBERT_TARGETS = ("final_proj.", "label_embs_concat")  # what pre-training predicts; not kept
_FINE_TUNED = "w2v_encoder.w2v_model."
_WITH_DECODER = "encoder.w2v_model."
_HEADS = {
    "w2v_encoder.proj.": "lm_head.",
    "pooling_layer.linear.": "projector.",
    "pooling_layer.projection.": "classifier.",
}


def recognises(content: Mapping[str, Any]) -> bool:
    """Whether it is a fairseq checkpoint."""
    has_settings = content.get("cfg") is not None or content.get("args") is not None
    return isinstance(content.get("model"), dict) and has_settings


def convert(content: Mapping[str, Any], companions: Companions) -> Parts:
    """Give a fairseq checkpoint the Hub's layout.

    Raises:
        CheckpointError: a setting, tensor or kind of model that asrkit does not have.
    """
    everything = plain(content["cfg"] if content.get("cfg") is not None else content["args"])
    if not isinstance(everything, dict):
        raise CheckpointError(f"its settings are a {type(everything).__name__}")
    model = _part(everything, "model")
    task = _part(everything, "task")
    tensors = {str(k): v for k, v in content["model"].items() if isinstance(v, Tensor)}
    if "encoder.subsample.conv_layers.0.weight" in tensors:
        return _speech_to_text(tensors, model, companions)
    if any(key.startswith(_WITH_DECODER) for key in tensors):
        return _speech_to_text_2(tensors, model, task, companions)
    state = plain(content.get("task_state"))
    dictionary = state.get("target_dictionary") if isinstance(state, dict) else None
    stored = dictionary.get("symbols") if isinstance(dictionary, dict) else None
    return _encoder(tensors, model, task, companions, stored)


def _part(settings: Settings, name: str) -> Settings:
    """A part of newer settings; older ones are one flat namespace."""
    part = settings.get(name)
    return part if isinstance(part, dict) else settings


def _name(settings: Settings) -> str:
    return str(settings.get("_name") or settings.get("arch") or "")


# ------------------------------------------------------------------ wav2vec 2.0, HuBERT and MMS


def _encoder(
    tensors: Mapping[str, Tensor],
    model: Settings,
    task: Settings,
    companions: Companions,
    stored: object,
) -> Parts:
    inner = _inner(model)
    family = _family(tensors, model)
    config = _encoder_config(tensors, inner) | {"model_type": family}
    is_tuned = any(key.startswith(_FINE_TUNED) for key in tensors)
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        own = key.removeprefix(_FINE_TUNED)
        if is_tuned and own == key:
            renamed[_renamed(key, _HEADS)] = value
        elif (name := _encoder_key(own)) is not None:
            renamed[f"{family}.{name}" if is_tuned else name] = _one_adapter(key, value)
        elif family == "hubert" and own.startswith(_HUBERT_TARGETS):
            continue
        elif not is_tuned:
            renamed[_renamed(key, _WAV2VEC2_HEADS)] = value
        elif not own.startswith((*_WAV2VEC2_HEADS, *_HUBERT_TARGETS)):
            raise CheckpointError(f"{key} has no place in a fine-tuned {family} model")
    class_name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}[family]
    files: dict[str, dict[str, Any]] = {}
    if "lm_head.weight" in renamed:
        config |= {"architectures": [f"{class_name}ForCTC"]}
        config["vocab_size"] = len(renamed["lm_head.weight"])
        files = ctc_files(find_tokens(config["vocab_size"], companions, stored=stored))
    elif "classifier.weight" in renamed:
        num_labels, width = renamed["classifier.weight"].shape
        config |= {"architectures": [f"{class_name}ForSequenceClassification"]}
        config |= {"id2label": unnamed_labels(num_labels), "classifier_proj_size": width}
    elif "project_q.weight" in renamed:
        # transformers keeps the encoder of every head under its name.
        renamed = {
            key if key.startswith(tuple(_WAV2VEC2_HEADS.values())) else f"{family}.{key}": value
            for key, value in renamed.items()
        }
        config |= {"architectures": ["Wav2Vec2ForPreTraining"]} | _translated(inner, _PRETRAINING)
        config["codevector_dim"] = renamed["project_q.weight"].shape[1]
        config["proj_codevector_dim"] = len(renamed["project_q.weight"])
    else:
        config |= {"architectures": [f"{class_name}Model"]}
    config |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    preprocessor = _waveforms(config, task)
    if files:
        preprocessor["processor_class"] = "Wav2Vec2Processor"
    return files | {"config.json": config, "preprocessor_config.json": preprocessor}, renamed, {}


def _inner(model: Settings) -> Settings:
    """The settings of the encoder, which a fine-tuned model keeps in its own.

    Raises:
        CheckpointError: it should, and does not; or one is of what is not implemented.
    """
    inner = model
    if "w2v_args" in model or "w2v_path" in model:
        if not isinstance(model.get("w2v_args"), dict):
            raise CheckpointError(
                "a fine-tuned model without the settings of its encoder (w2v_args)"
            )
        inner = _part(model["w2v_args"], "model")
    for name, value in _ABSENT.items():
        for found in (model.get(name), inner.get(name)):
            if found not in (None, value):
                raise CheckpointError(f"the setting {name} is {found!r}, implemented is {value!r}")
    return inner


def _family(tensors: Mapping[str, Tensor], model: Settings) -> str:
    names = f"{_name(model)} {_name(_inner(model))}"
    is_hubert = "hubert" in names or any(key.endswith("label_embs_concat") for key in tensors)
    return "hubert" if is_hubert else "wav2vec2"


def _encoder_config(tensors: Mapping[str, Tensor], settings: Settings) -> dict[str, Any]:
    """What config.json says of an encoder."""
    layers = _conv_layers(settings.get("conv_feature_layers") or _CONV_LAYERS)
    config = _translated(settings, _ENCODER)
    config["hidden_act"] = _ACTIVATIONS.get(config["hidden_act"], config["hidden_act"])
    names = ("conv_dim", "conv_kernel", "conv_stride")
    config |= dict(zip(names, map(list, zip(*layers, strict=True)), strict=True))
    is_layer = settings.get("extractor_mode", "default") == "layer_norm"
    config["feat_extract_norm"] = "layer" if is_layer else "group"
    for key, value in tensors.items():
        if key.endswith(".adapter_layer.W_a") and value.dim() == 3:
            config["adapter_attn_dim"] = value.shape[1]
    return config


def _translated(settings: Settings, table: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    return {key: settings.get(name, default) for name, (key, default) in table.items()}


def _conv_layers(text: object) -> list[tuple[int, int, int]]:
    """Width, kernel and stride of each convolution, which fairseq writes as an expression.

    Raises:
        CheckpointError: anything but lists of three numbers, joined by + and repeated by *.
    """

    def value(node: ast.expr) -> list[tuple[int, int, int]]:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            layers, times = value(node.left), ast.literal_eval(node.right)
            if type(times) is int and len(layers) * times <= MAX_LAYERS:
                return layers * times
        elif isinstance(node, ast.List):
            return [(int(a), int(b), int(c)) for a, b, c in ast.literal_eval(node)]
        raise ValueError(ast.dump(node)[:50])

    try:
        if not isinstance(text, str) or len(text) > 1000:
            raise ValueError("not a short text")
        layers = value(ast.parse(text, mode="eval").body)
        if not 0 < len(layers) <= MAX_LAYERS:
            raise ValueError(f"{len(layers)} layers")
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise CheckpointError(
            f"the setting conv_feature_layers is {str(text)[:80]!r}, expected lists of "
            f"(width, kernel, stride): {error}"
        ) from error
    return layers


def _encoder_key(key: str) -> str | None:
    """The Hub's name of an encoder's tensor; None if it is not one."""
    for pattern, new in _KEYS:
        if pattern.match(key):
            head, _, last = pattern.sub(new, key, count=1).rpartition(".")
            name = f"{head}.{_ADAPTER.get(last, last)}" if head else last
            return spell_weight_norm(name)
    return None


def _one_adapter(key: str, value: Tensor) -> Tensor:
    if ".adapter_layer." not in key:
        return value
    if value.dim() < 2 or len(value) != 1:
        raise CheckpointError(f"{key} has the shape {tuple(value.shape)}, expected one adapter")
    return value[0]


def _renamed(key: str, table: Mapping[str, str]) -> str:
    for old, new in table.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    raise CheckpointError(f"{key} has no place in the model")


def _waveforms(config: Mapping[str, Any], task: Settings) -> dict[str, Any]:
    # Group norm makes the scale of its input meaningless, so that such models were trained without
    # normalising it, and published as if with.
    is_group = config["feat_extract_norm"] == "group"
    do_normalize = is_group or task.get("normalize") is not False
    return WAVEFORMS | {"do_normalize": do_normalize, "return_attention_mask": not is_group}


# ---------------------------------------------------------------------- models that write text

_GENERATION = {
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 2,
    "num_beams": 5,
    "max_length": 200,
    "early_stopping": True,
}
_TOKENS = {
    key: _GENERATION[key]
    for key in ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")
}
_DECODER = {
    "decoder_layers": ("decoder_layers", 6),
    "decoder_attention_heads": ("decoder_attention_heads", 4),
    "decoder_ffn_embed_dim": ("decoder_ffn_dim", 2048),
    "decoder_embed_dim": ("d_model", 256),
    "activation_fn": ("activation_function", "relu"),
    "max_target_positions": ("max_target_positions", 1024),
}
_SPEECH_TO_TEXT = _DECODER | {
    "encoder_layers": ("encoder_layers", 12),
    "encoder_attention_heads": ("encoder_attention_heads", 4),
    "encoder_ffn_embed_dim": ("encoder_ffn_dim", 2048),
    "conv_channels": ("conv_channels", 1024),
    "input_feat_per_channel": ("input_feat_per_channel", 80),
    "input_channels": ("input_channels", 1),
    "max_source_positions": ("max_source_positions", 6000),
}
# Buffers that are computed, and counters
_COMPUTED = re.compile(r"(encoder|decoder)\.(version|embed_positions\.(weights|_float_tensor))")
_LANGUAGE = re.compile(r"<lang:(\w+)>")


def _speech_to_text(
    tensors: Mapping[str, Tensor], settings: Settings, companions: Companions
) -> Parts:
    _require_norms(settings, before=True)
    widths = {settings.get(f"{part}_embed_dim", 256) for part in ("encoder", "decoder")}
    if len(widths) != 1:
        raise CheckpointError(f"encoder and decoder are {widths} wide, expected one width")
    is_tied = bool(settings.get("share_decoder_input_output_embed"))
    renamed = {}
    for key, value in tensors.items():
        if _COMPUTED.fullmatch(key):
            continue
        if key == "decoder.output_projection.weight":
            if not is_tied:
                renamed["lm_head.weight"] = value
            continue
        name = key.replace("encoder.transformer_layers.", "encoder.layers.")
        renamed["model." + name.replace("encoder.subsample.", "encoder.conv.")] = value
    vocab_size = _num_tokens(renamed, "model.decoder.embed_tokens.weight")
    kernels = [int(size) for size in str(settings.get("conv_kernel_sizes", "5,5")).split(",")]
    config = _translated(settings, _SPEECH_TO_TEXT) | _TOKENS
    config |= {
        "model_type": "speech_to_text",
        "architectures": ["Speech2TextForConditionalGeneration"],
        "is_encoder_decoder": True,
        "vocab_size": vocab_size,
        "num_conv_layers": len(kernels),
        "conv_kernel_sizes": kernels,
        "scale_embedding": not settings.get("no_scale_embedding", False),
        "tie_word_embeddings": is_tied,
    }
    bins = config["input_feat_per_channel"]
    preprocessor = {
        "feature_extractor_type": "Speech2TextFeatureExtractor",
        "processor_class": "Speech2TextProcessor",
        "feature_size": bins,
        "num_mel_bins": bins,
        "sampling_rate": 16_000,
        "padding_value": 0.0,
        "padding_side": "right",
        "do_ceptral_normalize": True,
        "normalize_means": True,
        "normalize_vars": True,
        "return_attention_mask": True,
    }
    tokens = find_tokens(vocab_size, companions, pattern="*.txt")
    languages = [found[1] for found in map(_LANGUAGE.fullmatch, tokens) if found]
    chosen = {"lang_codes": "mustc", "tgt_lang": languages[0]} if languages else {}
    files = text_files(tokens, "Speech2TextTokenizer", processor_class="Speech2TextProcessor")
    files["tokenizer_config.json"] |= chosen | {"do_upper_case": False, "do_lower_case": False}
    files |= {
        "config.json": config,
        "preprocessor_config.json": preprocessor,
        "generation_config.json": dict(_GENERATION),
    }
    return files, renamed, {"sentencepiece.bpe.model": find_sentencepiece(companions)}


def _speech_to_text_2(
    tensors: Mapping[str, Tensor], settings: Settings, task: Settings, companions: Companions
) -> Parts:
    _require_norms(settings, before=False)
    names = {"decoder.embed_out": "decoder.lm_head.weight"}
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        if _COMPUTED.fullmatch(key):
            continue
        if key.startswith(_WITH_DECODER):
            own = key.removeprefix(_WITH_DECODER)
            name = _encoder_key(own)
            if name is not None:
                renamed[f"encoder.{name}"] = value
            elif not own.startswith((*_WAV2VEC2_HEADS, *_HUBERT_TARGETS)):
                raise CheckpointError(f"{key} has no place in the model")
        elif key.startswith("encoder.proj."):
            renamed[key.replace("encoder.proj.", "enc_to_dec_proj.")] = value
        else:
            renamed[names.get(key, key.replace("decoder.", "decoder.model.decoder.", 1))] = value
    embeddings = "decoder.model.decoder.embed_tokens.weight"
    vocab_size = _num_tokens(renamed, embeddings)
    renamed.setdefault("decoder.lm_head.weight", renamed[embeddings])  # fairseq shares them
    inner = _inner(settings)
    encoder = _encoder_config(tensors, inner) | {"model_type": _family(tensors, settings)}
    decoder = _translated(settings, _DECODER) | {
        "model_type": "speech_to_text_2",
        "vocab_size": vocab_size,
        "scale_embedding": not settings.get("no_scale_embedding", False),
        "is_decoder": True,
        "add_cross_attention": True,
        "tie_word_embeddings": False,
    }
    config = _TOKENS | {
        "model_type": "speech-encoder-decoder",
        "architectures": ["SpeechEncoderDecoderModel"],
        "is_encoder_decoder": True,
        "tie_word_embeddings": False,
        "tokenizer_class": "speech_to_text_2",
        "encoder": encoder,
        "decoder": decoder | _TOKENS,
    }
    # PARITY: here the reference normalises waveforms whatever the encoder was trained with.
    preprocessor = _waveforms(encoder, task) | {
        "return_attention_mask": True,
        "processor_class": "Speech2Text2Processor",
    }
    files = text_files(find_tokens(vocab_size, companions), "Speech2Text2Tokenizer")
    files["tokenizer_config.json"] |= {"processor_class": "Speech2Text2Processor"}
    files |= {
        "config.json": config,
        "preprocessor_config.json": preprocessor,
        "generation_config.json": dict(_GENERATION),
    }
    return files, renamed, {}


def _require_norms(settings: Settings, *, before: bool) -> None:
    """Refuse norms at the other end of a layer than the family has them."""
    for name in ("encoder_normalize_before", "decoder_normalize_before"):
        if settings.get(name, before) is not before and (before or name.startswith("decoder")):
            raise CheckpointError(f"the setting {name} is {settings[name]!r}, expected {before}")


def _num_tokens(tensors: Mapping[str, Tensor], name: str) -> int:
    if name not in tensors or tensors[name].dim() != 2 or len(tensors[name]) < len(FAIRSEQ_SPECIAL):
        raise CheckpointError(f"{name} is missing or no table of embeddings")
    return len(tensors[name])
