"""The sentences of a report that depend on what was found."""

from __future__ import annotations

from collections.abc import Sequence

from eseg_zoo.images.image import tell
from eseg_zoo.progress import told_time
from eseg_zoo.report.gather import Judged, Report
from eseg_zoo.report.suggestions import Suggestion

_USES = {"training": "training", "validation": "what is held out"}


def key_figures(report: Report) -> list[tuple[str, str, str]]:
    """Return name, figure and explanation of what a reader sees first."""
    record = report.trained.checkpoint.training
    strokes = [one.training.strokes for one in report.classes]
    told = f"in {tell(_sum(strokes), 'stroke')}" if None not in strokes else ""
    found = [("labelled pixels", f"{sum(record.labelled_pixels.values()):,}", told)]
    if report.unseen:
        found.append(("mean Dice", f"{report.unseen.mean_dice:.3f}", "on slices that training never saw"))
    if report.held_out:
        pixels = sum(report.held_out.pixels.values())
        found.append(("mean Dice", f"{report.held_out.mean_dice:.3f}", f"on {pixels:,} held-out pixels: a hint"))
    found.append(("classes", str(len(report.classes)), ""))
    steps = f"{record.steps:,} of at most {report.trained.planned:,} steps"
    return [*found, ("training", told_time(record.seconds), steps)]


def tell_given(report: Report) -> str:
    """Return which part of the images is labelled for training, and which slices are used for what."""
    checkpoint = report.trained.checkpoint
    slices = checkpoint.settings.get("slices", {})
    used = [f"slices {slices[use]} for {what}" for use, what in _USES.items() if slices.get(use)]
    told = f" The run takes {' and '.join(used)}." if used else ""
    return f"{100 * checkpoint.training.labelled_fraction:.2g} % of the pixels are labelled for training.{told}"


def tell_suggestion(suggestion: Suggestion) -> str:
    """Return where a place is, and what the map has there."""
    place = suggestion.place
    return (
        f"{place.rank}. {suggestion.scene.place}, y {place.y}, x {place.x}: looks like {place.looks_like}; "
        f"uncertainty {place.uncertainty:.2f}"
    )


def tell_caveat(report: Report, judged: Judged) -> str:
    """Return what has to be known about figures on held-out labels."""
    strokes = [one.held_out.strokes for one in report.classes]
    pixels = tell(sum(judged.pixels.values()), "pixel")
    where = f"{pixels} in {tell(_sum(strokes), 'stroke')}" if None not in strokes else pixels
    missing = [one.name for one in report.classes if judged.dice[one.name] is None]
    without = f" Nothing is held out of {', '.join(missing)}." if missing else ""
    return (
        f"These figures are a hint: {where}, of each class as many as were painted and not as many as there are, by "
        "which the model was also chosen and calibrated. On whole images, with all their borders, Dice may be much "
        f"lower.{without}"
    )


def tell_calibration(judged: Judged) -> str:
    """Return the calibration error on the held-out labels, with what has to be known about it."""
    return (
        "Of the pixels that the model is 80 % sure of, 80 % should be right. The expected calibration error, the mean "
        f"distance from that, is {judged.errors['with']:.3f}; without the temperature it is "
        f"{judged.errors['without']:.3f}. Here every class counts as it was painted. The temperature was fitted on "
        "these very labels, so expect a larger error on new data."
    )


def tell_unseen(judged: Judged) -> str:
    """Return the calibration on slices that training never saw."""
    ranked = "" if judged.auroc is None else f" The uncertainty ranks the errors with an AUROC of {judged.auroc:.3f}."
    return (
        f"The expected calibration error is {judged.errors['with']:.3f}, without the temperature "
        f"{judged.errors['without']:.3f}.{ranked}"
    )


def tell_correction(report: Report) -> str:
    """Return what the correction for class frequencies and the temperature are, and where they come from."""
    source = report.trained.checkpoint.frequency_source
    how = "softer" if report.temperature > 1 else "sharper"
    tempered = f"The temperature is {report.temperature:.2f}: probabilities are {how} than those of the network alone."
    if source == "balanced":
        return f"The classes are taken for equally frequent, as the run asks: there is no correction. {tempered}"
    found = "estimated from the unlabelled pixels" if source == "estimated" else "given in the run"
    return (
        "The network learns from equally many pixels of each class. In the data some are rarer than others; how "
        f"frequent they are is {found}. The correction shifts the odds of each class towards that, by a strength of "
        "0 (not at all) to 1 (wholly). It is weaker where a class would vanish from the map, or where few labels are "
        f"held out. {tempered}"
    )


def _sum(counts: Sequence[int | None]) -> int:
    return sum(count or 0 for count in counts)
