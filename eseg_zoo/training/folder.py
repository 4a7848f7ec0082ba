"""The folder of a run: what a training leaves in it, how one is begun, taken up again, and cleared."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eseg_zoo.config import Run
from eseg_zoo.errors import CheckpointError, ConfigError, OutputError
from eseg_zoo.metrics_file import METRICS, read_metrics
from eseg_zoo.output import refuse_existing
from eseg_zoo.training.durable import read_record, write_record
from eseg_zoo.training.plans import STAGES, planned_steps

log = logging.getLogger(__name__)

# What a training leaves beside `model.pt` and `run.json`: its log, and these files in the folder of each stage.
TENSORBOARD = "tensorboard"
LOGS = (METRICS, f"{TENSORBOARD}/events.out.tfevents.*")
CHECKPOINTS = ("last.ckpt", "previous.ckpt", "best.ckpt")  # in the order in which they are deleted
_OLDER_LOGS = ("metrics.csv", "metrics.[0-9]*.csv")  # version 0.1 had one in each stage
STAGE_FILES = ("finished.json", *CHECKPOINTS, *_OLDER_LOGS, ".*.writing")
# Settings of a training that a resumed one may have otherwise: more steps extend it.
STEPS = {"supervised": "training.steps", "semi_supervised": "semi_supervised.steps"}
FREE = ("training.workers", "training.tensorboard", "colours")


@dataclass(frozen=True)
class Begun:
    """What `run.json` says: how the training in a folder was begun."""

    settings: dict[str, Any]  # of the run, its paths as seen from the folder
    inputs: list[dict[str, str]]  # what tells its images and labels from others (`inputs.py`)
    epochs: dict[str, int]  # stage -> steps of an epoch, which stay what they are when the training is extended
    device: str  # what it was begun on, such as 'cuda'
    start: str = ""  # digest of the model that it goes on from; empty where its first weights were random

    @classmethod
    def read(cls, out: Path) -> Begun | None:
        """Return how the training in a folder was begun; None where there is none.

        Raises `CheckpointError` for a damaged file.
        """
        path = out / "run.json"
        try:
            found = read_record(path)
            known = {"start": "", **found}  # a training that was begun before there was a start had none
            return cls(**{field.name: known[field.name] for field in fields(cls)})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (CheckpointError, KeyError) as error:
            reason = error if isinstance(error, CheckpointError) else f"{path} lacks {error}"
            raise CheckpointError(
                f"{reason}; how the training was begun is not known then: start anew with --force"
            ) from error

    def steps(self, stage: str) -> int:
        """Return how many steps a stage was to take at most, 0 for one that is left out."""
        section, name = STEPS[stage].split(".")
        return int(self.settings[section][name])

    @property
    def planned(self) -> int:
        """How many steps all stages take at most."""
        return sum(planned_steps(self.steps(name), self.epochs[name]) for name in STAGES if self.steps(name))

    def is_finished(self, out: Path) -> bool:
        """Whether all stages are over and their model is written."""
        over = [(out / stage / "finished.json").exists() for stage in STAGES if self.steps(stage)]
        return all(over) and (out / "model.pt").exists()


def refuse_begun(run: Run, *, force: bool, resume: bool) -> None:
    """Raise `OutputError` where the folder has a model or an unfinished training, which this command would replace.

    An unfinished training is told first: `--resume` goes on with it, whether it has written a model or not.
    """
    if force and not resume:
        return
    begun = Begun.read(run.out)
    if begun and resume:
        return
    if begun and not begun.is_finished(run.out) and not force:
        raise OutputError(f"{run.out} holds an unfinished training; --resume goes on with it, --force starts anew")
    refuse_existing(run.out / "model.pt", force=force)  # of `resume`, there is nothing to go on with


def prepare_folder(
    run: Run, inputs: list[dict[str, str]], epochs: Mapping[str, int], device: str, *, start: str = "", force: bool,
    resume: bool,
) -> Begun:  # fmt: skip
    """Make the folder ready for a new training, or check that it holds the one to resume; return how it was begun.

    Raises `ConfigError` when the settings differ from those of the training to resume, and `OutputError` when there is
    a model or an unfinished training already and `force` is not set, or what is not of a training here.
    """
    refuse_begun(run, force=force, resume=resume)
    settings = _seen_from(run.out, run).model_dump(mode="json")
    begun = Begun.read(run.out) if resume else None
    if begun:
        return _take_up(run.out, begun, Begun(settings, inputs, {**epochs, **begun.epochs}, device, start))
    new = Begun(settings, inputs, dict(epochs), device, start)
    _refuse_foreign(run.out)
    _clear(run.out, STAGES, LOGS, force=force or (run.out / "run.json").exists())
    write_record(run.out / "run.json", asdict(new))
    return new


def _refuse_foreign(out: Path) -> None:
    """Raise `OutputError` where the folder of a stage is a file or a link, or has files that no training here left."""
    for folder in (out / stage for stage in STAGES):
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            kind = "a link" if folder.is_symlink() else "a file"
            raise OutputError(f"{folder} is {kind}, where a training has a folder of its own; give another out")
    ours = _left(out, STAGES, LOGS)
    if ours and not (out / "run.json").exists():
        raise OutputError(
            f"{ours[0]} would be replaced, but there is no {out / 'run.json'}, which says that a training wrote it; "
            "give another out, or move it away"
        )


def _take_up(out: Path, before: Begun, after: Begun) -> Begun:
    """Check that the training of `before` may go on as `after`, and extend the stages that get more steps."""
    if before.start != after.start:
        raise ConfigError(_tell_other_start(out, before.start, after.start))
    read_metrics(out)  # one that is damaged is told now, before a stage goes on
    differing = _differing(before.settings, after.settings)
    unlike = [key for key in differing if key not in (*STEPS.values(), *FREE) and key.partition(".")[0] not in FREE]
    unlike += [STEPS[stage] for stage in STAGES if after.steps(stage) < before.steps(stage)]
    if unlike:
        raise ConfigError(
            f"{out} holds a training with other settings ({', '.join(sorted(unlike))}); it can only be resumed with "
            "the same, or with more steps"
        )
    if before.device != after.device:
        log.warning(
            "The training was begun on %s and continues on %s: the model will not be the same to the last bit.",
            before.device,
            after.device,
        )
    for stage in STAGES:
        if after.steps(stage) > before.steps(stage) > 0:
            _extend(out, stage, before, after)
    write_record(out / "run.json", asdict(after))
    return after


def _tell_other_start(out: Path, before: str, after: str) -> str:
    """Return why a training that began from one model cannot be resumed from another one, or from none."""
    if not before:
        return f"{out} holds a training that began from no model; leave out --from to resume it"
    given = "that of --from is another one" if after else "--from is missing"
    return f"{out} holds a training that began from a model, and {given}; it can only be resumed from the same model"


def _extend(out: Path, stage: str, before: Begun, after: Begun) -> None:
    """Let a stage go on to more steps; those after it, which began from its earlier weights, start again."""
    epoch = after.epochs[stage]
    old, new = (planned_steps(begun.steps(stage), epoch) for begun in (before, after))
    taken = _steps_of_finished(out / stage)
    if new == old:
        log.warning("%s of %d adds less than one epoch, %d steps, so nothing is added.", STEPS[stage], new, epoch)
        return
    if taken is not None and taken < old:
        log.warning("The %s stage ended at step %d, where validation stalled: more steps add nothing.", stage, taken)
        return
    (out / stage / "finished.json").unlink(missing_ok=True)
    later = STAGES[STAGES.index(stage) + 1 :]
    if any((out / name).exists() for name in later):
        log.warning("The %s stage goes on to %d steps; the stage after it starts again.", stage, new)
    _clear(out, later, force=True)


def _steps_of_finished(folder: Path) -> int | None:
    """Return the steps that a finished stage took; None where it is not finished, or where that is not known."""
    try:
        return int(read_record(folder / "finished.json")["steps"])
    except (FileNotFoundError, NotADirectoryError, CheckpointError, KeyError, TypeError, ValueError):
        return None


def clear_stage(out: Path, stage: str) -> None:
    """Delete what a training left in the folder of a stage."""
    _clear(out, [stage], force=True)


def _left(out: Path, stages: Sequence[str], logs: Sequence[str] = ()) -> list[Path]:
    """Return the files that a training left in the folders of these stages, and its logs."""
    files = [file for stage in stages for pattern in STAGE_FILES for file in (out / stage).glob(pattern)]
    return [*files, *(file for pattern in logs for file in out.glob(pattern))]


def _clear(out: Path, stages: Sequence[str], logs: Sequence[str] = (), *, force: bool) -> None:
    """Delete what an earlier training left in the folders of these stages, and its logs, and nothing else.

    Raises `OutputError` where such files are there and `force` is not set.
    """
    left = _left(out, stages, logs)
    for file in left:
        refuse_existing(file, force=force)
    for file in left:
        file.unlink(missing_ok=True)
    for folder in {out / stage for stage in stages} | {file.parent for file in left} - {out}:
        with suppress(OSError):  # it is not there, or holds files of somebody else
            folder.rmdir()


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
