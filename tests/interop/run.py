"""Every consumer that can be had here reads the package; one table says which of them agrees with the checkpoint.

    PYTHONPATH=tests python -m interop.run [--ckpt model.pt [--package model.zip]]

Without a model it takes the demo's, or else a tiny one that it exports by itself, and a tiny 3D one beside it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from eseg_export.package import export
from rich.console import Console

from eseg_zoo.console import run_app
from interop.cases import unpacked
from interop.compare import Row, exit_code, summary, table
from interop.consumers import Consumer, consumers

DEMO = Path("demo/training/model.pt"), Path("demo/model.zip")


def models(ckpt: Path | None, package: Path | None, folder: Path) -> Iterator[tuple[str, Path, Path]]:
    """Yield name, checkpoint and package of each model; a package that is not given is exported into `folder`."""
    if ckpt:
        yield ckpt.name, ckpt, package or export(ckpt, folder / "given.zip").path
        return
    if all(path.exists() for path in DEMO):
        yield ("demo", *DEMO)
    else:
        yield ("tiny 2D", *tiny(2, folder))
    yield ("tiny 3D", *tiny(3, folder))


def tiny(dims: int, folder: Path) -> tuple[Path, Path]:
    """Return checkpoint and package of the tests' model with random weights."""
    from conftest import random_checkpoint  # brings pytest, which a given model does not need

    path = folder / f"tiny{dims}d.pt"
    random_checkpoint(dims).save(path)
    return path, export(path).path


def ask_all(everyone: Sequence[Consumer], ckpt: Path, package: Path, name: str, messages: Console) -> Iterator[Row]:
    """Yield the verdicts of all consumers on one model."""
    with tempfile.TemporaryDirectory() as folder, unpacked(name, ckpt, package, Path(folder)) as subject:
        for consumer in everyone:
            messages.print(f"[dim]{name}: {consumer.name}[/]")
            yield consumer.row(subject)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", type=Path, help="checkpoint to compare with")
    parser.add_argument("--package", type=Path, help="its package; exported anew if not given")
    parser.add_argument("--environments", type=Path, default=Path(".interop"), help="where the consumers are kept")
    given = parser.parse_args()
    if given.package and not given.ckpt:
        parser.error("--package needs the --ckpt that it was made from")
    for path in filter(None, (given.ckpt, given.package)):
        if not path.exists():
            parser.error(f"{path} does not exist")
    messages, results = Console(stderr=True, highlight=False), Console(highlight=False)
    if not results.is_terminal:
        results.width = 180
    messages.print("[dim]installing the consumers[/]")
    everyone = list(consumers(given.environments))
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for name, ckpt, package in models(given.ckpt, given.package, Path(folder))
            for row in ask_all(everyone, ckpt, package, name, messages)
        ]
    results.print(table(rows))
    results.print(summary(rows))
    return exit_code(rows)


if __name__ == "__main__":
    run_app(lambda: sys.exit(main()))
