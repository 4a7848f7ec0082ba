"""Where chunks are made: in this process, in workers on this machine, or on a Dask cluster.

Dask builds and runs the graph in all three. Tasks are submitted in slabs, so that neither the graph nor the scheduler
holds more than two slabs, whatever the size of the volume.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Protocol

import dask.base
from dask.callbacks import Callback
from dask.delayed import delayed

from eseg_zoo.errors import ClusterError

log = logging.getLogger(__name__)

Index = tuple[int, ...]
Make = Callable[[int, Index], None]

_SLAB = 512  # tasks, or four for each thread of the cluster if that is more; the scheduler takes about 1 ms for each
_CONNECTING = 15  # seconds to wait for a scheduler
_THREADS = 2  # of a worker: one predicts while the other reads and writes


class Executor(Protocol):
    """Where chunks are made."""

    def run(self, make: Make, level: int, indices: Iterable[Index], done: Callable[[], None]) -> None:
        """Call `make(level, index)` for each index, in any order, and `done` after each; stops at the first error."""


class Threads:
    """In this process, with Dask's threads."""

    def __init__(self, threads: int = _THREADS):
        self.threads = threads

    def run(self, make: Make, level: int, indices: Iterable[Index], done: Callable[[], None]) -> None:
        """Make the chunks of one level, slab by slab; after an error none is being made any more."""
        with ThreadPoolExecutor(self.threads) as pool, _AfterEach(done):
            for tasks in _slabs(make, level, indices, _SLAB):
                dask.base.compute(*tasks, scheduler="threads", pool=pool)


class _AfterEach(Callback):
    def __init__(self, done: Callable[[], None]):
        def after(key: object, *_: object) -> None:
            if str(key).startswith("chunk-"):
                done()

        super().__init__(posttask=after)


class Cluster:
    """The workers of a Dask scheduler; those that die are replaced or done without, and their chunks made again."""

    def __init__(self, client: Any):
        self.client = client

    def run(self, make: Make, level: int, indices: Iterable[Index], done: Callable[[], None]) -> None:
        """Make the chunks of one level; the next slab is submitted while the last one runs.

        Raises `ClusterError` when the scheduler is lost, or when workers keep dying of one chunk.
        """
        from distributed import as_completed

        threads = sum(self.client.nthreads().values())
        slab = max(_SLAB, 4 * threads)
        slabs = _slabs(make, level, indices, slab)
        running, waiting = as_completed(loop=self.client.loop), set()

        def submit() -> None:
            if tasks := next(slabs, None):
                futures = self.client.compute(tasks)
                waiting.update(futures)
                running.update(futures)

        try:
            submit()
            submit()
            for future in running:
                waiting.discard(future)
                _raise_error_of(future)
                done()
                if len(waiting) <= slab:
                    submit()
        finally:
            self.client.cancel(list(waiting))


def _raise_error_of(future: Any) -> None:
    from distributed.scheduler import KilledWorker

    try:
        future.result()
    except KilledWorker as error:
        raise ClusterError(
            f"{error.allowed_failures + 1} workers died of one chunk, the last at {error.last_worker.address}, "
            "most likely because memory ran out; give the workers more memory, or a smaller --tile"
        ) from error
    except (CancelledError, OSError, TimeoutError) as error:
        raise ClusterError(
            "the connection to the Dask scheduler was lost; what is finished is kept: run the command again to go on"
        ) from error
    except ImportError as error:
        raise ClusterError(f"the workers lack a module: {error}; install eseg_zoo in their environment") from error


def _slabs(make: Make, level: int, indices: Iterable[Index], size: int) -> Iterator[list[Any]]:
    """Yield lists of delayed calls; a slab's graph is made when the one before it is nearly done."""
    rest = iter(indices)
    call = delayed(make, pure=False, traverse=False)
    while slab := list(islice(rest, size)):
        yield [call(level, index, dask_key_name=_key(level, index)) for index in slab]


def _key(level: int, index: Index) -> str:
    return f"chunk-{level}-{'-'.join(map(str, index))}"


def open_executor(
    scheduler: str | None, workers: int | None, *, threads: int = _THREADS
) -> AbstractContextManager[Executor]:
    """Return where to make chunks: the scheduler at an address, `workers` processes of this machine, or this process.

    `threads` are those of this process. Entering it raises `ClusterError` when no scheduler answers there.
    """
    if scheduler is not None:
        return _existing(scheduler)
    return _local(workers) if workers is not None else _this_process(threads)


@contextmanager
def _this_process(threads: int) -> Iterator[Executor]:
    yield Threads(threads)


@contextmanager
def _existing(address: str) -> Iterator[Executor]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECTING, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address} (waited {_CONNECTING} s)") from error
    with client:
        if not client.nthreads():
            log.warning("The Dask scheduler at %s has no workers yet; waiting for the first.", address)
        yield Cluster(client)


@contextmanager
def _local(workers: int) -> Iterator[Executor]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=_THREADS, dashboard_address="localhost:0", silence_logs=logging.ERROR
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield Cluster(client)
