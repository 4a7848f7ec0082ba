"""A model -> a verified package: the order of it all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from bioimageio.spec import ValidationContext
from bioimageio.spec.model.v0_5 import WeightsDescr

from eseg_export.card import Card, card_of
from eseg_export.compatibility.verdicts import Verdict, judge, refuse_faults
from eseg_export.evaluation import Evaluation, evaluation_of
from eseg_export.finished import FinishedPackage, read_package
from eseg_export.former import former_statements
from eseg_export.names import refuse_unusable_names
from eseg_export.rdf import Evidence, describe, package_files
from eseg_export.review.items import missing_for_publication
from eseg_export.sample import as_shipped, write_samples
from eseg_export.template import load_template
from eseg_export.to_onnx import to_onnx
from eseg_export.to_state_dict import to_state_dict
from eseg_export.to_torchscript import to_torchscript
from eseg_export.verify import Measurement, Progress, ask_github, measure, one_thread, run_zoo_tests
from eseg_export.words import Results, Story, tell
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError, InputError, OutputError
from eseg_zoo.output import (
    followed,
    hidden,
    make_folder,
    owning,
    refuse_existing,
    refuse_inputs,
)

_NO_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can state


@dataclass(frozen=True)
class Package:
    """A package that passed every test."""

    path: Path
    measured: tuple[Measurement, ...]
    verdicts: tuple[Verdict, ...]  # what it is for each consumer
    missing: list[str]  # what the zoo's reviewers will ask for
    unchecked: str | None = None  # what could not be checked without network


class TrainedModel(Protocol):
    """A model in memory, such as `eseg_zoo.Model`."""

    @property
    def checkpoint(self) -> Checkpoint: ...


def export(
    model: str | Path | Checkpoint | TrainedModel,
    out: str | Path | None = None,
    *,
    card: str | Path | Mapping[str, Any] | Card | None = None,
    template: str | Path | None = None,
    evaluation: str | Path | Mapping[str, Any] | Evaluation | None = None,
    date: datetime | None = None,
    force: bool = False,
    progress: Progress = lambda _: None,
) -> Package:
    """Write the package and return what was measured; it appears at `out` only after every test has passed.

    Args:
        model: the path of a checkpoint or of a package that was made of one, or a model in memory. Card, built-in
            template and evaluation come out of a package too, where they are not given.
        out: the zip to write; by default `<checkpoint>.zip`, and for a package or a model in memory it must be given.
        card: what you state about the model, as the path of a YAML file, as a mapping of its keys, or as a `Card`.
        template: the name of a built-in one or the path of a YAML file; by default `em2d` or `em3d`.
        evaluation: figures that `eseg evaluate --json` wrote, as its path or as a mapping, to be shown in the package.
        date: of the package; by default that in SOURCE_DATE_EPOCH (seconds since 1970), or else now. Apart from it two
            exports of one checkpoint are the same, byte for byte.
        force: replace an existing package.
        progress: is called with a line for each thing that is being done.

    Raises:
        CheckpointError: the file is not a checkpoint.
        ConfigError: card, template or evaluation have a mistake, or a name cannot stand in a package.
        ExportError: an exported file differs from the checkpoint, or a test of the zoo fails.
        InputError: `model` is nothing that can be exported.
        OutputError: `out` is missing, not a .zip, exists, is an input, not a regular file or being written by another
            command, or cannot be written.
    """
    out = _destination(model, out)
    _refuse_other_than_files(out)
    refuse_existing(out, force=force)
    refuse_inputs([out], [Path(one) for one in (model, card, evaluation) if isinstance(one, str | Path)])
    date = date or _today()
    checkpoint = as_shipped(_checkpoint_of(model, progress))
    refuse_unusable_names(checkpoint)
    former = former_statements(model, checkpoint.class_names)
    stated = card_of(former.card if card is None else card)
    figures = evaluation_of(former.evaluation if evaluation is None else evaluation, checkpoint.class_names)
    unchecked = ask_github(stated.github_users)
    story = tell(checkpoint, stated, load_template(str(template or former.template or f"em{checkpoint.dims}d")))
    make_folder(out.parent)
    try:
        # Beside its destination: whether it can be written shows at once, and the last step is a mere rename.
        with owning(out) as owner, hidden(followed(out)) as folder:
            folder.mkdir()
            made = _make(checkpoint, story, folder, date, figures, progress)
            owner.require()
            os.replace(made.path, followed(out))
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    return replace(made, path=out, unchecked=unchecked)


def _destination(model: object, out: str | Path | None) -> Path:
    """Return where the package goes; raises `OutputError` when nothing says it."""
    if out is not None:
        if Path(out).suffix.lower() != ".zip":
            raise OutputError(f"out is {out}; a package is a zip file, so its name must end in .zip")
        return Path(out)
    if isinstance(model, str | Path) and Path(model).suffix.lower() == ".zip":
        raise OutputError(f"out is not given; {model} is a package, which its own export does not replace")
    if isinstance(model, str | Path):
        return Path(model).with_suffix(".zip")
    raise OutputError("out is not given; a model in memory needs it, such as out='model.zip'")


def _refuse_other_than_files(out: Path) -> None:
    """Raise `OutputError` for a folder, a link or a device in the place of the package: it is never replaced."""
    if out.is_symlink() or (out.exists() and not out.is_file()):
        kind = "link" if out.is_symlink() else "folder" if out.is_dir() else "device"
        raise OutputError(f"{out} is a {kind}; a package replaces nothing but a file")


def _today() -> datetime:
    """Return the date in SOURCE_DATE_EPOCH, or else now; raises `ConfigError` when it is no number of seconds."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return datetime.now(UTC)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"SOURCE_DATE_EPOCH is {epoch[:40]}; it must be the seconds since 1970") from error


