"""The report of a training in its folder: what the folder knows, handed to `report`, and the page beside the model."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.errors import ConfigError, EsegError, InputError
from eseg_zoo.images.image import first_line
from eseg_zoo.images.opening import files_of_source
from eseg_zoo.output import make_folder, refuse_existing, refuse_inputs, refuse_other_than_file
from eseg_zoo.training.data import LabelledImage, open_pairs
from eseg_zoo.training.folder import Begun

log = logging.getLogger(__name__)

NAME = "report.html"


def report_after(out: Path, pairs: Sequence[LabelledImage] | None = None, *, force: bool) -> None:
    """Write the report of a training that has just ended; whatever goes wrong is one warning, as the model is there.

    `pairs` are its images and labels where they are not in files; `force` replaces an earlier report.
    """
    log.info("Writing the report.")
    try:
        write_report(out, pairs=pairs, force=force)
    except KeyboardInterrupt:
        log.warning("The report was interrupted; eseg report %s makes it", out)
    except Exception as error:  # noqa: BLE001 -- a report must never cost a training
        reason = error if isinstance(error, EsegError) else f"{type(error).__name__}: {first_line(error)}"
        log.warning("The model is written, but its report is not (%s); eseg report %s makes it", reason, out)


def write_report(
    out: Path, path: Path | None = None, *, pairs: Sequence[LabelledImage] | None = None, force: bool = False
) -> Path:
    """Write the report of the training in a folder, by default as `report.html` there; returns its path.

    Images and labels are opened where the run says; where they are not there any more the page is without pictures, and
    says so. Raises `CheckpointError` where the folder has no model, and `OutputError` when the file exists and `force`
    is not set, when it is an input of the training, or when it cannot be written.
    """
    from eseg_zoo.report.gather import Trained, gather  # matplotlib takes its time
    from eseg_zoo.report.page import write_page

    target, model = path or out / NAME, out / "model.pt"
    refuse_existing(target, force=force)
    refuse_other_than_file(target)
    checkpoint, begun = Checkpoint.load(model), Begun.read(out)
    lacking = ""
    if pairs is None:
        try:
            run = _run_of(out, begun, checkpoint)
            refuse_inputs([path] if path else [], [model, *_inputs(run)])
            with _untold():
                pairs = open_pairs(run)
        except (ConfigError, InputError) as error:
            pairs, lacking = [], first_line(error)
    report = gather(
        Trained(
            checkpoint, model, planned=begun.planned if begun else checkpoint.training.steps,
            is_finished=begun is None or begun.is_finished(out),
            pairs=[(pair.image, pair.labels) for pair in pairs], lacking=lacking,
        )
    )  # fmt: skip
    if report.lacking:
        log.warning("The report is without pictures: %s", report.lacking)
    make_folder(target.parent)
    write_page(report, target, force=force)
    return target


def _run_of(out: Path, begun: Begun | None, checkpoint: Checkpoint) -> Run:
    """Return the settings of a training with its paths as seen from here; raises `ConfigError` for those of old."""
    if begun is None:
        return Run.checked(checkpoint.settings, out / "model.pt")
    return Run.checked(begun.settings, out / "run.json").with_paths(lambda path: Path(os.path.normpath(out / path)))


def _inputs(run: Run) -> list[Path]:
    given = [*run.images, *(one.file for files in run.labels for one in files)]
    return [file for path in given for file in files_of_source(str(path))]


@contextmanager
def _untold() -> Iterator[None]:
    """Open images without saying again what was said of them when the training opened them."""
    logger = logging.getLogger("eseg_zoo")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
