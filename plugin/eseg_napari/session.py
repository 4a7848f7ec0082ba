"""What is done in the window, without the window: an image, its classes and strokes, a training and its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eseg_napari.chosen_image import ChosenImage
from eseg_napari.classes import PaintClass, first_classes
from eseg_napari.exporting import Proof, export_beside
from eseg_napari.inputs import LARGEST, TrainingInputs, training_inputs
from eseg_napari.look import Maps, Seen, look
from eseg_napari.strokes import Snapshot, Strokes
from eseg_zoo.errors import ConfigError, InputError, StoppedError
from eseg_zoo.output import discard, unfinished

if TYPE_CHECKING:
    from eseg_zoo import LiveProgress, LiveTraining, Model
    from eseg_zoo.suggest.places import Place

Changed = Callable[["LiveProgress"], None]
Report = Callable[[str, int, int], None]
"""(what is done, parts that are finished, their number); it may raise to stop the work"""


@dataclass
class Session:
    """The state behind the window. What takes long is called in a thread beside it; one thread changes the fields."""

    chosen: ChosenImage | None = None  # None also while the checked layers do not fit
    painted_on: ChosenImage | None = None  # the image of the strokes, which are saved with it in any case
    classes: tuple[PaintClass, ...] = field(default_factory=first_classes)
    strokes: Strokes | None = None
    dims: int = 2  # spatial rank of the network
    settings: dict[str, Any] = field(default_factory=dict)  # further ones of a run, as in its YAML file
    largest: int = LARGEST  # bytes of an image that a training reads whole
    model: Model | None = None  # the newest that is finished
    training: LiveTraining | None = None
    inputs: TrainingInputs | None = None  # of the training

    def begin(self, chosen: ChosenImage) -> bool:
        """Take another image; returns whether its strokes are new ones, because it has another size."""
        is_other = self.strokes is None or self.strokes.shape != chosen.shape
        if is_other:
            self.strokes = Strokes(chosen.shape)
        if self.model and len(self.model.channels) != chosen.image.sizes["c"]:
            self.model = None
        self.chosen = self.painted_on = chosen
        return is_other

    @property
    def is_training(self) -> bool:
        """Whether a training goes on, or waits for more strokes."""
        return self.training is not None and self.training.progress.state in ("reading", "training", "finished")

    def train(self, changed: Changed) -> list[str]:
        """Start a training from the newest model, or anew; returns the names of classes that are left out.

        `changed` is called in the training's thread. Raises `InputError`, with what to do next, where too little is
        painted, and what `start_training` raises.
        """
        from eseg_zoo import start_training

        chosen, snapshot = self._painted()
        used = self._used(snapshot)
        self.inputs = training_inputs(chosen, snapshot, dims=self.dims, largest=self.largest)
        self.training = start_training(
            self.inputs.images, self.inputs.labels, start_from=self._start(), changed=changed,
            **self._run_settings(chosen, used),
        )  # fmt: skip
        return [one.name for one in self.classes if one not in used]

    def teach(self, changed: Changed) -> Future[None] | None:
        """Let the training go on with the strokes that there are now; None where it had to begin anew from its model.

        That is where parts of a large image are learnt from, and strokes are in others now.
        """
        if self.training is None:
            raise StoppedError("no training goes on")
        chosen, snapshot = self._painted()
        used = self._used(snapshot)
        inputs = training_inputs(chosen, snapshot, dims=self.dims, largest=self.largest)
        if self.inputs is None or inputs.windows != self.inputs.windows:
            self.stop()
            self.train(changed)
            return None
        self.inputs = inputs
        return self.training.set_labels(
            inputs.labels,
            classes={one.value: one.name for one in used},
            colours={one.name: one.colour for one in used},
        )

    def stop(self) -> Model:
        """End the training and keep its best model; raises what it ended with."""
        if self.training is None:
            raise StoppedError("no training goes on")
        training, self.training = self.training, None
        if training.progress.state == "reading":  # which does not end half-way, and there is no model to wait for
            training.close(wait=False)
            raise StoppedError("the training was stopped before its images were read")
        self.model = training.stop()
        return self.model

    def close(self) -> None:
        """End the training without a model."""
        training, self.training = self.training, None
        if training is not None:
            training.close()

    def newest_model(self) -> Future[Model]:
        """Return the model of this moment: the training's, or the finished one.

        Raises `InputError` where there is none.
        """
        if self.training is not None and self.is_training:
            return self.training.model()
        self.require_model()
        answer: Future[Model] = Future()
        assert self.model is not None, "it is required"
        answer.set_result(self.model)
        return answer

    @property
    def has_model(self) -> bool:
        """Whether there is a model, or one is being made."""
        return self.model is not None or self.is_training

    def require_model(self) -> None:
        """Raise `InputError` where there is no model, and none is being made."""
        if not self.has_model:
            raise InputError("there is no model yet: paint a few strokes of each class and press Train")

    def look(self, part: Seen, check: Callable[[], None]) -> Maps:
        """Return the maps of a part of the image by the newest model; `check` may raise to stop it.

        A training makes them itself, between two steps. Raises `InputError` where there is no model.
        """
        chosen, training = self._image(), self.training

        def work(model: Model) -> Maps:
            check()
            return look(model, chosen.image, chosen.axes, part, check)

        if training is not None and self.is_training:
            return training.use_model(work).result()
        return work(self.newest_model().result())

    def suggest(self, model: Model, *, count: int, report: Report) -> list[Place]:
        """Return places to label next, the best first."""
        chosen, snapshot = self._painted()
        values = {one.value for one in model.classes}
        return model.suggest(
            chosen.image, snapshot.only(values).image(chosen.axes), count=count,
            progress=lambda step: report("looking for places", step.done, step.total),
        )  # fmt: skip

    def predict_to(
        self, model: Model, out: Path, *, slices: str | None, uncertainty: bool, report: Report
    ) -> dict[str, Path]:
        """Write the maps of the whole image, or of some slices, and return their files.

        `out` must be a name that is free: where `report` stops the work, nothing is left of it.
        """
        try:
            return model.predict_to(
                self._image().image, out, slices=slices, uncertainty=uncertainty, force=True,
                progress=lambda step: report("predicting", step.done, step.total),
            )  # fmt: skip
        except StoppedError:
            for left in (out, unfinished(out)):
                discard(left)
            raise

    def export(
        self, model: Model, out: Path, card: Mapping[str, Any], *, microscopy: str, force: bool, report: Report,
        check: Callable[[], None],
    ) -> Proof:  # fmt: skip
        """Write the package of a model and return what was proven of it; `check` may raise to stop it."""
        steps = 0

        def tell(line: str) -> None:
            nonlocal steps
            steps += 1
            report(line, steps, 0)

        template = f"{microscopy}{model.dims}d"
        return export_beside(model, out, card, template=template, force=force, tell=tell, check=check)

    def _image(self) -> ChosenImage:
        if self.chosen is None:
            raise InputError("no image is chosen: open one, and check its box in the list")
        return self.chosen

    def _painted(self) -> tuple[ChosenImage, Snapshot]:
        chosen = self._image()
        assert self.strokes is not None, "they come with the image"
        return chosen, self.strokes.snapshot()

    def _used(self, snapshot: Snapshot) -> list[PaintClass]:
        """Return the classes that are painted; raises `InputError` for fewer than two."""
        painted = snapshot.values()
        used = [one for one in self.classes if one.value in painted]
        if not used:
            raise InputError(
                "nothing is painted yet: choose a class (keys 1 to 9), paint a short stroke inside it, and do the same "
                "for each class"
            )
        if len(used) < 2:
            lacking = " or ".join(one.name for one in self.classes if one not in used)
            raise InputError(f"only {used[0].name} is painted: paint a stroke of {lacking} too, then press Train")
        return used

    def _start(self) -> Model | None:
        """Return the model to go on from: the newest, if it is of this image and this kind of network."""
        return self.model if self.model is not None and self.model.dims == self.dims else None

    def _run_settings(self, chosen: ChosenImage, used: list[PaintClass]) -> dict[str, Any]:
        if self.dims == 3 and chosen.image.sizes["z"] == 1:
            raise ConfigError(f"{chosen.name} has one slice along z: learn from slices, or choose axes with a z")
        settings = {
            **self.settings,
            "axes": chosen.image.axes,
            "classes": {one.value: one.name for one in used},
            "colours": {one.name: one.colour for one in used},
        }
        if self._start() is None:
            settings["network"] = {**self.settings.get("network", {}), "dims": self.dims}
        else:  # a network keeps its shape, and the preset would give another one
            settings = {key: value for key, value in settings.items() if key not in ("network", "preset")}
        return settings
