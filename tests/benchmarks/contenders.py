"""Programs that transcribe, for bench_transcribe.py: one process each, asked over its stdin.

    python contenders.py NAME FOLDER THREADS

FOLDER holds a checkpoint, and what `prepare` made of it. A request is a line of JSON with `paths`,
`batch_size` and `is_long`; the answer is one with `seconds` (reading included), `first` (seconds to
the first text), `peak` (bytes of resident memory) and `texts`.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Texts = Iterator[tuple[int, str]]  # with the index of their inputs
Run = Callable[[Sequence[str], int, bool], Texts]
SAMPLE_RATE = 16_000
CHUNK, CONTEXT = 30.0, 5.0  # seconds, as the pipeline and asrkit have them


@dataclass(frozen=True)
class Contender:
    """How to start one, and how many inputs it is tried with at once.

    Attributes:
        load: folder and threads to what transcribes.
        batch_sizes: to choose the quickest of; the first is measured as well.
        dtype: of the products, for the floor.
    """

    load: Callable[[Path, int], Run]
    batch_sizes: tuple[int, ...] = (0,)
    dtype: str = "float32"


# --------------------------------------------------------------------------------- transformers


def load_pipeline(folder: Path, threads: int, *, dtype: str) -> Run:
    """The speech recognition pipeline; batches are of sorted clips, which pads least."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(threads)
    recognize = pipeline(
        "automatic-speech-recognition", model=str(folder), dtype=getattr(torch, dtype), device="cpu"
    )

    def run(paths: Sequence[str], batch_size: int, is_long: bool) -> Texts:
        order = list(range(len(paths)))
        if batch_size > 1:
            order.sort(key=lambda index: Path(paths[index]).stat().st_size, reverse=True)
        audio = ({"raw": read(paths[index]), "sampling_rate": SAMPLE_RATE} for index in order)
        options = {"chunk_length_s": CHUNK} if is_long else {}
        found = recognize(audio, batch_size=batch_size, **options)
        yield from zip(order, (item["text"] for item in found), strict=True)

    return run


# ------------------------------------------------------------- models without a pipeline of theirs


def load_onnx(folder: Path, threads: int, *, name: str) -> Run:
    """ONNX Runtime on what torch exported."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / name), options, providers=["CPUExecutionProvider"]
    )
    return partial(transcribe_frames, lambda row: session.run(None, {"values": row})[0], folder)


def load_ctranslate2(folder: Path, threads: int, *, compute_type: str) -> Run:
    """CTranslate2 on what its converter made."""
    import ctranslate2

    model = ctranslate2.models.Wav2Vec2(
        str(folder / "ctranslate2"), compute_type=compute_type, intra_threads=threads
    )

    def score(row: np.ndarray) -> np.ndarray:
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(row[:, None]))
        return np.array(model.encode(view, to_cpu=True))

    return partial(transcribe_frames, score, folder)


def transcribe_frames(
    score: Callable[[np.ndarray], np.ndarray],
    folder: Path,
    paths: Sequence[str],
    batch_size: int,
    is_long: bool,
) -> Texts:
    """One by one, long files in chunks with context, greedily: as their users write it."""
    from transformers import Wav2Vec2CTCTokenizer

    tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(str(folder))
    length, context = (round(s * SAMPLE_RATE) // 320 * 320 for s in (CHUNK, CONTEXT))
    for number, path in enumerate(paths):
        samples = read(path)
        best = []
        step = length - 2 * context
        num_chunks = 1 + max(0, -(-(len(samples) - length) // step))
        for index in range(num_chunks):
            chunk = samples[index * step : index * step + length]
            values = (chunk - chunk.mean()) / np.sqrt(chunk.var() + 1e-7)
            ids = score(values[None].astype(np.float32))[0].argmax(-1)
            left = context // 320 if index else 0
            right = context // 320 if index + 1 < num_chunks else 0
            best.append(ids[left : len(ids) - right])
        yield number, tokenizer.decode(np.concatenate(best))


# --------------------------------------------------------------------------------------- asrkit


def load_asrkit(folder: Path, threads: int, *, dtype: str = "float32", name: str = "") -> Run:
    """This project, with its defaults."""
    import torch

    from asrkit.options import ModelOptions, TranscribeOptions
    from asrkit.tasks.generator import load_speech_model
    from asrkit.tasks.transcribe import transcribe_stream
    from asrkit.types import AudioInput

    torch.set_num_threads(threads)
    model = load_speech_model(ModelOptions(model=str(folder / name), dtype=dtype, device="cpu"))
    options = TranscribeOptions(chunk_length=CHUNK, timestamps="none")

    def run(paths: Sequence[str], batch_size: int, is_long: bool) -> Texts:
        results = transcribe_stream(map(AudioInput, paths), model, options)
        yield from enumerate(result.text for result in results)

    return run


CONTENDERS = {
    "transformers float32": Contender(partial(load_pipeline, dtype="float32"), (1, 4, 8)),
    "transformers bfloat16": Contender(
        partial(load_pipeline, dtype="bfloat16"), (1, 4, 8), "bfloat16"
    ),
    "ONNX Runtime float32": Contender(partial(load_onnx, name="model.onnx")),
    "ONNX Runtime int8": Contender(partial(load_onnx, name="model-int8.onnx"), dtype="int8"),
    "CTranslate2 float32": Contender(partial(load_ctranslate2, compute_type="float32")),
    "CTranslate2 int8": Contender(partial(load_ctranslate2, compute_type="int8"), dtype="int8"),
    "asrkit float32": Contender(partial(load_asrkit, dtype="float32")),
    "asrkit bfloat16": Contender(partial(load_asrkit, dtype="bfloat16"), dtype="bfloat16"),
    "asrkit int8": Contender(partial(load_asrkit, name="int8"), dtype="int8"),
}


def read(path: str) -> np.ndarray:
    """A clip (T,) at 16 kHz."""
    import soundfile

    samples: np.ndarray = soundfile.read(path, dtype="float32")[0]
    return samples


# -------------------------------------------------------------------------------------- process


def main() -> None:
    name, folder, threads = sys.argv[1:]
    answers = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    run = CONTENDERS[name].load(Path(folder), int(threads))
    print(json.dumps({"ready": name}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(run, **json.loads(line))), file=answers, flush=True)


def _answer(run: Run, paths: Sequence[str], batch_size: int, is_long: bool) -> dict[str, Any]:
    _forget_peak()
    start = time.perf_counter()
    texts = [""] * len(paths)
    first = 0.0
    for index, text in run(paths, batch_size, is_long):
        first = first or time.perf_counter() - start
        texts[index] = text
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "first": first, "peak": _peak(), "texts": texts}


def _forget_peak() -> None:
    """Linux starts the peak anew; elsewhere it is that of the process so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+)", status)[0])
    import resource

    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
