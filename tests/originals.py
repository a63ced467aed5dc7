"""Checkpoints as fairseq, torchaudio and s3prl write them, of tiny random models of ours.

A builder takes a folder, writes what the other program would have written there, and gives the
path with our own model, whose outputs a conversion must keep. Names are spelled out here once more,
from those programs' modules and against the direction of the converter.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from asrkit.models import hubert, wav2vec2
from asrkit.options import ConvertOptions
from tests import sentencepieces
from tests.tiny import (
    tiny_config,
    tiny_model,
    tiny_speech_encoder_decoder,
    tiny_speech_to_text,
    write_checkpoint,
)

LETTERS = "| E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z".split()
STABLE: dict[str, Any] = {
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
State = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Original:
    """A file, the model that is in it, and what its conversion must be told."""

    path: Path
    model: Any
    options: ConvertOptions = ConvertOptions()  # noqa: RUF009  # frozen


# ------------------------------------------------------------------- objects of other programs


@contextmanager
def pretend(*names: str) -> Iterator[dict[str, type]]:
    """Classes that pickle under the names of programs that are not installed."""
    classes, modules = {}, dict(sys.modules)
    for name in names:
        module, _, own = name.rpartition(".")
        parts = module.split(".")
        for end in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:end]), ModuleType(".".join(parts[:end])))
        classes[own] = type(own, (), {"__module__": module, "__qualname__": own})
        setattr(sys.modules[module], own, classes[own])
    try:
        yield classes
    finally:
        for name in sys.modules.keys() - modules.keys():
            del sys.modules[name]


def save(content: Any, path: Path, **how: Any) -> None:
    """torch.save, with dicts under the key `omegaconf` as a DictConfig and lists as fairseq's."""
    names = (
        "omegaconf.dictconfig.DictConfig",
        "omegaconf.nodes.AnyNode",
        "fairseq.data.dictionary.Dictionary",
    )
    with pretend(*names) as classes:

        def node(value: Any, parent: Any = None) -> Any:
            made = classes["DictConfig" if isinstance(value, dict) else "AnyNode"]()
            made._parent = parent
            if isinstance(value, dict):
                made._content = {key: node(item, made) for key, item in value.items()}
            else:
                made._val = value
            return made

        if "omegaconf" in content:
            content = content | {"cfg": node(content["omegaconf"])}
            del content["omegaconf"]
        if "symbols" in content:
            dictionary = classes["Dictionary"]()
            dictionary.symbols = content["symbols"]
            dictionary.indices = {token: i for i, token in enumerate(content["symbols"])}
            content = content | {"task_state": {"target_dictionary": dictionary}}
            del content["symbols"]
        torch.save(content, path, **how)


def dictionary(path: Path, tokens: list[str]) -> None:
    """fairseq's dictionary: a token and its count a line."""
    path.write_text("".join(f"{token} {9 - i % 9}\n" for i, token in enumerate(tokens)))


# --------------------------------------------------------------------------------------- names

LAYER = {
    "attention": "self_attn",
    "layer_norm": "self_attn_layer_norm",
    "feed_forward.intermediate_dense": "fc1",
    "feed_forward.output_dense": "fc2",
    "final_layer_norm": "final_layer_norm",
}
ADAPTER = {
    "linear_1.weight": "W_a",
    "linear_1.bias": "b_a",
    "linear_2.weight": "W_b",
    "linear_2.bias": "b_b",
    "norm.weight": "ln_W",
    "norm.bias": "ln_b",
}
POSITION = "encoder.pos_conv_embed.conv."
POSITIONS = {
    f"{POSITION}bias": "bias",
    f"{POSITION}parametrizations.weight.original0": "weight_g",
    f"{POSITION}parametrizations.weight.original1": "weight_v",
}


