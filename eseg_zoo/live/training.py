"""`start_training`, and the training that it returns: it runs in a thread beside the program that looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from os import PathLike
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

import xarray as xr

from eseg_zoo.api import Model, as_list, settings_of, start_of
from eseg_zoo.config import Run
from eseg_zoo.errors import ConfigError, InputError, StoppedError
from eseg_zoo.inference.network import Predictor
from eseg_zoo.live.learner import Learner
from eseg_zoo.live.preview import Part, Region, maps_of
from eseg_zoo.live.requests import Requests, Result
from eseg_zoo.training.data import open_pairs, read_training_data, with_labels
from eseg_zoo.training.length import with_steps
from eseg_zoo.training.machine import device_of
from eseg_zoo.training.warm import WarmStart

State = Literal["reading", "training", "finished", "stopped", "failed"]

# Supervised steps before unlabelled pixels join: fewer than the command's, so that maps get better soon. With 100 the
# rate of learning falls too early: after 80 steps the mean Dice was 0.32 instead of 0.37 to 0.41 (`first_map.py`).
SUPERVISED_STEPS = 200


@dataclass(frozen=True)
class LiveProgress:
    """How far a live training is."""

    state: State
    """`reading` the images; `training`; `finished`, when all steps are made, and waiting for labels; `stopped`; or
    `failed`, with an `error`."""
    stage: str = ""
    step: int = 0  # of all stages
    steps: int = 0  # that there will be, if no labels change
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """`seconds` since the images were read, the `loss` of the last step, and the `dice` of held-out labels, if any."""
    is_worth_a_look: bool = False  # whether a map shows more than chance
    error: Exception | None = None


Changed = Callable[[LiveProgress], None]


class LiveTraining:
    """A training that runs beside the program, in a thread of its own; see `start_training`.

    What is asked of it is done between two steps, in the order in which it was asked, and answered by a `Future`:
    `result()` waits, `add_done_callback` does not (it is called in the training's thread), and `cancel()` takes back
    what has not begun. Errors are raised by `result()`. No method but `stop`, `wait` and `close` waits for the
    training. The same settings, data and labels at the same steps give the same weights, whatever is looked at.
    """

    def __init__(self, run: Run, images: list[Any], labels: list[Any], start: WarmStart | None, changed: Changed):
        self._requests, self._stopping, self._over = Requests(), threading.Event(), threading.Event()
        self._progress, self._changed = LiveProgress("reading"), changed
        self._learner: Learner | None = None
        self._thread = threading.Thread(
            target=self._work, args=(run, images, labels, start), name="eseg_zoo training", daemon=True
        )
        self._thread.start()

    @property
    def progress(self) -> LiveProgress:
        """How far the training is."""
        return self._progress

    def preview(
        self, region: Region = MappingProxyType({}), *, image: int = 0,
        what: Collection[str] = ("classes", "uncertainty"),
    ) -> Future[xr.Dataset]:  # fmt: skip
        """Return the maps of a region of an image by the newest weights, corrected as a finished model's are.

        `region` maps axes to a pixel or to a slice of pixels, such as `{"z": 12}` or `{"z": 3, "y": slice(0, 512), "x":
        slice(0, 512)}`; of the axes that it leaves out all is taken. `image` is the number of the image, `what` are
        some of `classes` (label values), `probabilities` (class, ...) and `uncertainty`, as in `Model.predict`. The
        dataset's coordinates are pixels of the image, its attributes `step` and `classes`. It waits until a map shows
        more than chance, and steps wait for it. `InputError` for a region that the image does not have.
        """

        def work(learner: Learner) -> xr.Dataset:
            images = learner.data.images
            if not 0 <= image < len(images):
                raise InputError(f"image is {image}; the training has images 0 to {len(images) - 1}")
            part = Part.of(images[image], region)
            maps = maps_of(Predictor(learner.checkpoint()), part, what, self._check)
            return maps.assign_attrs(step=learner.step_number)

        return self._requests.ask(work, is_map=True)

    def set_labels(
        self, labels: Any, *, classes: Mapping[int, str] | None = None, colours: Mapping[str, str] | None = None
    ) -> Future[None]:
        """Go on with these labels instead, one for each image; `classes` may be others, matched by name.

        `colours` are theirs, `#rrggbb` by name; by default other classes have those of the palette.

        Arrays are read when it is their turn: do not change one that was given. `InputError` and `ConfigError` for
        labels that cannot be used; the training then goes on with those it had.
        """

        def work(learner: Learner) -> None:
            changed: dict[str, Any] = {}
            if classes is not None:
                changed = {"classes": dict(classes), "colours": dict(colours or {})}
            run = Run.checked(learner.run.model_dump(exclude_unset=True) | changed, "set_labels")
            pairs = open_pairs(run, learner.data.images, as_list(labels))
            learner.relabel(run, with_labels(learner.data, run, pairs))
            self._tell("training")

        return self._requests.ask(work)

    def model(self) -> Future[Model]:
        """Return the model of the newest weights, while the training goes on."""
        return self._requests.ask(lambda learner: Model(learner.checkpoint()))

    def use_model(self, work: Callable[[Model], Result]) -> Future[Result]:
        """Call a function with the model of the newest weights, in the training's thread, and return its result.

        It waits until a map shows more than chance, and steps wait for it: on a machine with few cores both would take
        longer side by side, and so would the program.
        """
        return self._requests.ask(lambda learner: work(Model(learner.checkpoint())), is_map=True)

    def wait(self, timeout: float | None = None) -> LiveProgress:
        """Wait until all steps are made, or for so many seconds; return how far it is, or raise what ended it."""
        self._over.wait(timeout)
        if self._progress.error:
            raise self._progress.error
        return self._progress

    def stop(self) -> Model:
        """End the training after the step at hand, and return its model: the best one by the held-out labels, if any.

        It takes a second or so. Whatever is still asked for raises `StoppedError`. Raises the error that the training
        ended with, and `StoppedError` where it had not begun.
        """
        self.close()
        if self._progress.error:
            raise self._progress.error
        if self._learner is None:
            raise StoppedError("the training was stopped before its images were read")
        return Model(self._learner.checkpoint(best=True))

    def close(self, *, wait: bool = True) -> None:
        """End the training after the step at hand, or when its images are read; nothing is returned or raised.

        It ends by itself where one does not `wait` for it.
        """
        self._stopping.set()
        self._requests.wake()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _work(self, run: Run, images: list[Any], labels: list[Any], start: WarmStart | None) -> None:
        """Train until it is stopped or fails: what the thread does."""
        error: Exception | None = None
        try:
            learner = Learner(run, read_training_data(run, open_pairs(run, images, labels)), start)
            self._learner = learner
            self._go_on(learner)
        except StoppedError:
            pass
        except Exception as found:  # noqa: BLE001  whatever it is, those who wait for an answer get it
            error = found
        self._requests.end(error or StoppedError("the training was stopped"))
        self._tell("failed" if error else "stopped", error)

    def _go_on(self, learner: Learner) -> None:
        """Make step after step, and between them what is asked for."""
        self._tell("training")
        while not self._stopping.is_set():
            self._requests.serve(learner)
            if self._stopping.is_set():
                return
            if learner.step():
                self._tell("training")
            elif not self._requests.serve(learner):
                if self._progress.state != "finished":
                    self._tell("finished")
                self._requests.wait()

    def _tell(self, state: State, error: Exception | None = None) -> None:
        learner = self._learner
        if learner is None:
            self._progress = LiveProgress(state, error=error)
        else:
            self._progress = LiveProgress(
                state, learner.stage, learner.step_number, learner.total, MappingProxyType(dict(learner.figures)),
                learner.is_worth_a_look, error,
            )  # fmt: skip
        if state in ("reading", "training"):
            self._over.clear()
        else:
            self._over.set()
        self._changed(self._progress)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise StoppedError("the training was stopped")


def start_training(
    images: Any,
    labels: Any,
    *,
    start_from: Model | str | PathLike[str] | None = None,
    changed: Changed = lambda progress: None,
    **settings: Any,
) -> LiveTraining:
    """Start a training beside the program, and return it at once.

    It is what `train` does, in the order that one who waits wants: `images` and `labels` are one each, or lists of
    them, paths or arrays, and settings are named as in the YAML file. `classes` may be left out with `start_from`, a
    model or its file, from which the training goes on. Without it, and without `training={"steps": ...}`, unlabelled
    pixels join after 200 steps already. A step has no more labelled patches than there are strokes. Nothing is written.

    `changed` is called with the progress after every step, in the training's thread; it must be quick.

    Raises `ConfigError` for settings that cannot be, and `CheckpointError` for a file that is no model; images and
    labels are read in the thread, and what is wrong with them is told by all that is asked of the training.

        with eseg_zoo.start_training(images, labels, classes={1: "membrane", 2: "cytoplasm"}) as live:
            maps = live.preview({"z": 12}).result()
            live.set_labels(more).result()
            model = live.stop()
    """
    start = None if start_from is None else start_of(start_from)
    given = dict(settings)
    if start:
        given = Model(start.checkpoint).own_settings(images) | given
    run = settings_of(images, labels, {"out": ".", **given}, start)
    if run.preset is None:
        run = run.with_preset("small" if device_of(run.training) == "cpu" else "default")
    if run.preset == "paper":
        raise ConfigError("preset is paper, whose training cannot be watched; choose small or default")
    if start is None and "steps" not in given.get("training", {}):
        run = with_steps(run, training=SUPERVISED_STEPS)
    return LiveTraining(run, as_list(images), as_list(labels), start, changed)
