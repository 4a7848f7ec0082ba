"""What the panel Train asks for: a training begins, learns of new strokes, tells how far it is, and ends."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QTimer

from eseg_napari.looking import Looker
from eseg_napari.saving import Saver
from eseg_napari.session import Session
from eseg_napari.tasks import Task, Tasks, tell_error
from eseg_napari.training_panel import TrainingPanel
from eseg_zoo.errors import StoppedError

if TYPE_CHECKING:
    from eseg_zoo import LiveProgress, Model

TAUGHT_AFTER = 1.5  # seconds after the last of several strokes


class Trainer:
    """Has the session train, in threads, and shows what comes of it."""

    def __init__(self, session: Session, panel: TrainingPanel, looker: Looker, saver: Saver, tasks: Tasks):
        self.session, self.panel, self.looker, self.saver, self.tasks = session, panel, looker, saver, tasks
        self._progress: LiveProgress | None = None
        self._is_posted = False
        self._teaching = QTimer(tasks)
        self._teaching.setSingleShot(True)
        self._teaching.timeout.connect(self._teach)
        panel.started.connect(self.start)
        panel.stopped.connect(self.stop)
        panel.dims_changed.connect(self._set_dims)

    def take(self, model: Model) -> None:
        """Go on from a model that is there."""
        self.session.model = model
        self.panel.show_state(is_training=False, line=f"{_told(model)} Train goes on from it.")

    def start(self) -> None:
        """Start a training; it is looked at as soon as it is worth it."""
        self.panel.show_state(is_training=True, is_busy=True, line="Starting…")
        self._progress = None

        def failed(error: Exception) -> None:
            self.panel.show_state(is_training=False, line="")
            tell_error(error)

        def done(left_out: list[str]) -> None:
            if self.session.is_training:  # it may have failed already
                self.panel.show_state(is_training=True)
            self._show_progress()  # what it told before it was known here
            if not self.session.is_training:
                return
            self.saver.save()
            if left_out:
                show_info(f"{', '.join(left_out)} has no strokes and is left out; paint some to have it learnt")
            if not self.looker.panel.button.isChecked():
                self.looker.panel.button.setChecked(True)

        self.tasks.start(lambda task: self.session.train(self._trained), done, failed=failed)

    def stop(self) -> None:
        """End the training and keep its best model."""
        if self.session.training is None:
            return
        self._teaching.stop()
        self.looker.give_up()  # the training would finish the map first
        self.panel.show_state(is_training=True, is_busy=True, line="Stopping…")

        def done(model: Model) -> None:
            self.take(model)
            self.saver.save()
            self.looker.model_changed()

        def failed(error: Exception) -> None:
            self.panel.show_state(is_training=False, line="The training was stopped before there was a model.")
            tell_error(error)

        self.tasks.start(lambda task: self.session.stop(), done, failed=failed)

    def stop_now(self, patience: float) -> None:
        """End the training and keep its best model, where that takes no longer than so many seconds."""

        def work() -> None:
            try:
                self.session.stop()
            except Exception as error:  # noqa: BLE001  there is no model then, and nobody to tell
                tell_error(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(patience)

    def close(self) -> None:
        """End the training without a model, in a thread."""
        if self.session.training is not None:
            self.looker.give_up()
            self.panel.show_state(is_training=False, line="")
            self.tasks.start(lambda task: self.session.close())

    def teach_soon(self) -> None:
        """Let the training learn of strokes and classes that have changed, when the hand rests."""
        if self.session.is_training:
            self._teaching.start(int(1000 * TAUGHT_AFTER))

    def _set_dims(self, dims: int) -> None:
        self.session.dims = dims

    def _trained(self, progress: LiveProgress) -> None:
        """Show the newest progress soon; the training calls it in its thread, much more often than that."""
        self._progress = progress
        if not self._is_posted:
            self._is_posted = True
            self.tasks.post(self._show_progress)

    def _show_progress(self) -> None:
        self._is_posted = False
        progress = self._progress
        if progress is None or self.session.training is None:
            return
        if progress.state == "failed" and progress.error is not None:
            self._progress = None  # it is told once
            self.tasks.start(lambda task: self.session.close())
            self.panel.show_state(is_training=False, line="The training failed. The strokes are safe.")
            tell_error(progress.error)
            self.saver.save()
            return
        if progress.state == "stopped" or not self.panel.button.isEnabled():
            return
        self.panel.show_progress(progress)
        if progress.is_worth_a_look:
            self.looker.model_changed()

    def _teach(self) -> None:
        if not self.session.is_training or not self.panel.button.isEnabled():
            return

        def work(task: Task) -> None:
            answer = self.session.teach(self._trained)
            if answer is not None:
                answer.result()

        def failed(error: Exception) -> None:
            if not isinstance(error, StoppedError):
                show_warning(f"The training goes on with the strokes before: {str(error).splitlines()[0]}")

        self.tasks.start(work, lambda result: self.looker.labels_changed(), failed=failed)


def _told(model: Any) -> str:
    dice = model.checkpoint.training.validation.get("mean_dice")
    judged = "" if dice is None else f" Dice {dice:.2f} on held-out strokes."
    return f"There is a model of {', '.join(one.name for one in model.classes)}.{judged}"
