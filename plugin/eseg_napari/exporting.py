"""The export in a process of its own: it holds up no painting, and ends at once when it is given up.

`python -m eseg_napari.exporting` reads what to do from its standard input, and answers line by line: each is a JSON
object with what is done (`step`), or at last the `proof` or the `error`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from eseg_zoo.errors import EsegError
from eseg_zoo.output import clear_unfinished

if TYPE_CHECKING:
    from eseg_zoo import Model

LOOKED = 0.1  # seconds between two looks whether the export is given up
LOWER = 5  # by so much its priority is lower than the window's


@dataclass(frozen=True)
class Proof:
    """What was proven of a package."""

    path: str
    rows: list[tuple[str, str, str]]  # a format or a software, what came out, and why
    missing: list[str]  # what the zoo's reviewers will ask for
    unchecked: str | None = None  # what could not be checked without network


class FailedExportError(EsegError):
    """The export says in one line why there is no package."""


def export_beside(
    model: Model, out: Path, card: Mapping[str, Any], *, template: str, force: bool, tell: Callable[[str], None],
    check: Callable[[], None],
) -> Proof:  # fmt: skip
    """Write the package of a model and return what was proven of it; `tell` hears what is done.

    `check` is called ten times a second; when it raises, the process is ended, and nothing of it is left on the disk.
    Raises `FailedExportError` where there is no package, and `RuntimeError` for a fault of ours.
    """
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "model.pt"
        model.save(weights)
        # As `eseg_export.export` takes it.
        order = {"model": str(weights), "out": str(out.absolute()), "card": dict(card), "template": template,
                 "force": force}  # fmt: skip
        try:
            with subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
                env={**os.environ, **dict.fromkeys(("TMPDIR", "TMP", "TEMP"), folder), "PYTHONIOENCODING": "utf-8"},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            ) as process:  # fmt: skip
                try:
                    return _follow(process, order, tell, check)
                finally:
                    process.kill()
        finally:
            clear_unfinished(out)


def _follow(
    process: subprocess.Popen[str], order: Mapping[str, Any], tell: Callable[[str], None], check: Callable[[], None]
) -> Proof:
    """Hand the order over, and return what the process answers."""
    assert process.stdin is not None, "it is a pipe"
    assert process.stdout is not None, "it is a pipe"
    with suppress(OSError), process.stdin as stream:  # it may be over already, which is told below
        json.dump(order, stream)
    answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    threading.Thread(target=_read, args=(process.stdout, answers), daemon=True).start()
    while True:
        check()
        try:
            answer = answers.get(timeout=LOOKED)
        except Empty:
            continue
        if answer is None:
            raise FailedExportError(
                f"the export was ended from outside (exit {process.wait()}); is memory short? Try again"
            )
        if "step" in answer:
            tell(answer["step"])
        elif "error" in answer:
            raise (FailedExportError if answer["is_told"] else RuntimeError)(answer["error"])
        else:
            return Proof(**answer["proof"])


def _read(stream: IO[str], answers: SimpleQueue[dict[str, Any] | None]) -> None:
    for line in stream:
        answers.put(json.loads(line))
    answers.put(None)


def main() -> None:
    """Do what standard input says, and answer on standard output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print is no answer
    if hasattr(os, "nice"):
        os.nice(LOWER)

    def answer(**said: Any) -> None:
        print(json.dumps(said), file=answers)

    order = json.load(sys.stdin)
    try:
        answer(proof=asdict(_export(order, lambda line: answer(step=line))))
    except Exception as error:  # noqa: BLE001  whatever it is, the window tells it
        is_told = isinstance(error, EsegError)
        if not is_told:
            traceback.print_exc()
        answer(error=str(error) if is_told else f"{type(error).__name__}: {error}", is_told=is_told)


def _export(order: Mapping[str, Any], progress: Callable[[str], None]) -> Proof:
    from eseg_export import export

    package = export(**order, progress=progress)
    rows = [
        (one.weights_format, "equals the model", f"no probability differs by more than {one.difference:.0e}")
        for one in package.measured
    ]
    rows += [(one.consumer.name, one.outcome.text, one.why) for one in package.verdicts]
    return Proof(str(package.path), rows, package.missing, package.unchecked)


if __name__ == "__main__":
    main()
