"""What waiting threads cost: a short training of the small preset alone, and beside processes that keep all cores busy.

    python benchmarks/busy.py [--steps 30] [--busy 2] [--threads 2]

OpenMP's threads spin while they wait for each other, which is quick where each has a core and takes the cores from
those that work where not. The commands let them sleep (`eseg_zoo/threads.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tifffile
import yaml
from rich.console import Console
from rich.table import Table

POLICIES = {
    "spin, as torch comes": {"GOMP_SPINCOUNT": "300000"},
    "sleep, as the commands": {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"},
}
BUSY = "while True: pass"
TRAINING = """
import json, sys, time
from pathlib import Path
from eseg_zoo.config import load_run
from eseg_zoo.progress import Watch
from eseg_zoo.training.run import train_run
seen = []
train_run(
    load_run(Path(sys.argv[1])), force=True,
    watch=Watch(lambda news: seen.append((news.done, time.perf_counter(), time.process_time()))),
)
(first, *begun), (last, *ended) = seen[0], seen[-1]
print(json.dumps([(after - before) / (last - first) for before, after in zip(begun, ended)]))
"""


def write_run(folder: Path, steps: int) -> Path:
    """Write a stack of noise in two greys, labels and the file of a run."""
    rng = np.random.default_rng(0)
    image = rng.normal(90, 10, (4, 256, 256))
    image[:, :, 128:] += 60
    labels = np.zeros(image.shape, np.uint8)
    for row in range(8, 250, 8):
        labels[:, row, 20:24], labels[:, row, 200:204] = 1, 2
    tifffile.imwrite(folder / "image.tif", image.astype(np.uint8), photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    run = {
        "images": "image.tif", "labels": "labels.tif", "axes": "zyx", "classes": {1: "dark", 2: "bright"},
        "preset": "small", "out": "out", "training": {"steps": steps, "accelerator": "cpu"},
        "semi_supervised": {"steps": 0},
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(run), encoding="utf-8")
    return path


def measure(run: Path, environment: dict[str, str], *, threads: int, busy: int) -> tuple[float, float]:
    """Return seconds and CPU-seconds of a step, beside so many busy processes."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    with ExitStack() as stack:
        for _ in range(busy):
            other = subprocess.Popen([sys.executable, "-c", BUSY])
            stack.callback(other.wait)
            stack.callback(other.kill)
        done = subprocess.run(
            [sys.executable, "-c", TRAINING, run], check=True, capture_output=True, text=True,
            env=clean | environment | {"OMP_NUM_THREADS": str(threads)},
        )  # fmt: skip
    seconds, cpu = json.loads(done.stdout.splitlines()[-1])
    return seconds, cpu


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--busy", type=int, default=2, help="busy processes")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    table = Table("threads wait by", "busy processes", "s/step", "CPU-s/step", "CPU-s for 100 steps")
    with tempfile.TemporaryDirectory() as name:
        run = write_run(Path(name), options.steps)
        for busy in (0, options.busy):
            for policy, environment in POLICIES.items():
                seconds, cpu = measure(run, environment, threads=options.threads, busy=busy)
                table.add_row(policy, str(busy), f"{seconds:.2f}", f"{cpu:.2f}", f"{100 * cpu:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
