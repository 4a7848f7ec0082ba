"""Seconds of the exported formats in new and old runtimes, and how many times those of `eseg predict` they are.

    python benchmarks/formats.py [--ckpt model.pt] [--sides 512 1024 2048] [--python PYTHON ...]

Planes, one thread, CPU seconds. Each PYTHON has another torch or ONNX Runtime; without the option they are the
system's, and those that `make interop` has made. Every runtime has a process of its own, and all of them take turns
several times: the fastest call counts, so that what else the machine does at times changes the ratios little. Without a
checkpoint it is the small preset with random weights, which the time does not depend on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eseg_export.package import write_weights
from rich.console import Console
from rich.table import Table

from eseg_zoo.checkpoint import Checkpoint
from ways import untrained

ROUNDS, CALLS = 4, 5
PROGRAM = Path(__file__).with_name("time_format.py")
SYSTEM = Path("/usr/bin/python3")
INTEROP = Path(".interop")


@dataclass(frozen=True)
class Runtime:
    """A file of the network and the Python that runs it."""

    name: str
    python: Path
    file: Path

    def seconds(self, sides: Sequence[int]) -> tuple[str, list[float]]:
        """Return the runtime's version and its CPU seconds for each side."""
        command: list[str | Path] = [self.python, PROGRAM, self.file, str(CALLS), *map(str, sides)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        version, *found = done.stdout.split()
        return version, [float(seconds) for seconds in found]


def runtimes(checkpoint: Path, weights: Path, others: Sequence[Path]) -> Iterator[Runtime]:
    """Yield `eseg predict`, this Python's runtimes, and those that the other Pythons have."""
    here = Path(sys.executable)
    yield Runtime("`eseg predict`", here, checkpoint)
    for python in (here, *others):
        for name, module, file in (("TorchScript", "torch", "weights.pt"), ("ONNX", "onnxruntime", "weights.onnx")):
            has = subprocess.run([python, "-c", f"import numpy, {module}"], capture_output=True, check=False)
            if has.returncode == 0:
                yield Runtime(name, python, weights / file)


def measured(every: Sequence[Runtime], sides: Sequence[int], console: Console) -> Table:
    """Return the table, each line relative to the first."""
    versions, best = [""] * len(every), np.full((len(every), len(sides)), np.inf)
    for number in range(ROUNDS):
        for i, runtime in enumerate(every):
            console.print(f"[dim]round {number + 1} of {ROUNDS}: {runtime.name}[/]")
            versions[i], seconds = runtime.seconds(sides)
            best[i] = np.minimum(best[i], seconds)
    columns = [column for side in sides for column in (f"{side} x {side}", "ratio")]
    table = Table("file", "version", *columns, title="CPU seconds per megapixel, one thread")
    for i, runtime in enumerate(every):
        pairs = zip(best[i] / np.square(sides) * 1e6, best[i] / best[0], strict=True)
        table.add_row(runtime.name, versions[i], *(cell for s, ratio in pairs for cell in (f"{s:.3f}", f"{ratio:.2f}")))
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=[512, 1024, 2048])
    found = [path for path in (SYSTEM, *sorted(INTEROP.glob("onnxruntime-*/bin/python"))) if path.exists()]
    parser.add_argument("--python", type=Path, nargs="*", default=found)
    options = parser.parse_args()
    checkpoint = Checkpoint.load(options.ckpt) if options.ckpt else untrained(5)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.checkpoint"
        checkpoint.save(file)
        write_weights(checkpoint, Path(folder))
        every = list(runtimes(file, Path(folder), options.python))
        table = measured(every, options.sides, Console(stderr=True))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