def fairseq_encoder(state: State, *, is_group: bool) -> dict[str, torch.Tensor]:
    """The tensors of our base model under fairseq's names."""
    renamed = OrderedDict(mask_emb=torch.rand(state["encoder.layer_norm.weight"].shape))
    for key, value in state.items():
        if key.startswith("feature_extractor."):
            _, _, index, part, last = key.split(".")
            norm = "2" if is_group else "2.1"
            place = f"{index}.{'0' if part == 'conv' else norm}.{last}"
            renamed[f"feature_extractor.conv_layers.{place}"] = value
        elif key.startswith("feature_projection."):
            name = key.removeprefix("feature_projection.")
            renamed[name.replace("projection.", "post_extract_proj.")] = value
        elif key in POSITIONS:
            renamed[f"encoder.pos_conv.0.{POSITIONS[key]}"] = value
        elif key.startswith("encoder.layers."):
            _, _, index, rest = key.split(".", 3)
            if rest.startswith("adapter_layer."):
                name = ADAPTER[rest.removeprefix("adapter_layer.")]
                renamed[f"encoder.layers.{index}.adapter_layer.{name}"] = value[None]
            else:
                part = next(part for part in LAYER if rest.startswith(part + "."))
                name = LAYER[part] + rest.removeprefix(part)
                renamed[f"encoder.layers.{index}.{name}"] = value
        elif key.startswith("encoder.layer_norm."):
            renamed[key] = value
        else:
            raise AssertionError(key)
    return renamed


def fairseq_settings(config: Any) -> dict[str, Any]:
    """The settings of an encoder, as fairseq names them."""
    layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
    first, *rest = [str(layer) for layer in layers]
    return {
        "extractor_mode": {"group": "default", "layer": "layer_norm"}[config.feat_extract_norm],
        "conv_feature_layers": f"[{first}] + [{rest[0]}] * 4 + [{rest[4]}] + [{rest[5]}]",
        "conv_bias": config.conv_bias,
        "layer_norm_first": config.do_stable_layer_norm,
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "activation_fn": config.hidden_act,
        "conv_pos": config.num_conv_pos_embeddings,
        "conv_pos_groups": config.num_conv_pos_embedding_groups,
        "quantize_input": False,
        "dropout": 0.1,
        "final_dim": config.proj_codevector_dim,
        "latent_vars": config.num_codevectors_per_group,
        "latent_groups": config.num_codevector_groups,
        "latent_dim": 0,
        "logit_temp": config.contrastive_logits_temperature,
    }


def fine_tuned(model: Any) -> dict[str, torch.Tensor]:
    """A CTC model of ours as a fine-tuned one of fairseq."""
    base = fairseq_encoder(
        model.base.state_dict(), is_group=model.config.feat_extract_norm == "group"
    )
    renamed = {f"w2v_encoder.w2v_model.{key}": value for key, value in base.items()}
    head = {f"w2v_encoder.proj.{key}": value for key, value in model.lm_head.state_dict().items()}
    return renamed | head


