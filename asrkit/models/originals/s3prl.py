"""s3prl: the heads of SUPERB, trained on an encoder that another checkpoint holds.

A file holds the head as `Downstream` and the weights of the encoder's layers as `Featurizer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from asrkit.errors import CheckpointError
from asrkit.models.originals.layout import WAVEFORMS, Companions, Parts, unnamed_labels
from asrkit.models.wav2vec2 import Wav2Vec2Config

_TDNN = "model.framelevel_feature_extractor.module."
_POOLED = "model.utterancelevel_feature_extractor."
# The last part of the class's name -> the names of its head
_HEADS = {
    "ForSequenceClassification": {
        "projector.": "projector.",
        "model.post_net.linear.": "classifier.",
    },
    "ForAudioFrameClassification": {"model.linear.": "classifier."},
    "ForXVector": {
        "connector.": "projector.",
        _TDNN: "tdnn.",
        f"{_POOLED}linear1.": "feature_extractor.",
        f"{_POOLED}linear2.": "classifier.",
        "objective.W": "objective.weight",
    },
}


def recognises(content: Mapping[str, Any]) -> bool:
    """Whether it is an s3prl checkpoint."""
    return isinstance(content.get("Downstream"), dict)


def convert(content: Mapping[str, Any], companions: Companions) -> Parts:
    """Put a head on its encoder.

    Raises:
        CheckpointError: no encoder is given, or a kind of head that asrkit does not have.
    """
    base = companions.base
    if base is None:
        raise CheckpointError(
            "a head without its encoder", hint="--base SOURCE names the model it was trained on"
        )
    if "Upstream" in content:
        raise CheckpointError("it holds a fine-tuned encoder too, which is not supported")
    head: dict[str, Tensor] = content["Downstream"]
    kind = _kind(head)
    tensors = {_renamed(key, _HEADS[kind]): value for key, value in head.items()}
    family = base.config.get("model_type")
    prefix = f"{family}."
    stored = base.load_tensors()
    is_prefixed = any(key.startswith(prefix) for key in stored)
    for key, value in stored.items():
        if key.startswith(prefix) or not is_prefixed:
            tensors[key if is_prefixed else prefix + key] = value
    config = base.config | _shapes(kind, tensors)
    class_name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}.get(str(family), family)
    config["architectures"] = [f"{class_name}{kind}"]
    weights = _layer_weights(content.get("Featurizer"))
    config["use_weighted_layer_sum"] = weights is not None
    if weights is not None:
        tensors["layer_weights"] = weights
    # s3prl gives its encoders waveforms as they are.
    preprocessor = WAVEFORMS | base.read_json("preprocessor_config.json", required=False)
    preprocessor |= {"do_normalize": False, "return_attention_mask": True}
    return {"config.json": config, "preprocessor_config.json": preprocessor}, tensors, {}


def _kind(head: Mapping[str, Tensor]) -> str:
    for kind, names in _HEADS.items():
        if all(key.startswith(tuple(names)) for key in head):
            return kind
    raise CheckpointError(
        f"a head of {', '.join(list(head)[:3]) or 'nothing'}, which is none of SUPERB's for "
        "classification, diarization or speakers"
    )


def _renamed(key: str, names: Mapping[str, str]) -> str:
    old = next(old for old in names if key.startswith(old))
    return names[old] + key.removeprefix(old)


def _layer_weights(featurizer: object) -> Tensor | None:
    weights = featurizer.get("weights") if isinstance(featurizer, dict) else None
    return weights if isinstance(weights, Tensor) else None


def _shapes(kind: str, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of a head that the shapes of its tensors give away."""
    classes = tensors.get("objective.weight", tensors.get("classifier.weight"))
    if classes is None or classes.dim() != 2:
        raise CheckpointError("the last layer of the head is missing")
    num_labels = classes.shape[1] if kind == "ForXVector" else len(classes)
    config: dict[str, Any] = {"id2label": unnamed_labels(num_labels)}
    if kind == "ForSequenceClassification":
        config["classifier_proj_size"] = tensors["classifier.weight"].shape[1]
    if kind == "ForXVector":
        pattern = re.compile(r"tdnn\.(\d+)\.kernel\.weight")
        count = sum(1 for key in tensors if pattern.fullmatch(key))
        weights = [tensors[f"tdnn.{index}.kernel.weight"] for index in range(count)]
        widths = [len(weight) for weight in weights]
        inputs = [len(tensors["projector.weight"]), *widths]
        config |= {
            "tdnn_dim": widths,
            "tdnn_kernel": [w.shape[1] // size for w, size in zip(weights, inputs, strict=False)],
            "tdnn_dilation": list(Wav2Vec2Config.tdnn_dilation[:count]),
            "xvector_output_dim": len(tensors["feature_extractor.weight"]),
        }
    return config
