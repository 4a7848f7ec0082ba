"""The dock widget: what its parts ask for is done here, with the session, the project and the layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QFileDialog, QFrame, QGroupBox, QLabel, QMessageBox, QScrollArea, QVBoxLayout, QWidget

from eseg_napari import classes as paint_classes
from eseg_napari.chosen_image import choose
from eseg_napari.classes_panel import ClassesPanel
from eseg_napari.image_panel import ImagePanel
from eseg_napari.layers import add_channels, add_image
from eseg_napari.look_panel import LookPanel
from eseg_napari.looking import Looker
from eseg_napari.opening import Opened, open_path
from eseg_napari.painting import Painter
from eseg_napari.places import NextPlaces
from eseg_napari.project import RUN, short
from eseg_napari.results import Results
from eseg_napari.results_panel import ExportPanel, PredictPanel
from eseg_napari.saving import Saver
from eseg_napari.session import Session
from eseg_napari.strokes import Count
from eseg_napari.tasks import Task, Tasks
from eseg_napari.trainer import Trainer
from eseg_napari.training_panel import TrainingPanel
from eseg_zoo.errors import EsegError, InputError

COUNTED_AFTER = 0.4  # seconds after a stroke
LAST_CHANCE = 10.0  # seconds that a window which is closed waits for the model of its training


class EsegWidget(QWidget):  # type: ignore[misc]
    """Paint, train, look, export: the parts from top to bottom."""

    def __init__(self, napari_viewer: Any):
        super().__init__()
        self.viewer, self.session = napari_viewer, Session()
        self.tasks = Tasks(self)
        self.counts: dict[int, Count] = {}
        self.is_closed = False
        self.image, self.classes, self.training = ImagePanel(napari_viewer), ClassesPanel(), TrainingPanel()
        self.look, self.predict, self.export = LookPanel(), PredictPanel(), ExportPanel()
        self.painter = Painter(napari_viewer, self.choose_class)
        self.looker = Looker(napari_viewer, self.session, self.look, self.painter, self.tasks)
        self.places = NextPlaces(napari_viewer, self.session, self.look, self.painter, self.tasks)
        self.results = Results(self)
        self.folder = QLabel()
        self.saver = Saver(self.session, self.tasks, self.folder.setText)
        self.trainer = Trainer(self.session, self.training, self.looker, self.saver, self.tasks)
        self.folder.setWordWrap(True)
        self._lay_out()
        self._connect()
        self._counting = QTimer(self)
        self._counting.setSingleShot(True)
        self._counting.timeout.connect(self._count)
        self.tasks.start(_import_slow_modules)
        self._show_classes()
        self._image_changed()

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        parts = (
            ("1  Image", self.image), ("2  Classes: paint strokes of each", self.classes), ("3  Train", self.training),
            ("4  Look", self.look), ("5  Predict all", self.predict), ("6  Export for the Model Zoo", self.export),
        )  # fmt: skip
        for title, panel in parts:
            box = QGroupBox(title)
            inside = QVBoxLayout(box)
            inside.setContentsMargins(6, 4, 6, 6)
            inside.addWidget(panel)
            column.addWidget(box)
        column.addWidget(self.folder)
        column.addStretch(1)
        self._scroll = scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidget(inner)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def _connect(self) -> None:
        self.image.changed.connect(self._image_changed)
        self.image.opened.connect(self._ask_what_to_open)
        self.image.project_opened.connect(self.ask_for_project)
        self.classes.selected.connect(self._paint_with)
        self.classes.renamed.connect(self._rename)
        self.classes.recoloured.connect(self._recolour)
        self.classes.added.connect(self._add_class)
        self.classes.removed.connect(self._remove_class)
        self.viewer.bind_key("n", lambda viewer: self.places.next(), overwrite=True)
        self.viewer.bind_key("k", lambda viewer: self.look.button.toggle(), overwrite=True)

    # The image

    def open(self, path: Path, *, axes: str | None = None) -> None:
        """Show what a path holds, and go on with what was done with it; it is read in a thread."""
        project = self.saver.project
        if project is not None and path.resolve() in (project.folder.resolve(), project.folder.resolve() / RUN):
            show_info(f"{short(project.folder)} is open here")
            return
        self.image.facts.setText(f"Opening {path}…")

        def work(task: Task) -> Opened:
            opened = open_path(path, axes=axes)
            if task.is_given_up and opened.project is not None:
                opened.project.leave()
            return opened

        self.tasks.start(work, self.show_opened, ended=self._tell_image)

    def show_opened(self, opened: Opened) -> None:
        """Show an image that was opened, with its classes, strokes and model."""
        self.trainer.close()
        self.saver.save_now()
        self.saver.leave()
        self.session.strokes = self.session.painted_on = self.session.model = self.session.chosen = None
        self.session.settings = opened.settings
        layers = add_image(self.viewer, opened.image, opened.source)
        if opened.classes:
            self.session.classes = opened.classes
        self.session.strokes, self.session.dims = opened.strokes, opened.dims
        self.training.dims.setCurrentIndex(self.training.dims.findData(opened.dims))
        self.image.check(layers, opened.axes)
        if self.session.chosen is not None and opened.model is not None:
            self.trainer.take(opened.model)
        self.saver.project = opened.project
        for note in opened.notes:
            show_warning(note)
        self._tell_image()

    def _ask_what_to_open(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, "Open an image, a run.yaml or an ilastik project")
        if found:
            self.open(Path(found))

    def ask_for_project(self) -> None:
        """Open the folder of a project that a person chooses."""
        found = QFileDialog.getExistingDirectory(self, "Open the folder of a project")
        if found:
            self.open_project(Path(found))

    def open_project(self, folder: Path) -> None:
        """Go on with a project; another folder is told what a project is."""
        if (folder / RUN).is_file():
            self.open(folder)
        else:
            show_error(f"{short(folder)} is no project: it has no {RUN}. Choose a folder such as NAME_project")

    def _image_changed(self) -> None:
        """Take the checked layers for the image; where they do not fit, say what to do."""
        layers, axes = self.image.layers(), self.image.current_axes()
        if len(layers) == 1 and "c" in axes:
            names = add_channels(self.viewer, layers[0], axes)
            self.image.check(names, axes.replace("c", ""))
            return
        try:
            chosen = choose(layers, axes)
        except EsegError as error:
            self.session.chosen = None
            self.image.facts.setText(str(error))
            if layers:
                show_error(str(error))
            return
        strokes = self.session.strokes
        if strokes is not None and strokes.shape != chosen.shape:
            self.saver.save_now()  # before others take their place
        if self.session.begin(chosen):
            self.trainer.close()
            self.saver.leave()
        assert self.session.strokes is not None, "it has an image"
        self.session.strokes.changed = self._painted
        self.painter.show(chosen, self.session.strokes, self.session.classes)
        if self.viewer.dims.ndim == len(chosen.axes):
            self.viewer.dims.axis_labels = tuple(chosen.axes)
        # Later, as napari makes a layer that was just added the active one after it told of it.
        self.tasks.post(self.painter.to_the_top)
        self._show_classes()
        self._count()
        self._tell_image()

    def _tell_image(self) -> None:
        chosen = self.session.chosen
        if chosen is not None:
            self.image.facts.setText(chosen.image.describe())
            assert self.saver.folder is not None, "there is an image"
            self.folder.setText(f"Saved every minute, and on closing, in {short(self.saver.folder)}")

    # Classes and strokes

    def choose_class(self, value: int) -> None:
        """Select a class, as its key does."""
        self.classes.select(value)
        self._paint_with(value)

    def _paint_with(self, value: int) -> None:
        if self.session.chosen is not None and not self.painter.is_shown:  # it was removed by hand
            self._image_changed()
        self.painter.choose(value)

    def _set_classes(self, new: tuple[paint_classes.PaintClass, ...], selected: int | None = None) -> None:
        self.session.classes = new
        self._show_classes(selected)
        self.looker.show_classes()
        self.trainer.teach_soon()

    def _show_classes(self, selected: int | None = None) -> None:
        values = [one.value for one in self.session.classes]
        selected = selected or self.classes.value()
        selected = selected if selected in values else values[0]
        self.classes.show_classes(self.session.classes, self.counts, selected)
        self.painter.show_classes(self.session.classes)

    def _rename(self, value: int, name: str) -> None:
        try:
            self._set_classes(paint_classes.renamed(self.session.classes, value, name), value)
        except InputError as error:
            show_error(str(error))
            self._show_classes()

    def _recolour(self, value: int, colour: str) -> None:
        self._set_classes(paint_classes.recoloured(self.session.classes, value, colour))

    def _add_class(self) -> None:
        before = {one.value for one in self.session.classes}
        try:
            found = paint_classes.added(self.session.classes)
        except InputError as error:
            show_error(str(error))
            return
        new = next(one.value for one in found if one.value not in before)
        self._set_classes(found, new)
        self.painter.choose(new)

    def _remove_class(self, value: int) -> None:
        try:
            left = paint_classes.without(self.session.classes, value)
        except InputError as error:
            show_error(str(error))
            return
        count = self.counts.get(value, Count())
        name = next(one.name for one in self.session.classes if one.value == value)
        if count.pixels:
            question = f"{name} has {count.strokes} strokes, which are removed with it. Remove them?"
            if QMessageBox.question(self, "Remove class", question) != QMessageBox.StandardButton.Yes:
                return
            assert self.session.strokes is not None, "it has strokes"
            self.session.strokes.remove(value)
            self.painter.layer.refresh()
        self._set_classes(left)

    def _painted(self) -> None:
        """Count, and let the training learn, when the hand rests."""
        self._counting.start(int(1000 * COUNTED_AFTER))
        self.trainer.teach_soon()

    def _count(self) -> None:
        strokes = self.session.strokes
        if strokes is None:
            return

        def done(counts: dict[int, Count]) -> None:
            self.counts = counts
            self.classes.show_counts(counts)

        self.tasks.start(lambda task: strokes.snapshot().counts(), done)

    # The end

    def close_all(self) -> None:
        """End what runs, and save: called once, when the window closes."""
        if self.is_closed:
            return
        self.is_closed = True
        self.saver.close()
        self.looker.close()
        self.results.close()
        self.tasks.close()
        self.saver.save_now()
        if self.session.training is not None:
            self.trainer.stop_now(LAST_CHANCE)
            self.saver.save_now()
        self.saver.leave()

    def showEvent(self, event: Any) -> None:  # noqa: N802  Qt's name
        """Be wide enough, and watch the window that it is docked in, to save before that closes."""
        super().showEvent(event)
        self.window().installEventFilter(self)
        # Only now have its parts the sizes of napari's style.
        inner, bar = self._scroll.widget(), self._scroll.verticalScrollBar()
        self.setMinimumWidth(inner.minimumSizeHint().width() + bar.sizeHint().width())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  Qt's name
        """Save before the window closes."""
        if event.type() == QEvent.Type.Close and watched is self.window():
            self.close_all()
        return False

    def closeEvent(self, event: Any) -> None:  # noqa: N802  Qt's name
        """Save."""
        self.close_all()
        super().closeEvent(event)


def _import_slow_modules(task: Any) -> None:
    """Import torch and what else takes seconds, before it is needed."""
    import eseg_zoo.live.training  # noqa: F401
