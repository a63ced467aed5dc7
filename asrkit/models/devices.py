"""What torch finds on this machine, for people."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from asrkit.models.runtime import select_device


def describe_torch(device: str) -> Iterator[tuple[str, str]]:
    """(name, value) rows: the library, its threads, every device, and which would be taken.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.

    Raises:
        UsageError: not a device, or not one of this machine's.
    """
    yield "torch", torch.__version__
    yield "threads", f"{torch.get_num_threads()} of the CPU"
    yield "kernels", torch.backends.cpu.get_cpu_capability()
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        about = torch.cuda.get_device_properties(index)
        has_bfloat16 = "with" if about.major >= 8 else "without fast"
        yield (
            f"cuda:{index}",
            f"{about.name}, {about.total_memory / 2**30:.0f} GiB, {has_bfloat16} bfloat16",
        )
    yield "cuda", f"built for {torch.version.cuda}" if torch.version.cuda else "not in this build"
    yield "mps", "there" if torch.backends.mps.is_available() else "not on this machine"
    yield "taken", f"{select_device(device)} for --device {device}"
