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
from eseg_zoo.images.image import tell
from eseg_zoo.output import replacing
from eseg_zoo.progress import told_time
from eseg_zoo.report.gather import Judged, Report
from eseg_zoo.report.pictures import Picture, crops_of, panels_of, strokes_of, uncertainty_stops
from eseg_zoo.report.plots import draw_dice, draw_losses, draw_reliability
from eseg_zoo.report.scenes import Doubt

UNKNOWN = "–"
_USES = {"training": "training", "validation": "what is held out"}


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
        "unsure": "Where it is unsure" if found["doubts"] else "",
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
    shown = (*report.scenes, *([report.unseen_scene] if report.unseen_scene else []))
    return {
        "strokes": [strokes_of(scene, colours) for scene in report.scenes],
        "scenes": [(scene.place, panels_of(scene, colours)) for scene in shown],
        "doubts": [(_tell_doubt(doubt, names), crops_of(doubt, colours)) for doubt in report.doubts],
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
        found["calibration"] = (
            "Of the pixels that the model is 80 % sure of, 80 % should be right. The expected calibration error, the "
            f"mean distance from that, is {held_out.errors['with']:.3f} (without the temperature "
            f"{held_out.errors['without']:.3f}). The temperature was fitted on these very labels, so the error on new "
            "data is larger."
        )
    if held_out:
        found["caveat"] = _tell_caveat(report, held_out)
    if unseen:
        found["unseen_reliability"] = draw_reliability(unseen.reliability, unseen.errors)
        found["unseen_words"] = (
            f"The expected calibration error is {unseen.errors['with']:.3f}, without the temperature "
            f"{unseen.errors['without']:.3f}."
            + (
                ""
                if unseen.auroc is None
                else f" The uncertainty ranks the errors with an AUROC of {unseen.auroc:.3f}."
            )
        )
    return found


def _words(report: Report) -> dict[str, Any]:
    trained, checkpoint = report.trained, report.trained.checkpoint
    record, model = checkpoint.training, str(trained.model)
    images = [Path(one).name for one in checkpoint.settings.get("images", [])]
    names = checkpoint.channel_names
    colours = channel_colours(names) if len(names) > 1 else []
    commands = [
        shlex.join(["eseg", "predict", model, "IMAGE", "--out", "maps"]),
        f"eseg export --ckpt {shlex.quote(model)}",
    ]
    if not trained.is_finished:
        commands.insert(0, f"{record.command or 'eseg train RUN.yaml'} --resume")
    return {
        "subtitle": ", ".join(images),
        "facts": _key_figures(report),
        "plane": "volume" if checkpoint.dims == 3 else "slice",
        "planes": "volumes" if checkpoint.dims == 3 else "slices",
        "given": _tell_given(report),
        "channels": [(name, colour) for name, (_, colour) in zip(names, colours, strict=False)],
        "correction": _tell_correction(report),
        "expected": all(one.expected for one in report.classes),
        "changed": [one for one in report.settings if not one.is_default],
        "made": _made(report),
        "commands": commands,
        "footer": f"Written {datetime.now().astimezone():%Y-%m-%d %H:%M} by eseg_zoo {version('eseg_zoo')}. "
        "The method is ε-Seg, arXiv:2510.18637.",
    }


def _key_figures(report: Report) -> list[tuple[str, str, str]]:
    """Return name, figure and explanation of what a reader sees first."""
    record = report.trained.checkpoint.training
    strokes = [one.training.strokes for one in report.classes]
    told = f"in {sum(n or 0 for n in strokes):,} strokes" if None not in strokes else ""
    found = [("labelled pixels", f"{sum(record.labelled_pixels.values()):,}", told)]
    if report.unseen:
        found.append(("mean Dice", f"{report.unseen.mean_dice:.3f}", "on slices that training never saw"))
    if report.held_out:
        pixels = sum(report.held_out.pixels.values())
        found.append(("mean Dice", f"{report.held_out.mean_dice:.3f}", f"on {pixels:,} held-out pixels: a hint"))
    found.append(("classes", str(len(report.classes)), ""))
    found.append(
        ("training", told_time(record.seconds), f"{record.steps:,} of at most {report.trained.planned:,} steps")
    )
    return found


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


def _tell_given(report: Report) -> str:
    """Return which part of the images is labelled for training, and which slices are used for what."""
    checkpoint = report.trained.checkpoint
    slices = checkpoint.settings.get("slices", {})
    used = [f"slices {slices[use]} for {what}" for use, what in _USES.items() if slices.get(use)]
    told = f" The run takes {' and '.join(used)}." if used else ""
    return f"{100 * checkpoint.training.labelled_fraction:.2g} % of the pixels are labelled for training.{told}"


def _tell_doubt(doubt: Doubt, names: Sequence[str]) -> str:
    between = " or ".join(f"{names[index]} ({share:.2f})" for index, share in doubt.likely)
    y, x = doubt.centre
    return f"{doubt.scene.place}, y {y}, x {x}: {between}; uncertainty {doubt.uncertainty:.2f}"


def _tell_caveat(report: Report, judged: Judged) -> str:
    """Return what has to be known about figures on held-out labels."""
    strokes = [one.held_out.strokes for one in report.classes]
    pixels = tell(sum(judged.pixels.values()), "pixel")
    where = f"{pixels} in {tell(sum(n or 0 for n in strokes), 'stroke')}" if None not in strokes else pixels
    missing = [one.name for one in report.classes if judged.dice[one.name] is None]
    without = f" Nothing is held out of {', '.join(missing)}." if missing else ""
    return (
        f"These figures are a hint: {where}, of each class as many as were painted and not as many as there are, by "
        "which the model was also chosen and calibrated. On whole images, with all their borders, Dice may be much "
        f"lower.{without}"
    )


def _tell_correction(report: Report) -> str:
    source = report.trained.checkpoint.frequency_source
    temperature = report.temperature
    how = "softer" if temperature > 1 else "sharper"
    tempered = (
        f"The temperature is {temperature:.2f}: probabilities are {how} than the network was trained to give them."
    )
    if source == "balanced":
        return f"{tempered} The classes are taken for equally frequent, as the run asks: there is no correction."
    found = "estimated from the unlabelled pixels" if source == "estimated" else "given in the run"
    return (
        f"The network learns from as many pixels of each class. In the data classes differ in frequency, which is {found}; "
        "the correction shifts the odds of each class towards it, with a strength from 0 (not at all) to 1 (wholly). It "
        f"is weaker where a class would vanish from the map or few labels are held out. {tempered}"
    )


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
