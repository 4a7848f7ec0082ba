"""Class names in pictures: letters of any script, shortened, and never a box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from eseg_export import lettering as module
from eseg_export.card import Card
from eseg_export.cover import draw_cover, draw_validation
from eseg_export.lettering import lettering
from eseg_export.sample import write_samples
from eseg_export.template import load_template
from eseg_export.words import tell
from matplotlib.font_manager import FontProperties, findfont
from PIL import Image

from eseg_zoo.checkpoint import Checkpoint

SCRIPTS = ("мембрана", "μεμβράνη", "膜", "ミトコンドリア", "غشاء", "막", "झिल्ली", "🧬")


@pytest.fixture
def only_latin(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no font but matplotlib's own were installed."""
    own = Path(findfont(FontProperties()))
    monkeypatch.setattr(
        module, "fontManager", SimpleNamespace(ttflist=[SimpleNamespace(name="DejaVu Sans", fname=str(own))])
    )


def named(checkpoint: Checkpoint, *names: str) -> Checkpoint:
    classes = tuple(replace(one, name=name) for one, name in zip(checkpoint.classes, names, strict=True))
    return replace(checkpoint, classes=classes)


def test_names_in_any_script_are_drawn_without_a_warning(checkpoint: Checkpoint, tmp_path: Path) -> None:
    samples = write_samples(checkpoint, tmp_path)
    for first in range(0, len(SCRIPTS) - 2, 3):
        names = SCRIPTS[first : first + 3]
        draw_cover(
            samples, named(checkpoint, *names).classes, tmp_path / "cover.png"
        )  # a missing letter is a warning, and that an error here
        draw_validation(samples, named(checkpoint, *names), tmp_path / "validation.png")
        with Image.open(tmp_path / "cover.png") as picture:
            assert picture.size == (800, 400)


def test_a_script_that_the_usual_font_has_is_written() -> None:
    assert lettering(("мембрана", "μεμβράνη")).labels == ("мембрана", "μεμβράνη")


@pytest.mark.usefixtures("only_latin")
def test_letters_that_no_font_has_are_told_by_their_channel_in_picture_and_readme(checkpoint: Checkpoint) -> None:
    found = lettering(("membrane", "膜", "ミトコンドリア"))
    assert found.labels == ("membrane", "channel 1", "channel 2")
    assert found.unwritten == ("膜", "ミトコンドリア")
    model = named(checkpoint, "membrane", "膜", "ミトコンドリア")
    readme = tell(model, Card(), load_template("em2d")).readme(model)
    assert "In the pictures `channel 1` is 膜, `channel 2` is ミトコンドリア: no font here has the letters." in readme


def test_a_font_that_has_the_letters_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(matplotlib.get_data_path()) / "fonts/ttf"
    fonts = [
        SimpleNamespace(name="Last Resort High-Efficiency", fname=str(folder / "LastResortHE-Regular.ttf")),
        SimpleNamespace(name="STIXGeneral", fname=str(folder / "STIXGeneral.ttf")),
    ]
    monkeypatch.setattr(module, "fontManager", SimpleNamespace(ttflist=fonts))
    script = "\U0001d4d0"  # a letter that STIX has and DejaVu Sans has not
    if ord(script) in module._letters(findfont(FontProperties())) or ord(script) not in module._letters(fonts[1].fname):
        script = next(
            chr(code)
            for code in sorted(module._letters(fonts[1].fname) - module._letters(findfont(FontProperties())))
            if chr(code).isprintable()
        )
    found = lettering((script, "膜"))
    assert found.labels == (script, "channel 1"), "the font of boxes is none"
    assert found.families[-1] == "STIXGeneral"


def test_long_names_are_cut_and_stay_apart() -> None:
    long = ("outer membrane of the mitochondrion", "outer membrane of the nucleus", "membrane")
    labels = lettering(long).labels
    assert labels[2] == "membrane"
    assert len(set(labels)) == 3
    assert max(map(len, labels)) <= 20
    assert lettering(("m" * 128, "n")).labels[0] == "m" * 19 + "…"


def test_a_legend_of_long_names_leaves_the_picture_visible(checkpoint: Checkpoint, tmp_path: Path) -> None:
    samples = write_samples(checkpoint, tmp_path)
    long = named(checkpoint, *(f"{letter} membrane of the mitochondrion" * 3 for letter in "abc"))
    draw_cover(samples, long.classes, tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        right = np.asarray(picture.convert("RGB"))[:, 400:].astype(int)
    whitish = (right.min(2) > 215).mean()  # the legend's background lies over the classes
    assert whitish < 0.2