def noisy(model: Any, seed: int = 0) -> Any:
    """The model with every tensor random, norms and biases too, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model.eval()


# ------------------------------------------------------------------------------------ builders


def wav2vec2_args(folder: Path) -> Original:
    """Fine-tuned, of 2020: everything in namespaces, the dictionary beside the file, legacy."""
    model = noisy(tiny_model())
    inner = argparse.Namespace(**fairseq_settings(model.config), arch="wav2vec2")
    args = argparse.Namespace(arch="wav2vec_ctc", w2v_args=inner, normalize=False, labels="ltr")
    content = {
        "args": args,
        "model": fine_tuned(model),
        "optimizer_history": [{"num_updates": 3, "lr_scheduler_state": {"best": None}}],
        "last_optimizer_state": {"state": {0: {"step": 1}}, "param_groups": []},
    }
    dictionary(folder / "dict.ltr.txt", LETTERS)
    save(content, folder / "x.pt", _use_new_zipfile_serialization=False)
    return Original(folder / "x.pt", model)


def wav2vec2_cfg(folder: Path) -> Original:
    """Fine-tuned, of today: plain dicts, and the dictionary inside."""
    model = noisy(tiny_model(**STABLE))
    inner = {"model": {"_name": "wav2vec2", **fairseq_settings(model.config)}, "task": {}}
    cfg = {
        "model": {"_name": "wav2vec_ctc", "w2v_args": inner, "normalize": "${task.normalize}"},
        "task": {"_name": "audio_finetuning", "normalize": True},
    }
    symbols = ["<s>", "<pad>", "</s>", "<unk>", *LETTERS]
    content = {"args": None, "cfg": cfg, "model": fine_tuned(model), "symbols": symbols}
    save(content, folder / "x.pt")
    return Original(folder / "x.pt", model)


def wav2vec2_omegaconf(folder: Path) -> Original:
    """Fine-tuned, of early 2021: a DictConfig, in it the namespace of an older encoder."""
    model = noisy(tiny_model(**STABLE))
    inner = argparse.Namespace(**fairseq_settings(model.config), arch="wav2vec2")
    cfg = {"model": {"_name": "wav2vec_ctc", "w2v_args": inner}, "task": {"normalize": True}}
    dictionary(folder / "letters.txt", LETTERS)
    save({"args": None, "omegaconf": cfg, "model": fine_tuned(model)}, folder / "x.pt")
    options = ConvertOptions(dictionary=str(folder / "letters.txt"))
    return Original(folder / "x.pt", model, options)


def wav2vec2_pretrained(folder: Path) -> Original:
    """Before fine-tuning: with quantizer and projections."""
    small = {
        "num_codevectors_per_group": 8, "codevector_dim": 12, "proj_codevector_dim": 10,
    }  # fmt: skip
    torch.manual_seed(0)
    model = noisy(wav2vec2.Wav2Vec2ForPreTraining(tiny_config(**small)))
    state = model.state_dict()
    base = {key: value for key, value in model.base.state_dict().items() if "masked" not in key}
    tensors = fairseq_encoder(base, is_group=True)
    tensors["mask_emb"] = model.base.masked_spec_embed.detach()
    names = {
        "quantizer.codevectors": "quantizer.vars", "quantizer.weight_proj": "quantizer.weight_proj",
        "project_q": "project_q", "project_hid": "final_proj",
    }  # fmt: skip
    for ours, theirs in names.items():
        found = {key: value for key, value in state.items() if key.startswith(ours)}
        tensors |= {theirs + key.removeprefix(ours): value for key, value in found.items()}
    args = argparse.Namespace(**fairseq_settings(model.config), arch="wav2vec2")
    save({"args": args, "model": tensors}, folder / "x.pt")
    return Original(folder / "x.pt", model)


def hubert_pretrained(folder: Path) -> Original:
    """The base model, with what it predicted in pre-training."""
    torch.manual_seed(0)
    model = noisy(hubert.HubertModel(hubert.HubertConfig(**vars(tiny_config()))))
    tensors = fairseq_encoder(model.state_dict(), is_group=True)
    tensors |= {
        "label_embs_concat": torch.rand(5, 4),
        "final_proj.weight": torch.rand(4, 24),
        "final_proj.bias": torch.rand(4),
    }
    cfg = {
        "model": {"_name": "hubert", **fairseq_settings(model.config)},
        "task": {"_name": "hubert_pretraining", "normalize": False},
    }
    save({"args": None, "cfg": cfg, "model": tensors}, folder / "x.pt")
    return Original(folder / "x.pt", model)


def hubert_ctc(folder: Path) -> Original:
    """HuBERT, fine-tuned."""
    torch.manual_seed(0)
    config = hubert.HubertConfig(**vars(tiny_config(**STABLE)))
    model = noisy(hubert.HubertForCTC(config))
    inner = {
        "model": {"_name": "hubert", **fairseq_settings(config)},
        "task": {"_name": "hubert_pretraining"},
    }
    cfg = {"model": {"_name": "hubert_ctc", "w2v_args": inner}, "task": {"normalize": True}}
    dictionary(folder / "dict.ltr.txt", LETTERS)
    save({"args": None, "cfg": cfg, "model": fine_tuned(model)}, folder / "x.pt")
    return Original(folder / "x.pt", model)


def mms(folder: Path) -> Original:
    """An MMS model of one language, whose adapters are stacked."""
    model = noisy(tiny_model(**STABLE, adapter_attn_dim=5))
    inner = {"model": {"_name": "wav2vec2", **fairseq_settings(model.config)}}
    cfg = {
        "model": {"_name": "wav2vec_ctc", "w2v_args": inner, "adp_num": 1, "adp_act_fn": "relu"},
        "task": {"normalize": True},
    }
    dictionary(folder / "dict.txt", LETTERS)
    save({"args": None, "cfg": cfg, "model": fine_tuned(model)}, folder / "x.pt")
    return Original(folder / "x.pt", model)


def _text_decoder_settings(config: Any) -> dict[str, Any]:
    return {
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.decoder_attention_heads,
        "decoder_ffn_embed_dim": config.decoder_ffn_dim,
        "decoder_embed_dim": config.d_model,
        "max_target_positions": 64,
    }


def _speech_to_text(folder: Path, *, is_tied: bool, is_new: bool) -> Original:
    table = sentencepieces.write_files(folder, languages=("pt", "fr"))
    (folder / "vocab.json").unlink()
    dictionary(folder / "spm.txt", sorted(table, key=table.__getitem__)[4:])
    (folder / "sentencepiece.bpe.model").rename(folder / "spm.model")
    model = noisy(tiny_speech_to_text(vocab_size=len(table), tie_word_embeddings=is_tied))
    config = model.config
    tensors = OrderedDict({"encoder.version": torch.tensor([3.0])})
    for key, value in model.model.state_dict().items():
        name = key.replace("encoder.conv.", "encoder.subsample.")
        tensors[name.replace("encoder.layers.", "encoder.transformer_layers.")] = value
    tensors["encoder.embed_positions._float_tensor"] = torch.zeros(1)
    tensors["decoder.embed_positions._float_tensor"] = torch.zeros(1)
    tensors["decoder.output_projection.weight"] = model.output_weight.detach()
    settings = _text_decoder_settings(config) | {
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.encoder_attention_heads,
        "encoder_ffn_embed_dim": config.encoder_ffn_dim,
        "encoder_embed_dim": config.d_model,
        "conv_kernel_sizes": "5,5",
        "conv_channels": config.conv_channels,
        "input_feat_per_channel": 80,
        "input_channels": 1,
        "max_source_positions": 6000,
        "activation_fn": "relu",
        "encoder_normalize_before": True,
        "decoder_normalize_before": True,
        "no_scale_embedding": False,
        "share_decoder_input_output_embed": is_tied,
    }
    if is_new:
        cfg = {"model": {"_name": "s2t_transformer_s", **settings}, "task": {}}
        save({"args": None, "omegaconf": cfg, "model": tensors}, folder / "x.pt")
    else:
        args = argparse.Namespace(**settings, arch="s2t_transformer_s", task="speech_to_text")
        save({"args": args, "model": tensors}, folder / "x.pt")
    return Original(folder / "x.pt", model)


def speech_to_text(folder: Path) -> Original:
    """Speech2Text with a tied head, its settings a namespace."""
    return _speech_to_text(folder, is_tied=True, is_new=False)


def speech_to_text_untied(folder: Path) -> Original:
    """Speech2Text with a head of its own, its settings omegaconf's."""
    return _speech_to_text(folder, is_tied=False, is_new=True)


