"""What the tests of the window share; without napari they are skipped, and say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from eseg_export.demo.em import em_phantom
from eseg_export.demo.phantom import Phantom
from eseg_export.demo.strokes import sparse_strokes

LACKING = [name for name in ("napari", "pytestqt") if find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if LACKING else []


def pytest_report_header() -> str:
    lacking = " and ".join(LACKING)
    return f"{lacking} not installed: the window's tests are skipped; `make napari` runs them" if lacking else ""


# A network that learns in seconds, not well.
QUICK: dict[str, Any] = {
    "preset": "small",
    "network": {"width": 4, "latents": 4},
    "training": {"steps": 70, "batch_size": 8},
    "semi_supervised": {"steps": 0},
}
Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture(scope="session")
def phantom() -> Phantom:
    return em_phantom((3, 96, 96), rng=np.random.default_rng(0))


@pytest.fixture(scope="session")
def strokes(phantom: Phantom) -> np.ndarray[Any, Any]:
    return sparse_strokes(phantom.truth, fraction=0.02, rng=np.random.default_rng(1))


@pytest.fixture
def wait(qtbot: Any) -> Wait:
    """Let Qt work until something is true."""
    return lambda found: qtbot.waitUntil(found, timeout=240_000)


@pytest.fixture
def widget(make_napari_viewer: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The window in a viewer off screen; projects go to a home folder of the test's own."""
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    from eseg_napari.widget import EsegWidget

    viewer = make_napari_viewer()
    found = EsegWidget(viewer)
    found.session.settings = dict(QUICK)
    viewer.window.add_dock_widget(found, name="ε-Seg")
    yield found
    found.close_all()
