"""The figures of `eseg evaluate` in the package, and the caveat where there are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eseg_export import cover
from eseg_export.evaluation import Evaluation, evaluation_of
from eseg_export.finished import read_package
from eseg_export.package import export
from eseg_export.proof import validation_section
from eseg_export.sample import write_samples
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError

from .conftest import Exported

NAMES = ("membrane", "cytoplasm", "mito|chondrion")
FIGURES: dict[str, Any] = {
    "mean_dice": 0.567,
    "dice": {"membrane": 0.61, "cytoplasm": 0.524, "mito|chondrion": None},
    "pixels": {"membrane": 12_000, "cytoplasm": 13_000, "mito|chondrion": 0},
    "confusion": [[1, 2, 3]],
    "calibration_error": 0.1,
}


def drawn(monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, folder: Path, evaluation: Evaluation | None) -> str:
    """All words in the picture, which must lie within it."""
    texts: list[str] = []

    def look(figure: Figure, path: Path) -> None:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = figure.bbox.size
        dice = figure.axes[1]
        for text in (dice.title, dice.xaxis.label, *dice.texts, *dice.get_xticklabels(), *dice.get_yticklabels()):
            texts.append(text.get_text())
            box = text.get_window_extent(canvas.get_renderer())
            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, texts[-1]

    monkeypatch.setattr(cover, "_save", look)
    cover.draw_validation(write_samples(checkpoint, folder), checkpoint, folder / "validation.png", evaluation)
    return " ".join(" ".join(texts).split())


def test_without_an_evaluation_the_picture_carries_the_caveat(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    words = drawn(monkeypatch, checkpoint, tmp_path, None)
    assert "Dice on held-out strokes: a hint" in words
    assert "120 pixels, by which the model was chosen and calibrated: on whole images Dice may be much lower" in words
    assert "0.740" in words


def test_an_evaluation_is_what_the_picture_shows(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    words = drawn(monkeypatch, checkpoint, tmp_path, evaluation_of(FIGURES, NAMES))
    for word in ("Dice over 25,000 labelled pixels", "0.610", "0.524", "not measured", "mean 0.567"):
        assert word in words
    assert "held-out" not in words
    assert "0.740" not in words


@pytest.mark.usefixtures("without_zoo_tests")
def test_a_package_leads_with_the_evaluation(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(json.dumps(FIGURES))
    package = read_package(export(checkpoint, tmp_path / "m.zip", evaluation=tmp_path / "figures.json").path)
    readme = package.files["README.md"].decode()
    assert "| **mean** | **0.567** | 25,000 |" in readme
    assert "| mito\\|chondrion | not measured | 0 |" in readme
    assert readme.index("| **mean** | **0.567**") < readme.index("Dice on held-out strokes") < readme.index("**0.810**")
    assert package.rdf["config"]["eseg"]["evaluation"]["mean_dice"] == 0.567


def test_the_readme_without_one_says_what_the_held_out_dice_is(exported: Exported) -> None:
    readme = " ".join((exported.folder / "README.md").read_text(encoding="utf-8").split())
    assert "Dice on held-out strokes, labelled pixels that the model did not learn from." in readme
    assert "take it as a hint: on whole images Dice may be much lower" in readme
    assert "evaluation" not in exported.rdf["config"]["eseg"]


def test_a_model_without_held_out_labels_has_no_caveat_about_them(checkpoint: Checkpoint) -> None:
    record = replace(checkpoint, training=replace(checkpoint.training, validation={}))
    assert validation_section(record, None).startswith("The model was trained without held-out labels")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, r"figures\.json does not exist"),
        ("{", r"figures\.json is not readable JSON, as `eseg evaluate --json` writes it"),
        ("[1]", r"figures\.json: its content: .*it must be what `eseg evaluate --json` writes"),
        ('{"mean_dice": 0.5}', r"figures\.json: dice: field required; it must be what `eseg evaluate --json` writes"),
        (json.dumps(FIGURES | {"mean_dice": 1.5}), r"figures\.json: mean_dice: .*less than or equal to 1"),
        (json.dumps(FIGURES | {"mean_dice": float("nan")}), r"figures\.json: mean_dice: .*finite"),
        (
            json.dumps(FIGURES | {"dice": {"a": 0.1, "b": 0.2}}),
            r"figures\.json: its classes are a, b; the model's are membrane, cytoplasm, mito\|chondrion: it is the",
        ),
    ],
)
def test_figures_that_are_none_are_named_before_anything_is_exported(
    checkpoint: Checkpoint, tmp_path: Path, content: str | None, complaint: str
) -> None:
    path, steps = tmp_path / "figures.json", list[str]()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        export(checkpoint, tmp_path / "model.zip", evaluation=path, progress=steps.append)
    assert steps == []