def speech_to_text_2(folder: Path) -> Original:
    """wav2vec 2.0 with a text decoder."""
    model = noisy(tiny_speech_encoder_decoder(encoder=STABLE, tie_word_embeddings=False))
    config = model.config
    encoder = fairseq_encoder(model.encoder.state_dict(), is_group=False)
    tensors = {f"encoder.w2v_model.{key}": value for key, value in encoder.items()}
    projection = model.enc_to_dec_proj.state_dict()
    tensors |= {f"encoder.proj.{key}": value for key, value in projection.items()}
    tensors |= {f"decoder.{key}": value for key, value in model.decoder.state_dict().items()}
    tensors["decoder.embed_out"] = model.lm_head.weight.detach()
    tensors["decoder.embed_positions._float_tensor"] = torch.zeros(1)
    inner = argparse.Namespace(**fairseq_settings(config.encoder), arch="wav2vec2")
    args = argparse.Namespace(
        **_text_decoder_settings(config.decoder),
        arch="wav2vec_seq2seq",
        w2v_args=inner,
        normalize=True,
        decoder_normalize_before=False,
    )
    dictionary(folder / "dict.de.txt", [f"w{i}@@" for i in range(config.decoder.vocab_size - 4)])
    save({"args": args, "model": tensors}, folder / "x.pt")
    return Original(folder / "x.pt", model)


def torchaudio_names(model: Any) -> dict[str, torch.Tensor]:
    """The tensors of our base model under torchaudio's names."""
    renamed = {}
    for key, value in model.state_dict().items():
        name = f"encoder.pos_conv_embed.conv.{POSITIONS[key]}" if key in POSITIONS else key
        if name.startswith("encoder."):
            name = name.replace("encoder.", "encoder.transformer.", 1)
        renamed[name.replace("feature_projection.", "encoder.feature_projection.")] = value
    return renamed


