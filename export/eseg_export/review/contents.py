"""Checks of what is in the package: README, figures, cover, test data, weights, files."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, UnidentifiedImageError

from eseg_export.compatibility.consumers import CONSUMERS
from eseg_export.compatibility.findings import Outcome, Rule
from eseg_export.compatibility.rules import rounding_is_forgiven, samples_can_be_opened
from eseg_export.compatibility.verdicts import judge
from eseg_export.finished import RDF, FinishedPackage
from eseg_export.review.answers import Answer, look, missing, ok
from eseg_export.review.statements import section

# What reviewers look for in a README -> what a heading of it may say.
SECTIONS = {
    "Description": ("description",),
    "Intended use": ("intended use", "direct use"),
    "How to use": ("how to use", "usage", "get started"),
    "Validation": ("validation",),
    "Training data": ("training data",),
    "Limits": ("limit",),
    "Citation": ("citation",),
}
_COVER_BYTES = 500_000
_COVER_SHAPES = {1.0: "1:1", 2.0: "2:1"}  # width / height
_COVER_SLACK = 0.05


def readme_is_complete(package: FinishedPackage) -> Answer:
    """Say which sections the README lacks."""
    lacking = [name for name, words in SECTIONS.items() if not section(package, *words).strip()]
    return missing(f"without {', '.join(lacking)}") if lacking else ok(", ".join(SECTIONS))


def quality_is_measured(package: FinishedPackage) -> Answer:
    """Say whether there are figures; whether training never saw the images of them, a person has to say."""
    own = package.rdf.get("config", {}).get("eseg", {})
    if figures := own.get("evaluation"):
        pixels = sum(figures["pixels"].values())
        return look(
            f"mean Dice {figures['mean_dice']:.3f} over {pixels:,} pixels: did training never see these images?"
        )
    if "mean_dice" in own.get("validation", {}):
        return missing("only held-out strokes, by which the model was chosen and calibrated")
    if any(letter.isdigit() for letter in section(package, "validation", "evaluation")):
        return look("there are figures in the README: did training never see their images?")
    return missing("there are no figures")


def cover_is_shaped(package: FinishedPackage) -> Answer:
    """Say whether the covers have the shape and size that the site shows; whether they tell enough, a person says."""
    names = [cover["source"] if isinstance(cover, dict) else cover for cover in package.rdf.get("covers") or []]
    if not names:
        return missing("there is none")
    told = []
    for name in names:
        if name not in package.files:
            return missing(f"{name} is not in the package")
        content = package.files[name]
        try:
            with Image.open(BytesIO(content)) as picture:
                width, height = picture.size
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError):
            return missing(f"{name} is not a readable picture")
        shapes = [
            shape for ratio, shape in _COVER_SHAPES.items() if abs(width - ratio * height) <= _COVER_SLACK * width
        ]
        if not shapes:
            return missing(f"{name} is {width} x {height}, neither 2:1 nor 1:1")
        if len(content) > _COVER_BYTES:
            return missing(f"{name} has {len(content) / 1000:,.0f} kB; {_COVER_BYTES // 1000} are allowed")
        told.append(f"{name} is {shapes[0]}, {len(content) / 1000:,.0f} kB")
    return look(f"{'; '.join(told)}: does it show a typical input beside its output? A scale bar is liked")


def data_can_be_tried(package: FinishedPackage) -> Answer:
    """Say whether every tensor has test data, and a sample to look at."""
    lacking = [
        f"{tensor['id']} has no {kind}"
        for tensor in package.tensors
        for kind in ("test_tensor", "sample_tensor")
        if (tensor.get(kind) or {}).get("source") not in package.files
    ]
    lacking = lacking or _found_by(samples_can_be_opened, package)
    return missing("; ".join(lacking)) if lacking else ok("test and sample data of every tensor")


def pixel_size_is_known(package: FinishedPackage) -> Answer:
    """Say whether the package states the pixel size of the images that the model is for."""
    sizes = list(package.rdf.get("config", {}).get("eseg", {}).get("pixel_size", {}).values())
    sizes = sizes or [axis["scale"] for axis in package.space if axis.get("unit")]
    if not sizes:
        return look("unknown: is it in one of the texts?")
    return ok(" x ".join(f"{size:.4g}" for size in sizes))


def rounding_is_tolerated(package: FinishedPackage) -> Answer:
    """Say whether the zoo's test on a GPU is expected to reproduce the test output within its tolerance."""
    if "reproducibility" not in package.rdf.get("config", {}).get("eseg", {}):
        return look("not measured here")
    found = _found_by(rounding_is_forgiven, package)
    return (
        look("; ".join(found)) if found else ok("emulated rounding of a GPU stays within the zoo's default tolerance")
    )


def runtime_is_standard(package: FinishedPackage) -> Answer:
    """Say whether the zoo's own server can run a weights format, without an environment of its own."""
    served = [name for name, entry in package.weights.items() if not entry.get("dependencies")]
    return ok(", ".join(served)) if served else missing("every weights format asks for an environment of its own")


def software_runs_it(package: FinishedPackage) -> Answer:
    """Say which software runs the model, by the rules that every export is judged by."""
    verdicts = judge(package)
    if faults := [finding.why for verdict in verdicts for finding in verdict.findings if finding.fault]:
        return missing("; ".join(dict.fromkeys(faults)))
    running = [verdict.consumer.name for verdict in verdicts if verdict.outcome is not Outcome.DOES_NOT]
    return ok(", ".join(running)) if running else missing("none of those that are known here")


def files_are_named(package: FinishedPackage) -> Answer:
    """Say which files the description does not name, and how large the package is."""
    named = {RDF, *(name for name, _ in package.sources())}
    if strangers := [name for name in package.files if name not in named]:
        return missing(f"{RDF} does not name {', '.join(strangers)}")
    size = sum(map(len, package.files.values()))
    return ok(f"{len(package.files)} files, {size / 1e6:,.1f} MB unpacked, each named in {RDF}")


def _found_by(rule: Rule, package: FinishedPackage) -> list[str]:
    """Return what a rule finds for any consumer, each once."""
    return list(dict.fromkeys(finding.why for consumer in CONSUMERS for finding in rule(package, consumer)))