def _checkpoint_of(model: object, progress: Progress) -> Checkpoint:
    """Return the checkpoint of a file or of a model in memory; raises `InputError` for anything else."""
    if isinstance(model, str | Path):
        progress(f"reading {model}")
        return Checkpoint.load(Path(model))
    checkpoint = getattr(model, "checkpoint", model)
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    raise InputError(f"model is of type {type(model).__name__}; it must be a path, a Checkpoint or a trained model")


def _make(
    checkpoint: Checkpoint,
    story: Story,
    folder: Path,
    date: datetime,
    evaluation: Evaluation | None,
    progress: Progress,
) -> Package:
    """Write the package into `folder` and test it there; returns it as it lies there."""
    with one_thread():  # sums depend on how they are divided among threads, and so would weights and test output
        finished, measured = _write(checkpoint, story, folder, date, evaluation, progress)
    progress("checking the finished package against what its consumers accept")
    content = read_package(finished)
    verdicts = judge(content)
    refuse_faults(verdicts)
    progress("running the zoo's own tests on the finished package")
    run_zoo_tests(finished)
    return Package(finished, measured, verdicts, missing_for_publication(content))


def _write(
    checkpoint: Checkpoint,
    story: Story,
    folder: Path,
    date: datetime,
    evaluation: Evaluation | None,
    progress: Progress,
) -> tuple[Path, tuple[Measurement, ...]]:
    """Write the package into `folder`; returns it with what was measured of its weights."""
    progress("writing state dict, TorchScript and ONNX")
    weights = write_weights(checkpoint, folder)
    measured = measure(checkpoint, weights, progress)
    progress("writing test data, and emulating the rounding of a GPU on it")
    samples = write_samples(checkpoint, folder)
    progress("writing README, pictures and description")
    evidence = Evidence(weights, measured, samples, date, evaluation)
    model = describe(checkpoint, story, evidence, folder)
    finished = folder / "package.zip"

    def tell_all(rest: FinishedPackage) -> str:
        return story.readme(checkpoint, Results(measured, judge(rest), samples.reproducibility, evaluation))

    _write_zip(package_files(model, tell_all), finished)
    return finished, measured


def write_weights(checkpoint: Checkpoint, folder: Path) -> WeightsDescr:
    """Write every weights file into `folder`; returns their description."""
    with ValidationContext(perform_io_checks=False):
        return WeightsDescr(
            pytorch_state_dict=to_state_dict(checkpoint, folder),
            torchscript=to_torchscript(checkpoint, folder),
            onnx=to_onnx(checkpoint, folder),
        )


def _write_zip(content: Mapping[str, bytes], path: Path) -> None:
    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w") as package:
            for name, data in content.items():
                entry = zipfile.ZipInfo(name, _NO_DATE)  # the same content is the same file
                entry.external_attr = 0o644 << 16  # readable by everybody; the default is the owner alone
                package.writestr(entry, data, zipfile.ZIP_DEFLATED)
        file.flush()
        os.fsync(file.fileno())
