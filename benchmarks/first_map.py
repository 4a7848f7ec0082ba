"""How soon a first map is there, and how good the maps are from then on: a live training, and the random forest.

    python benchmarks/first_map.py DATA --slice 5 --seconds 60

DATA is the folder of the VNC data. The strokes of one slice, two of each class, teach both; slice 12 is looked at.
Each way is measured in a process of its own: *cold* from the start of Python to the map, *loaded* where another
training has run before, and *busy* like cold beside a process that keeps one core at work. A thread that wants to wake
every 5 ms, as a window does, tells how long it could not: 99 % of the times, and the longest one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

LOOKED_AT = 12
CLASSES = {1: "membrane", 2: "glia", 3: "mitochondrion", 4: "synapse", 5: "intracellular"}


def strokes(data: Path, number: int) -> NDArray[np.uint8]:
    """Return labels (z, y, x) with the strokes of one slice alone."""
    painted = tifffile.imread(data / "labels_scribbles.tif")
    labels = np.zeros_like(painted)
    labels[number] = painted[number]
    return labels


def mean_dice(found: NDArray[np.generic], data: Path) -> float:
    """Return the mean Dice of label values (y, x) on the slice that is looked at."""
    from eseg_zoo.metrics import Confusion

    truth = tifffile.imread(data / "labels_dense.tif")[LOOKED_AT]
    return Confusion.of(truth.astype(int) - 1, found.astype(int) - 1, classes=len(CLASSES)).mean_dice


class Ticker:
    """Wakes every 5 ms in a thread and keeps how long each sleep was."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._tick, daemon=True)

    def _tick(self) -> None:
        last = time.perf_counter()
        while not self.over.wait(0.005):
            now = time.perf_counter()
            self.sleeps.append(now - last)
            last = now

    def told(self) -> str:
        """Return the sleeps that 99 % are shorter than, and the longest one."""
        return f"{np.quantile(self.sleeps, 0.99):.3f} and {max(self.sleeps):.3f} s"


def ours(data: Path, number: int, seconds: float, began: float, *, loaded: bool) -> dict[str, Any]:
    """Return when the first map is there, and seconds and Dice of the maps after it."""
    raw, labels = tifffile.imread(data / "raw.tif"), strokes(data, number)
    import eseg_zoo

    start = eseg_zoo.start_training
    imported = time.time() - began
    if loaded:
        with start(raw, labels, classes=CLASSES, axes="zyx") as live:
            live.preview({"z": 0}).result()
        began = time.time()
    ticker = Ticker()
    curve: list[tuple[float, float, int, float]] = []
    with start(raw, labels, classes=CLASSES, axes="zyx") as live:
        ticker.thread.start()
        while not curve or curve[-1][0] < seconds:
            maps = live.preview({"z": LOOKED_AT}, what=["classes"]).result()
            took, cpu = time.time() - began, time.process_time()
            curve.append((took, cpu, maps.attrs["step"], mean_dice(maps.classes.values, data)))
            threading.Event().wait(max(min(seconds / 6, seconds - took), 0.1))
        ticker.over.set()
        stopping = time.time()
        live.stop()
    rows = [[round(value, 3) for value in row] for row in curve]
    stopped = round(time.time() - stopping, 2)
    return {"imported": round(imported, 1), "maps": rows, "stopped in": stopped, "sleeps": ticker.told()}


def forest(data: Path, number: int, began: float) -> dict[str, Any]:
    """Return when the forest's map is there, and its Dice."""
    from forest import PixelForest

    raw, labels = tifffile.imread(data / "raw.tif"), strokes(data, number)
    learnt = PixelForest().fit(raw, labels, len(CLASSES))
    found = learnt.predict_probabilities(raw[LOOKED_AT]).argmax(0) + 1
    took, cpu = time.time() - began, time.process_time()
    return {"maps": [[round(took, 3), round(cpu, 3), 0, round(mean_dice(found, data), 3)]]}


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Keep a core at work meanwhile."""
    if not wanted:
        yield
        return
    worker = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def measure(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a process of its own measures."""
    command = [sys.executable, __file__, str(arguments.data), "--slice", str(arguments.slice)]
    command += ["--seconds", str(arguments.seconds), "--way", way, "--began", str(time.time())]
    with busy(way == "busy"):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Measure one way, in the process that this is, or start a process for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--slice", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--ways", nargs="+", default=["cold", "loaded", "busy", "forest"])
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way == "forest":
        print(json.dumps(forest(given.data, given.slice, given.began)))
    elif given.way:
        print(json.dumps(ours(given.data, given.slice, given.seconds, given.began, loaded=given.way == "loaded")))
    else:
        for way in given.ways:
            found = measure(way, given)
            print(way, *(f"{key}: {value}" for key, value in found.items() if key != "maps"), flush=True)
            for took, cpu, step, dice in found["maps"]:
                print(f"  {took:6.1f} s, {cpu:6.1f} CPU-s, step {step:4d}: Dice {dice:.3f}", flush=True)


if __name__ == "__main__":
    main()
