"""Tokens per second of beam and greedy search, beside transformers' generate().

    python tests/benchmarks/bench_generate.py [--repeats 5] [--tokens 60] [--threads 2]

Both write the same number of tokens with the same random weights of the size of
facebook/s2t-small, from the same encoder states, in turns; a run counts only if they write the
same tokens. With one thread the time of the processor is taken, which other programs on a busy
machine hardly change; with more the time of the clock. Needs transformers.

Beside them stands what no program of this kind could pass on the machine: each step reads all
weights, and the keys and values of the utterance, once from memory, and multiplies them with one
row a beam. The floor is the longer of the two, at the rates of reading and of a product of as many
rows as the benchmark measures first.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import Speech2TextConfig, Speech2TextForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from asrkit.models.decoder import AnyCache, TextDecoder
from asrkit.seq2seq import GenerationSettings, generate

NUM_FRAMES = 250  # 10 s of audio


class Ours:
    """Our decoder with the weights of a reference model."""

    def __init__(self, reference: Any) -> None:
        self.decoder = TextDecoder(reference.config, norm_first=True).eval()
        self.decoder.load_state_dict(reference.model.decoder.state_dict())
        self.head = reference.lm_head.weight
        self.step = self.decoder.step

    def start(self, states: torch.Tensor, lengths: torch.Tensor | None) -> AnyCache:
        return self.decoder.start(states, lengths, head=self.head)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = Speech2TextConfig(tie_word_embeddings=False)
    reference = Speech2TextForConditionalGeneration(config).eval()
    with torch.no_grad():
        for value in reference.model.decoder.layers.parameters():
            value.add_(0.05 * torch.randn_like(value))
        reference.lm_head.weight.normal_(0, 0.1)
    ours = Ours(reference)
    print(
        f"{'batch':>5} {'beams':>5} {'reference':>10} {'asrkit':>10} {'ratio':>6} {'floor':>9}"
        f" {'of it':>6}  tokens"
    )
    for batch in (1, 8):
        for beams in (1, 5):
            _compare(reference, ours, arguments, batch=batch, beams=beams)


def _compare(
    reference: Any, ours: Ours, arguments: argparse.Namespace, *, batch: int, beams: int
) -> None:
    states = torch.randn(batch, NUM_FRAMES, 256)
    length = arguments.tokens + 1
    options: dict[str, Any] = dict(num_beams=beams, max_length=length, min_length=length)
    settings = GenerationSettings(**options)

    def theirs() -> list[list[int]]:
        outputs = BaseModelOutput(last_hidden_state=states)
        found: torch.Tensor = reference.generate(encoder_outputs=outputs, **options)
        return found.tolist()

    def mine() -> list[list[int]]:
        return [list(best.tokens) for best, *_ in generate(ours, states, None, settings)]

    clock = time.process_time if arguments.threads == 1 else time.perf_counter
    seconds: dict[Any, list[float]] = {theirs: [], mine: []}
    with torch.inference_mode():
        is_same = theirs() == mine()  # and a warm-up
        for _ in range(arguments.repeats):
            for run, times in seconds.items():
                start = clock()
                run()
                times.append(clock() - start)
    slow, fast = (statistics.median(times) for times in seconds.values())
    num_tokens = batch * arguments.tokens
    most = _most_tokens(ours, batch, beams, clock)
    print(
        f"{batch:5} {beams:5} {num_tokens / slow:8.0f}/s {num_tokens / fast:8.0f}/s"
        f" {slow / fast:6.2f} {most:7.0f}/s {num_tokens / fast / most:6.0%}"
        f"  {'equal' if is_same else 'DIFFERENT'}",
        flush=True,
    )


def _most_tokens(ours: Ours, batch: int, beams: int, clock: Callable[[], float]) -> float:
    """Tokens a second at the floor; the tokens so far, which are few, cost nothing."""
    layers = ours.decoder.layers
    read_once = ("encoder_attn.k_proj", "encoder_attn.v_proj")  # for a whole text, not a token
    num_weights = ours.head.numel() + sum(
        value.numel()
        for layer in layers
        for name, value in layer.named_parameters()
        if not name.startswith(read_once)
    )
    num_heard = len(layers) * 2 * NUM_FRAMES * ours.head.shape[1]  # keys and values of an item

    memory = torch.ones(1 << 26)
    bytes_a_second = memory.nbytes / _best_time(lambda: memory.sum(), clock)
    rows = torch.ones(batch * beams, 2048)
    square = torch.ops.mkldnn._reorder_linear_weight(torch.ones(2048, 2048))
    multiply = torch.ops.mkldnn._linear_pointwise
    products_a_second = (
        len(rows)
        * 2048**2
        / _best_time(lambda: multiply(rows, square, None, "none", [], ""), clock)
    )

    reading = 4 * (num_weights + batch * num_heard) / bytes_a_second
    multiplying = batch * beams * (num_weights + num_heard) / products_a_second
    return batch / max(reading, multiplying)


def _best_time(run: Callable[[], Any], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(30):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


if __name__ == "__main__":
    main()
