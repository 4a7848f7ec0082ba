"""At every stage what goes on can be given up: the window is free at once, and nothing is left over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from conftest import QUICK, Wait
from eseg_napari import session as session_module
from eseg_zoo.errors import StoppedError
from painted import paint, told

SOON = 1.0  # seconds
Check = Callable[[], None]


class Waiting:
    """Work that takes for ever, and asks all the time whether it is given up."""

    def __init__(self) -> None:
        self.is_begun, self.is_over, self.free = threading.Event(), threading.Event(), threading.Event()

    def work(self, check: Check) -> None:
        self.is_begun.set()
        try:
            while not self.free.wait(0.01):
                check()
        finally:
            self.is_over.set()

    def look(self, model: Any, image: Any, axes: str, part: Any, check: Check) -> None:
        """What takes the place of `eseg_napari.look.look`."""
        self.work(check)
        raise AssertionError("it was not given up")


@pytest.fixture
def slow() -> Iterator[Waiting]:
    found = Waiting()
    yield found
    found.free.set()


@pytest.fixture
def painted(widget: Any, phantom: Any, strokes: Any) -> Any:
    widget.viewer.add_image(phantom.image, name="em")
    paint(widget, phantom, strokes)
    return widget


@pytest.fixture
def with_model(painted: Any, wait: Wait) -> Any:
    """The window with a model that knows little."""
    painted.session.settings = QUICK | {"training": {"steps": 2, "batch_size": 8}}
    painted.trainer.start()
    wait(lambda: painted.session.training is not None and painted.session.training.progress.state == "finished")
    painted.look.button.setChecked(False)
    painted.trainer.stop()
    wait(lambda: painted.session.model is not None and not painted.tasks._running)
    return painted


def soon(wait: Wait, found: Callable[[], bool]) -> None:
    began = time.monotonic()
    wait(found)
    assert time.monotonic() - began < SOON


def exports() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "eseg_napari.exporting" in one.cmdline()]


def test_a_training_that_reads_its_image_is_given_up(
    painted: Any, wait: Wait, slow: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*given: Any) -> Any:
        slow.is_begun.set()
        slow.free.wait()
        raise StoppedError("enough")

    monkeypatch.setattr("eseg_zoo.live.training.read_training_data", read)
    painted.trainer.start()
    wait(lambda: slow.is_begun.is_set() and painted.session.training is not None)
    painted.trainer.stop()
    soon(wait, lambda: painted.training.button.isEnabled() and painted.training.button.text() == "Train")
    assert painted.session.training is None
    assert painted.training.line.text() == "The training was stopped before there was a model."


@pytest.mark.slow
def test_a_training_that_makes_a_map_is_given_up(
    painted: Any, wait: Wait, slow: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "look", slow.look)
    painted.trainer.start()
    wait(slow.is_begun.is_set)
    painted.trainer.stop()
    soon(wait, slow.is_over.is_set)
    wait(lambda: painted.session.model is not None and painted.training.button.text() == "Train")


@pytest.mark.slow
def test_a_look_is_given_up(with_model: Any, wait: Wait, slow: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "look", slow.look)
    before = with_model.looker.made
    with_model.look.button.setChecked(True)
    wait(slow.is_begun.is_set)
    with_model.look.button.setChecked(False)
    soon(wait, slow.is_over.is_set)
    wait(lambda: not with_model.tasks._running)
    assert (with_model.looker.made, with_model.look.line.text()) == (before, "")
    assert not with_model.looker.layer.visible


@pytest.mark.slow
def test_a_prediction_is_given_up_and_leaves_nothing(
    with_model: Any, wait: Wait, slow: Waiting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = with_model.session.predict_to

    def predict_to(*given: Any, report: Any, **more: Any) -> Any:
        def slowly(what: str, done: int, total: int) -> None:
            if done:
                slow.work(lambda: report(what, done, total))

        return whole(*given, report=slowly, **more)

    monkeypatch.setattr(with_model.session, "predict_to", predict_to)
    with_model.results.predict()
    wait(slow.is_begun.is_set)
    with_model.predict.button.click()
    assert not with_model.predict.is_working
    soon(wait, slow.is_over.is_set)
    wait(lambda: not with_model.tasks._running)
    assert not [path for path in tmp_path.rglob("*") if path.parent.name == "maps"]


@pytest.mark.slow
def test_an_export_is_given_up_and_leaves_nothing(with_model: Any, wait: Wait, tmp_path: Path) -> None:
    with_model.export.author.setText("A. Painter")
    folder = tmp_path / "package"
    with_model.results.export_to(folder / "model.zip")
    wait(lambda: folder.is_dir() and any(path.is_dir() for path in folder.iterdir()))  # it writes
    (process,) = exports()
    with_model.export.button.click()
    assert not with_model.export.is_working
    soon(wait, lambda: not process.is_running())
    wait(lambda: not with_model.tasks._running)
    assert not list(folder.iterdir())
    assert with_model.export.line.text() == "Cancelled."


@pytest.mark.slow
def test_an_export_that_is_ended_from_outside_is_told(with_model: Any, wait: Wait, tmp_path: Path) -> None:
    with_model.results.export_to(tmp_path / "model.zip")
    wait(lambda: bool(exports()))
    exports()[0].kill()
    wait(lambda: any("the export was ended from outside" in one for one in told()))
    assert with_model.export.button.text() == "Export…"


@pytest.mark.slow
def test_a_search_for_places_is_given_up(with_model: Any, wait: Wait) -> None:
    with_model.places.next()
    with_model.places.next()
    wait(lambda: with_model.look.next.text() == "Next place (N)")
    assert with_model.places.current is None
    assert not [one for one in told() if "should not happen" in one]