def torchaudio_ctc(folder: Path) -> Original:
    """A state dict with `aux`, and a file of its labels."""
    model = noisy(tiny_model(vocab_size=29, **STABLE))
    head = {f"aux.{key}": value for key, value in model.lm_head.state_dict().items()}
    (folder / "labels.txt").write_text("\n".join(["-", *LETTERS]))
    (folder / "more.json").write_text(json.dumps({"num_attention_heads": 2}))
    save(OrderedDict(torchaudio_names(model.base) | head), folder / "x.pth")
    options = ConvertOptions(
        dictionary=str(folder / "labels.txt"), config=str(folder / "more.json")
    )
    return Original(folder / "x.pth", model, options)


def torchaudio_hubert(folder: Path) -> Original:
    """A state dict of HuBERT in pre-training."""
    torch.manual_seed(0)
    model = noisy(hubert.HubertModel(hubert.HubertConfig(**vars(tiny_config()))))
    names = {f"wav2vec2.{key}": value for key, value in torchaudio_names(model).items()}
    names |= {
        "mask_generator.mask_embedding": torch.rand(24),
        "logit_generator.label_embeddings": torch.rand(4, 5),
    }
    (folder / "more.json").write_text(json.dumps({"num_attention_heads": 2}))
    save(names, folder / "x.pth")
    return Original(folder / "x.pth", model, ConvertOptions(config=str(folder / "more.json")))


S3PRL: dict[str, tuple[Any, dict[str, str]]] = {
    "classification": (
        wav2vec2.Wav2Vec2ForSequenceClassification,
        {"projector": "projector", "classifier": "model.post_net.linear"},
    ),
    "diarization": (
        wav2vec2.Wav2Vec2ForAudioFrameClassification,
        {"classifier": "model.linear"},
    ),
    "speakers": (
        wav2vec2.Wav2Vec2ForXVector,
        {
            "projector": "connector",
            "tdnn": "model.framelevel_feature_extractor.module",
            "feature_extractor": "model.utterancelevel_feature_extractor.linear1",
            "classifier": "model.utterancelevel_feature_extractor.linear2",
            "objective.weight": "objective.W",
        },
    ),
}


def _s3prl(folder: Path, kind: str) -> Original:
    model_class, names = S3PRL[kind]
    torch.manual_seed(0)
    config = tiny_config(
        use_weighted_layer_sum=True, id2label={i: f"LABEL_{i}" for i in range(3)},
        classifier_proj_size=8, tdnn_dim=(16, 12), tdnn_kernel=(5, 3), tdnn_dilation=(1, 2),
        xvector_output_dim=10,
    )  # fmt: skip
    model = noisy(model_class(config))
    base = {k: v for k, v in model.base.state_dict().items() if k != "masked_spec_embed"}
    bare = wav2vec2.Wav2Vec2Model(config)
    bare.load_state_dict(base)
    write_checkpoint(bare, folder / "base", "Wav2Vec2Model")
    head = {}
    for ours, theirs in names.items():
        for key, value in model.state_dict().items():
            if key.startswith(ours) and (key + ".").startswith(ours + "."):
                head[theirs + key.removeprefix(ours)] = value
    content = {
        "Downstream": head,
        "Featurizer": {"weights": model.layer_weights.detach()},
        "Args": argparse.Namespace(upstream="wav2vec2", mode="train"),
        "Config": {"runner": {"total_steps": 3}},
        "Step": 3,
    }
    save(content, folder / "states-3.ckpt")
    options = ConvertOptions(base=str(folder / "base"))
    return Original(folder / "states-3.ckpt", model, options)


BUILDERS: dict[str, Callable[[Path], Original]] = {
    builder.__name__: builder
    for builder in (
        wav2vec2_args,
        wav2vec2_cfg,
        wav2vec2_omegaconf,
        wav2vec2_pretrained,
        hubert_pretrained,
        hubert_ctc,
        mms,
        speech_to_text,
        speech_to_text_untied,
        speech_to_text_2,
        torchaudio_ctc,
        torchaudio_hubert,
    )
} | {f"s3prl_{kind}": (lambda folder, kind=kind: _s3prl(folder, kind)) for kind in S3PRL}


def build(name: str, folder: Path, **options: Any) -> Original:
    """The original of this name, with further options for its conversion."""
    original = BUILDERS[name](folder)
    return replace(original, options=replace(original.options, **options))
