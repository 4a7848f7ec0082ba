"""The page of a report: what was gathered as HTML, in one file that needs nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from eseg_zoo.composite import channel_colours
from eseg_zoo.output import replacing
from eseg_zoo.report.gather import Report
from eseg_zoo.report.pictures import Picture, crops_of, panels_of, strokes_of, uncertainty_stops
from eseg_zoo.report.plots import draw_dice, draw_losses, draw_reliability
from eseg_zoo.report.words import (
    key_figures,
    tell_calibration,
    tell_caveat,
    tell_correction,
    tell_given,
    tell_suggestion,
    tell_unseen,
)

UNKNOWN = "–"


@dataclass(frozen=True)
class Extra:
    """A section that somebody else adds to the page."""

    title: str
    text: str
    pictures: Sequence[Picture] = ()
    columns: int = 1  # pictures side by side


def write_page(report: Report, path: Path, *, force: bool, title: str = "", extras: Sequence[Extra] = ()) -> None:
    """Write the page under a temporary name and rename it; `title` is by default that of a training.

    Raises `OutputError` when `path` exists and `force` is not set, or when it cannot be written.
    """
    text = page_of(report, title=title, extras=extras)
    with replacing(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")


def page_of(report: Report, *, title: str = "", extras: Sequence[Extra] = ()) -> str:
    """Return the page. What comes from files, such as names of classes, is shown as it is, whatever HTML it may be."""
    environment = Environment(
        loader=PackageLoader("eseg_zoo.report", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"figure": _figure, "count": _count, "setting": _setting}
    style = resources.files("eseg_zoo.report").joinpath("style.css").read_text(encoding="utf-8")
    found = {
        "report": report, "title": title or "ε-Seg training report", "style": style, "extras": extras,
        **_words(report), **_pictures(report), **_figures(report),
    }  # fmt: skip
    return environment.get_template("page.html").render(found, sections=_sections(found))


def _sections(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and name of each section that the page has."""
    there = {
        "given": "What it was given",
        "found": "What came out" if found["scenes"] else "",
        "places": "Where to label next" if found["suggestions"] else "",
        "good": "How good it is",
        "training": "How it learnt" if found["losses"] or found["dice_curves"] else "",
        "frequencies": "How frequent the classes are",
        **{f"extra-{number}": extra.title for number, extra in enumerate(found["extras"], start=1)},
        "next": "How it was made",
    }
    return [(anchor, name) for anchor, name in there.items() if name]


def _pictures(report: Report) -> dict[str, Any]:
    colours = [one.colour for one in report.classes]
    names = report.trained.checkpoint.class_names
    scenes = [(scene.place, panels_of(scene, colours)) for scene in report.scenes]
    if unseen := report.unseen_scene:
        scenes.append((f"{unseen.place}, which training never saw", panels_of(unseen, colours)))
    return {
        "strokes": [strokes_of(scene, colours) for scene in report.scenes],
        "scenes": scenes,
        "columns": max((len(pictures) for _, pictures in scenes), default=0),
        "suggestions": [(tell_suggestion(one), crops_of(one, colours)) for one in report.suggestions],
        "ramp": uncertainty_stops(),
        "losses": draw_losses(report.history),
        "dice_curves": draw_dice(report.history, names, colours),
    }


def _figures(report: Report) -> dict[str, Any]:
    """Return the figures of quality and what to know about them."""
    held_out, unseen = report.held_out, report.unseen
    found: dict[str, Any] = {"held_out": held_out, "unseen": unseen, "reliability": None}
    if held_out and held_out.reliability:
        found["reliability"] = draw_reliability(held_out.reliability, held_out.errors)
        found["calibration"] = tell_calibration(held_out)
    if held_out:
        found["caveat"] = tell_caveat(report, held_out)
    if unseen:
        found["unseen_reliability"] = draw_reliability(unseen.reliability, unseen.errors)
        found["unseen_words"] = tell_unseen(unseen)
    return found


def _words(report: Report) -> dict[str, Any]:
    trained, checkpoint = report.trained, report.trained.checkpoint
    record, model = checkpoint.training, str(trained.model)
    images = [Path(one).name for one in checkpoint.settings.get("images", [])]
    names = checkpoint.channel_names
    colours = channel_colours(names) if len(names) > 1 else []
    given = [str(one) for one in checkpoint.settings.get("images", [])]
    shown = given if given and all(Path(one).exists() for one in given) else ["IMAGE"]
    commands = [
        shlex.join(["eseg", "predict", model, "IMAGE", "--out", "maps"]),
        f"eseg export --ckpt {shlex.quote(model)}",
    ]
    if not trained.is_finished:
        commands.insert(0, f"{record.command or 'eseg train RUN.yaml'} --resume")
    return {
        "subtitle": ", ".join(images),
        "facts": key_figures(report),
        "plane": "volume" if checkpoint.dims == 3 else "slice",
        "planes": "volumes" if checkpoint.dims == 3 else "slices",
        "given": tell_given(report),
        "channels": [(name, colour) for name, (_, colour) in zip(names, colours, strict=False)],
        "correction": tell_correction(report),
        "expected": all(one.expected for one in report.classes),
        "changed": [one for one in report.settings if not one.is_default],
        "made": _made(report),
        "commands": commands,
        "suggest_command": shlex.join(
            ["eseg", "suggest", model, *shown, "--out", "next.csv", "--rois", "next.zip", "--pictures", "next"]
        ),
        "footer": f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M} by eseg_zoo {version('eseg_zoo')}. "
        "The method is ε-Seg, arXiv:2510.18637.",
    }


def _made(report: Report) -> list[tuple[str, str]]:
    checkpoint = report.trained.checkpoint
    record, settings = checkpoint.training, checkpoint.settings
    preset = settings.get("preset") or UNKNOWN
    rows = [
        ("command", record.command),
        ("images", ", ".join(map(str, settings.get("images", [])))),
        ("labels", ", ".join(map(str, settings.get("labels", [])))),
        ("network", f"{checkpoint.dims}D, preset {preset}"),
        ("machine", record.machine),
        ("versions", ", ".join(f"{name} {number}" for name, number in record.versions.items())),
        ("model", str(report.trained.model)),
    ]
    return [(name, value) for name, value in rows if value]


def _figure(value: float | None, digits: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _setting(value: object) -> str:
    """Return a setting as YAML shows it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_setting(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_setting, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
