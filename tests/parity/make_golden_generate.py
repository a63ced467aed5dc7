"""Write tests/golden/generate/*.safetensors: small decoders, and the texts the reference finds.

    python -m tests.parity.make_golden_generate

Writes Speech2Text's with transformers 5 and Speech2Text2's with 4.40.2. Each file holds weights,
encoder states with their lengths, and (in the metadata) settings, texts and scores.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.parity.test_generate_parity import FAMILIES, IS_OLD, SIZES, encoded, options_of

FOLDER = Path(__file__).parent.parent / "golden" / "generate"
VOCABULARY = 31
NUM_CASES = 16


def main() -> None:
    ((family, make),) = FAMILIES.items()
    model, ours = make(5, 1.0, VOCABULARY)
    choose = random.Random(6)
    cases = []
    with torch.inference_mode():
        while len(lengths := (found := encoded(model, choose))[2]) < 3:
            pass
        inputs, states, _ = found
        while len(cases) < NUM_CASES:
            options = options_of(choose, VOCABULARY)
            ends = options["eos_token_id"]
            if isinstance(ends, list) and IS_OLD:  # 4.40.2 writes the first end for any other
                continue
            result = model.generate(
                **inputs, **options, do_sample=False, output_scores=True,
                return_dict_in_generate=True,
            )  # fmt: skip
            count = options["num_return_sequences"]
            rows = result.sequences.tolist()
            texts = [_trimmed(row, ends if isinstance(ends, list) else [ends]) for row in rows]
            if len({tuple(text) for text in texts}) < len(texts):
                continue  # some texts are impossible, which only the reference returns
            scores = None
            if options["num_beams"] > 1:
                scores = result.sequences_scores.unflatten(0, (-1, count)).tolist()
            cases.append(
                {
                    "options": options
                    | {"eos_token_id": ends if isinstance(ends, list) else [ends]},
                    "texts": [texts[i : i + count] for i in range(0, len(texts), count)],
                    "scores": scores,
                }
            )
    config = SIZES | {
        "vocab_size": VOCABULARY, "activation_function": "relu", "scale_embedding": True,
        "pad_token_id": 1,
    }  # fmt: skip
    prefix = "model.decoder."
    weights = {prefix + key: value for key, value in ours.decoder.state_dict().items()}
    weights |= {"lm_head.weight": ours.head, "states": states, "lengths": lengths}
    path = FOLDER / f"{family}.safetensors"
    save_file(
        {key: value.clone().contiguous() for key, value in weights.items()},
        path,
        metadata={
            "config": json.dumps(config),
            "norm_first": json.dumps(not IS_OLD),
            "cases": json.dumps(cases),
        },
    )
    print(path.name, path.stat().st_size)


def _trimmed(row: list[int], ends: list[int]) -> list[int]:
    """Without the padding behind the end."""
    for index, token in enumerate(row[1:], start=2):
        if token in ends:
            return row[:index]
    return row


if __name__ == "__main__":
    main()
