"""Chunks are made on Dask workers with the same bytes, and workers that die are survived."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ClusterError, InputError
from eseg_zoo.inference import executors
from eseg_zoo.inference import predict as prediction
from eseg_zoo.inference.executors import Threads, open_executor
from eseg_zoo.inference.jobs import WantedMaps
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.predict import ChunksDone, Computing
from inference import predictions

pytestmark = pytest.mark.slow  # they start schedulers and workers


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    checkpoint.save(tmp_path / "model.pt")
    np.save(tmp_path / "v.npy", np.random.default_rng(0).integers(0, 255, (3, 75, 90)).astype(np.uint8))
    return tmp_path


def predict(
    folder: Path, name: str, computing: Computing, report: Callable[[ChunksDone], None] = lambda step: None,
    device: str | None = "cpu",
) -> dict[str, bytes]:  # fmt: skip
    wanted = WantedMaps(uncertainty=True)
    path = predictions.predict(
        folder, name, image="v.npy", wanted=wanted, computing=computing, device=device, report=report
    )
    return predictions.content(path)


def test_a_worker_that_is_killed_half_way_changes_nothing(folder: Path) -> None:
    expected = predict(folder, "here.ome.zarr", Computing(tile=16))
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address="localhost:0") as workers,
        Client(workers, set_as_default=False) as client,
    ):
        victims = list(client.run(os.getpid).values())
        assert len(set(victims)) == 2

        def kill_one(step: ChunksDone) -> None:
            if step.chunks == 20:
                os.kill(victims[0], signal.SIGKILL)

        computing = Computing(scheduler=workers.scheduler_address, tile=16)
        assert predict(folder, "cluster.ome.zarr", computing, kill_one) == expected
        assert victims[0] not in client.run(os.getpid).values()


def test_workers_of_this_machine_give_the_same_bytes_and_pass_on_errors(folder: Path) -> None:
    expected = predict(folder, "here.ome.zarr", Computing(tile=32))
    assert predict(folder, "two.ome.zarr", Computing(workers=2, tile=32)) == expected
    pixels = np.zeros((3, 75, 90), np.float32)
    pixels[2, 70, 3] = np.inf
    np.save(folder / "v.npy", pixels)
    with pytest.raises(InputError, match="NaN or infinite pixels, the first at t=0, z=2, y=70, x=3"):
        predict(folder, "wrong.ome.zarr", Computing(workers=1, tile=32))


def test_two_commands_have_workers_at_the_same_time() -> None:
    with open_executor(None, 1), open_executor(None, 1):  # a warning, such as of a port that is taken, is an error here
        pass


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_CONNECTING", 1)
    with (
        pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"),
        open_executor("tcp://127.0.0.1:9", None),
    ):
        pass


def test_the_graph_is_made_in_slabs() -> None:
    asked: list[int] = []
    made: list[int] = []
    ahead: list[int] = []

    def indices() -> Iterator[tuple[int, ...]]:
        for number in range(2000):
            asked.append(number)
            ahead.append(len(asked) - len(made))
            yield (number,)

    def make(level: int, index: tuple[int, ...]) -> None:
        made.append(index[0])

    count: list[int] = []
    Threads().run(make, 0, indices(), lambda: count.append(1))
    assert sorted(made) == list(range(2000))
    assert len(count) == 2000
    assert max(ahead) <= executors._SLAB


def test_chunks_side_by_side_in_one_process_give_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = predict(folder, "alone.ome.zarr", Computing(tile=32, workers=1))
    at_once: list[int] = []
    most: list[int] = []
    real = Predictor.probabilities

    def count(*arguments: Any) -> Any:
        at_once.append(1)
        most.append(len(at_once))
        time.sleep(0.05)
        try:
            return real(*arguments)
        finally:
            at_once.pop()

    monkeypatch.setattr(Predictor, "probabilities", count)
    monkeypatch.setattr(prediction, "passes_at_once", lambda *_, **__: 3)
    assert predict(folder, "three.ome.zarr", Computing(tile=32)) == expected
    assert max(most) == 3


def test_a_scheduler_without_workers_is_said_and_waited_for(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = predict(folder, "here.ome.zarr", Computing(tile=32))
    with LocalCluster(n_workers=0, dashboard_address="localhost:0") as workers:
        late = threading.Timer(2, lambda: workers.scale(1))
        late.start()
        try:
            computing = Computing(scheduler=workers.scheduler_address, tile=32)
            assert predict(folder, "late.ome.zarr", computing) == expected
        finally:
            late.join()
    assert "has no workers yet" in caplog.text


def test_a_device_that_is_not_there_is_refused_before_any_worker_starts(folder: Path) -> None:
    with pytest.raises(InputError, match=r"device is 'cuda:99'; this machine has cpu"):
        predict(folder, "out.ome.zarr", Computing(workers=1), device="cuda:99")
    assert sorted(path.name for path in folder.iterdir()) == ["model.pt", "v.npy"]


@pytest.mark.parametrize("failing", ["a chunk", "the report"])
def test_after_an_error_no_chunk_is_being_made(failing: str) -> None:
    slow_began, being_made = threading.Event(), threading.Event()

    def make(level: int, index: tuple[int, ...]) -> None:
        if index == (0,):
            being_made.set()
            slow_began.set()
            time.sleep(0.5)
            being_made.clear()
        elif index == (1,):
            assert slow_began.wait(10)
            if failing == "a chunk":
                raise ValueError("of the first error")

    def report() -> None:
        raise ValueError("of the first error")

    with pytest.raises(ValueError, match="of the first error"):
        Threads(2).run(make, 0, [(0,), (1,)], report)
    assert slow_began.is_set()
    assert not being_made.is_set()
