"""The folder of a run: what a training leaves in it, how one is begun, taken up again, and cleared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eseg_zoo.config import Run
from eseg_zoo.errors import ConfigError, OutputError
from eseg_zoo.output import refuse_existing

# What a training leaves beside `model.pt` and `run.json`: these files in the folder of each stage.
STAGES = ("supervised", "semi_supervised")
STAGE_FILES = ("best.ckpt", "last.ckpt", "finished.json", "metrics.csv", "metrics.[0-9]*.csv")


def prepare_folder(run: Run, *, force: bool, resume: bool) -> None:
    """Make the folder ready for a new training, or check that it holds the one to resume.

    Raises `ConfigError` when the settings differ from those of the training to resume, and `OutputError` when there is
    a model or an unfinished training already and `force` is not set.
    """
    settings = run.out / "run.json"
    begun = settings.exists() and any(run.out.glob("*/last.ckpt"))
    wanted = _seen_from(run.out, run).model_dump(mode="json")
    if resume and begun:
        differing = _differing(json.loads(settings.read_text(encoding="utf-8")), wanted)
        if differing:
            raise ConfigError(
                f"{run.out} holds a training with other settings ({', '.join(differing)}); it can only be resumed with "
                "the same"
            )
        return
    if begun and not force:
        raise OutputError(f"{run.out} holds an unfinished training; --resume goes on with it, --force starts anew")
    refuse_existing(run.out / "model.pt", force=force)  # of `resume`, there is nothing to go on with
    _clear(run, force=force or settings.exists())
    settings.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _clear(run: Run, *, force: bool) -> None:
    """Delete what an earlier training left in the folders of its stages, and nothing else.

    Raises `OutputError` where such files are there and `force` is not set.
    """
    left = [file for stage in STAGES for pattern in STAGE_FILES for file in (run.out / stage).glob(pattern)]
    for file in left:
        refuse_existing(file, force=force)
    for file in left:
        file.unlink()
    for stage in STAGES:
        with suppress(OSError):  # it is not there, or holds files of somebody else
            (run.out / stage).rmdir()


def _seen_from(folder: Path, run: Run) -> Run:
    """Return the settings with paths as seen from `folder`, which do not depend on where the command was started."""

    def seen(path: Path) -> Path:
        try:
            return Path(os.path.relpath(path, folder))
        except ValueError:  # on another drive
            return path.resolve()

    return run.with_paths(seen)


def _differing(before: Any, after: Any, key: str = "") -> list[str]:
    """Return the keys, such as `loss.beta`, whose values differ between two nested settings."""
    if isinstance(before, dict) and isinstance(after, dict):
        if before.keys() == after.keys() and list(before) != list(after):  # of the classes, which is the channels'
            return [key]
        inner = [
            _differing(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))
            for name in sorted({*before, *after})
        ]
        return [found for part in inner for found in part]
    return [] if before == after else [key]


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Turn a full disk, however it shows, into one `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{out} cannot be written to: {error.strerror or error}") from error
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error):  # how torch reports a full disk
            raise
        raise OutputError(f"{out} cannot be written to: {error}") from error
