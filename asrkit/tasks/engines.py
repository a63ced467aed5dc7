"""Where the inputs of a batch are worked on: in this process, or by the workers of a Ray cluster.

Both engines take a `Job`, which is data, and give the same results in the same order. What goes to
a worker at a time is a few inputs in a row. A result depends neither on its neighbours in a batch,
nor on the worker that made it, nor on one that was lost.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from asrkit import __version__
from asrkit.errors import EngineError, MissingExtraError, UsageError
from asrkit.inputs import FailedInput, size_of
from asrkit.models.runtime import set_num_threads
from asrkit.options import EngineOptions, ModelOptions
from asrkit.tasks.align import TextOf
from asrkit.tasks.recognizer import load_second
from asrkit.types import AudioInput

# Of a CPU, reserved for a worker. Where workers hold all CPUs, what Ray Data has to do itself waits
# for ever; and where machines differ, equal parts of all CPUs fit on none.
_RESERVED_CPUS = 0.1
# What goes to a worker at a time: inputs, or bytes of them; a million are 30 s of plain audio.
_GROUP_INPUTS = 16
_GROUP_BYTES = 8_000_000
_RETRIES = 3  # of a group whose worker is lost
_CONNECT_SECONDS = 5.0
_GO_ON = "what is done stays done; with --resume the same command goes on"

Item = AudioInput | TextOf | FailedInput
Stream = Callable[[Iterable[Item], Callable[[float], None]], Iterator[Any]]


@dataclass(frozen=True)
class Job:
    """What a command does with its inputs, so that another process can be told.

    Attributes:
        load: makes the model.
        source: which model.
        stream: `transcribe_stream` or its like, with its options bound: called with inputs, model,
            `on_progress` and the models beside it.
        beside: CTC models beside the model, by the keywords that `stream` takes them by.
        threads: of the CPU; None takes all cores.
    """

    load: Callable[[ModelOptions], Any]
    source: ModelOptions
    stream: Callable[..., Iterator[Any]]
    beside: Mapping[str, str | None] = field(default_factory=dict)
    threads: int | None = None

    def start(self) -> tuple[str, Stream]:
        """Load the models.

        Returns:
            One line that describes the model, and what turns inputs into results, in order.

        Raises:
            AsrkitError: a model cannot be loaded.
        """
        if self.threads is not None:
            set_num_threads(self.threads)
        model = self.load(self.source)
        beside = {key: load_second(name, self.source) for key, name in self.beside.items()}

        def stream(inputs: Iterable[Item], on_progress: Callable[[float], None]) -> Iterator[Any]:
            return self.stream(inputs, model, on_progress=on_progress, **beside)

        return model.describe(), stream


def run(
    job: Job,
    inputs: Iterable[Item],
    options: EngineOptions,
    *,
    on_progress: Callable[[float], None],
    on_start: Callable[[str], None],
) -> Iterator[Any]:
    """Do a job with the engine that the options name.

    Args:
        job: what to do.
        inputs: what with.
        options: where.
        on_progress: called with the seconds of audio that are done.
        on_start: called with a line that describes the model, once it is loaded.

    Returns:
        One result an input, in order, as soon as it is complete.

    Raises:
        AsrkitError: what ends all of a run, such as a model that cannot be loaded.
    """
    engine = _run_on_ray if options.engine == "ray" else _run_here
    return engine(job, inputs, options, on_progress, on_start)


def _run_here(
    job: Job,
    inputs: Iterable[Item],
    options: EngineOptions,
    on_progress: Callable[[float], None],
    on_start: Callable[[str], None],
) -> Iterator[Any]:
    description, stream = job.start()
    on_start(description)
    return stream(inputs, on_progress)


def _run_on_ray(
    job: Job,
    inputs: Iterable[Item],
    options: EngineOptions,
    on_progress: Callable[[float], None],
    on_start: Callable[[str], None],
) -> Iterator[Any]:
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("--engine ray", extra="ray") from error
    items = list(inputs)
    if any(_audio_of(item).source == "-" for item in items):
        raise UsageError("standard input cannot be heard by the workers of a cluster")
    return _results_from_ray(job, items, options, on_progress, on_start)


def _results_from_ray(
    job: Job,
    items: Sequence[Item],
    options: EngineOptions,
    on_progress: Callable[[float], None],
    on_start: Callable[[str], None],
) -> Iterator[Any]:
    """The results, in order, and while they are asked for a connection to the cluster."""
    rows = [{"group": pickle.dumps(group)} for group in _groups(map(_sent, items))]
    workers: set[str] = set()
    index = 0
    with _cluster(options.address):
        for message in _messages(job, rows, options):
            if message.worker not in workers:
                workers.add(message.worker)
                on_start(message.worker)
            if isinstance(message.result, Exception):
                raise message.result
            if message.index != index:
                raise EngineError(f"Ray: result {message.index} came in place of {index}")
            on_progress(message.seconds)
            yield message.result
            index += 1
    if index < len(items):
        raise EngineError(f"Ray: {index} results of {len(items)} inputs", hint=_GO_ON)


def _audio_of(item: Item) -> Any:
    return item.audio if isinstance(item, TextOf) else item


def _sent(item: Item) -> Item:
    """An input without its labels: no result is made of them, and a view of none cannot be sent."""
    if isinstance(item, TextOf):
        return replace(item, audio=replace(_audio_of(item), labels={}))
    return replace(item, labels={}) if isinstance(item, AudioInput) else item


def _groups(items: Iterable[Item]) -> Iterator[list[tuple[int, Item]]]:
    """Inputs with their numbers, as much as goes to a worker at a time."""
    group: list[tuple[int, Item]] = []
    num_bytes = 0.0
    for index, item in enumerate(items):
        group.append((index, item))
        num_bytes += size_of(_audio_of(item))
        if len(group) >= _GROUP_INPUTS or num_bytes >= _GROUP_BYTES:
            yield group
            group, num_bytes = [], 0.0
    if group:
        yield group


def _messages(job: Job, rows: list[dict[str, bytes]], options: EngineOptions) -> Iterator[_Message]:
    """What the workers of the cluster say of each input, in order."""
    import ray

    num_workers, num_gpus, num_threads = _shares(options, job.source.device)
    job = replace(job, threads=job.threads or num_threads)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the number of retries will have another name
        results = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
            _Worker,
            fn_constructor_args=(job, os.getcwd(), __version__),
            compute=ray.data.ActorPoolStrategy(size=min(num_workers, len(rows))),
            num_cpus=_RESERVED_CPUS,
            num_gpus=num_gpus,
            max_task_retries=_RETRIES,
        )
    for row in results.iter_rows():
        message = pickle.loads(row["message"])
        assert isinstance(message, _Message)  # for the type checker
        yield message


def _shares(options: EngineOptions, device: str) -> tuple[int, float, int]:
    """How many workers a cluster has room for, and the GPUs and CPU threads of each."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = [node for node in nodes if node.get("CPU")]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    share = options.gpus_per_worker
    if share is None:
        share = 1.0 if sum(gpus) and device.startswith(("auto", "cuda")) else 0.0
    room = len(nodes)
    if share:
        room = sum(int(count // share) if share > 1 else count * int(1 / share) for count in gpus)
    num_workers = options.workers or room
    if not room or (share and num_workers > room):
        raise EngineError(
            f"Ray: {num_workers or 'all'} workers with {share:g} GPUs each, and the cluster has "
            f"room for {room}",
            hint="--gpus-per-worker 0.5 puts two on each GPU, 0 none",
        )
    cpus = [int(node["CPU"]) for node in nodes]
    return num_workers, share, max(min(*cpus, sum(cpus) // num_workers), 1)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """A connection to a cluster, or one on this machine that ends with the block."""
    import ray
    from ray.exceptions import RayError

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is lower stands in its files
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        with _without_stderr():  # a line of Ray's C++ side says that it will be silent
            ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False)
    except (OSError, RayError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(
            f"Ray: no cluster at {address}: {reason}",
            hint="`ray status` on that machine says whether one runs; without --address one is "
            "started here",
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray has set its own
    try:
        yield
    except RayError as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise EngineError(f"Ray: {type(error).__name__}: {reason}", hint=_GO_ON) from error
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Make sure that somebody is there: Ray itself asks for ten minutes.

    Raises:
        OSError: nobody is.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


@contextmanager
def _without_stderr() -> Iterator[None]:
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@dataclass(frozen=True)
class _Message:
    """What a worker says of one input.

    Attributes:
        worker: its process and its model, for people.
        index: of the input.
        seconds: of audio that are done since the last message.
        result: or the error that ends the run.
    """

    worker: str
    index: int
    seconds: float
    result: Any


class _Worker:
    """Lives in a process of the cluster: loads the model once, then does group after group.

    An error that ends the run is a message too. Raised, it would be taken for a lost worker.
    """

    def __init__(self, job: Job, folder: str, version: str) -> None:
        self._name = f"{socket.gethostname()}, process {os.getpid()}"
        self._error: Exception | None = None
        try:
            _settle(folder, version)
            description, self._stream = job.start()
            self._name += f": {description}"
        except Exception as error:
            self._error = error

    def __call__(self, row: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
        """A message for each input of a group."""
        indices, inputs = zip(*pickle.loads(row["group"]), strict=True)
        seconds: list[float] = []
        try:
            if self._error is not None:
                raise self._error
            for index, result in zip(indices, self._stream(inputs, seconds.append), strict=True):
                yield self._message(index, sum(seconds), result)
                seconds.clear()
        except Exception as error:
            yield self._message(-1, 0.0, error)

    def _message(self, index: int, seconds: float, result: Any) -> dict[str, bytes]:
        return {"message": pickle.dumps(_Message(self._name, index, seconds, result))}


def _settle(folder: str, version: str) -> None:
    """Make sure that files and results are the same here as where the run began."""
    host = socket.gethostname()
    if version != __version__:
        raise EngineError(f"{host} has asrkit {__version__}, expected {version}")
    try:
        os.chdir(folder)
    except OSError as error:
        raise EngineError(
            f"{host}: {folder} cannot be entered: {error.strerror}",
            hint="all machines of the cluster must see the same files under the same names",
        ) from error
