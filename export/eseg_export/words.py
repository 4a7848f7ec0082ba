"""The `$words` of the templates: what a checkpoint knows about itself, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from eseg_export.card import Card
from eseg_export.compatibility.verdicts import Verdict
from eseg_export.qupath import QUPATH
from eseg_export.template import PackageTemplate, Texts
from eseg_export.tiling import tiling
from eseg_export.verify import SIZES, TOLERANCE, Measurement
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.colours import class_colours
from eseg_zoo.images.channels import default_names, tell_count

_FORMAT_NAMES = {"pytorch_state_dict": "PyTorch state dict", "torchscript": "TorchScript", "onnx": "ONNX"}
_UNKNOWN = "not stated"
_LONGEST_DESCRIPTION = 512
COVER, VALIDATION = "cover.png", "validation.png"


@dataclass(frozen=True)
class Story:
    """What people say about the model: the card, and what it leaves out from the template, filled in."""

    name: str
    description: str
    texts: Texts
    card: Card
    template: PackageTemplate

    def readme(
        self, checkpoint: Checkpoint, measured: Sequence[Measurement] = (), verdicts: Sequence[Verdict] = ()
    ) -> str:
        """Return the README; raises `ConfigError` for a word that is not known."""
        return self.template.fill_readme(readme_words(checkpoint, self, measured, verdicts))


def tell(checkpoint: Checkpoint, card: Card, template: PackageTemplate) -> Story:
    """Return the story of the model; a mistake anywhere in the template, its README included, is a `ConfigError`."""
    texts = template.fill(describing_words(checkpoint))
    description = textwrap.shorten(card.description or texts.description, _LONGEST_DESCRIPTION, placeholder=" ...")
    story = Story(card.name or texts.name, description, texts, card, template)
    story.readme(checkpoint)
    return story


def describing_words(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the words of the YAML template."""
    tiles = tiling(checkpoint.geometry)
    training = checkpoint.training
    return {
        "dims": str(checkpoint.dims),
        "channels": str(len(checkpoint.channel_names)),
        "channel_names": _enumerate(checkpoint.channel_names),
        "raw_channels": _raw_channels(checkpoint.channel_names),
        "class_names": _enumerate(checkpoint.class_names),
        "class_count": str(len(checkpoint.class_names)),
        "labelled_fraction": f"{100 * training.labelled_fraction:.2g} %",
        "labelled_pixels": f"{sum(training.labelled_pixels.values()):,}",
        "pixel_size": _pixel_size(checkpoint),
        "image_dtype": checkpoint.image_dtype,
        "axis_names": ", ".join("zyx"[-checkpoint.dims :]),
        "margin": _per_axis([axis.margin for axis in checkpoint.geometry.axes]),
        "halo": _per_axis([tile.halo for tile in tiles]),
        "smallest_tile": _per_axis([tile.min for tile in tiles]),
        "stride": _per_axis([tile.stride for tile in tiles]),
    }


def readme_words(
    checkpoint: Checkpoint, story: Story, measured: Sequence[Measurement], verdicts: Sequence[Verdict]
) -> dict[str, str]:
    """Return the words of the README: those of the YAML template, its texts, the card's and what was measured."""
    training, card, texts = checkpoint.training, story.card, story.texts
    citations = [f"- {entry.text}{_link(entry.doi, entry.url)}" for entry in (*texts.cite, *card.cite)]
    sizes = [
        f"{' x '.join(map(str, size[1:]))}{f' (batch of {size[0]})' * (size[0] > 1)}" for size in SIZES[checkpoint.dims]
    ]
    return describing_words(checkpoint) | {
        "name": story.name,
        "description": story.description,
        "intended_use": card.intended_use or texts.intended_use,
        "limits": card.limits or texts.limits,
        "cover": COVER,
        "validation_picture": VALIDATION,
        "consumers_table": _consumers_table(verdicts),
        "qupath_steps": _qupath_steps(checkpoint),
        "classes_table": _classes_table(checkpoint),
        "validation_table": validation_table(checkpoint),
        "differences_table": _differences_table(measured, "megapixel" if checkpoint.dims == 2 else "megavoxel"),
        "compared_sizes": ", ".join(sizes),
        "tolerance": f"{TOLERANCE:g}",
        "training_data": card.training_data or "Not stated by the authors.",
        "training_time": _duration(training.seconds),
        "training_steps": f"{training.steps:,}",
        "temperature": f"{float(checkpoint.segmenter_state['temperature']):.3g}",
        "frequency_source": checkpoint.frequency_source,
        "prior_strength": f"{checkpoint.prior_strength:.2g}",
        "versions": ", ".join(f"{package} {version}" for package, version in sorted(training.versions.items())),
        "citations": "\n".join(citations),
        "authors": _enumerate([author.name for author in card.authors]) or _UNKNOWN,
        "license": str(card.license or _UNKNOWN),
    }


def _classes_table(checkpoint: Checkpoint) -> str:
    colours = class_colours(len(checkpoint.classes))
    labelled = checkpoint.training.labelled_pixels
    rows = [
        (
            index,
            _cell(one.name),
            one.value,
            f"{labelled.get(one.name, 0):,}",
            f"{100 * one.frequency:.2g} %",
            f"`{colour}`",
        )
        for index, (one, colour) in enumerate(zip(checkpoint.classes, colours, strict=True))
    ]
    return _table(("channel", "class", "label value", "labelled pixels", "assumed frequency", "colour"), rows)


def validation_table(checkpoint: Checkpoint) -> str:
    """Return Dice per class as a Markdown table, or a sentence when nothing was held out."""
    training = checkpoint.training
    if "mean_dice" not in training.validation:
        return "The model was trained without held-out labels: its quality was not measured."
    rows = [
        (_cell(name), _score(training.validation.get(f"dice/{name}")), f"{training.validation_pixels.get(name, 0):,}")
        for name in checkpoint.class_names
    ]
    total = f"{sum(training.validation_pixels.values()):,}"
    rows.append(("**mean**", f"**{_score(training.validation['mean_dice'])}**", total))
    return _table(("class", "Dice", "held-out labelled pixels"), rows)


def _differences_table(measured: Sequence[Measurement], unit: str) -> str:
    rows = [(_FORMAT_NAMES[m.weights_format], f"{m.difference:.1e}", f"{m.seconds:.2g}") for m in measured]
    return _table(("weights", "largest difference", f"seconds per {unit}, one CPU thread"), rows)


def _consumers_table(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (
            verdict.consumer.name,
            verdict.outcome.text,
            _cell(verdict.why),
            _cell(f"{verdict.consumer.version}: {verdict.consumer.source}"),
        )
        for verdict in verdicts
    ]
    return _table(("software", "result", "why", "looked at"), rows)


def _qupath_steps(checkpoint: Checkpoint) -> str:
    if checkpoint.dims != 2:
        return "QuPath runs 2D models only: it does not run this one."
    pixel_size = f"the training images ({_pixel_size(checkpoint)})" if checkpoint.voxel_size else "your image"
    return (
        f"Unpack the zip. With the extension *Bioimage Model Zoo*, open `{QUPATH}` in the unpacked folder as a pixel"
        " classifier. It is this model in the older format 0.4, from which QuPath takes the halo around its tiles; from"
        " `rdf.yaml` it does not, and the borders of tiles may show. This was read in QuPath's source and not tried in"
        " QuPath: look at the result before you trust it. In its dialog, set the pixel size to that of"
        f" {pixel_size}, because format 0.4 has no field for it and QuPath proposes its own; where it lists `Class 0`,"
        " `Class 1` ..., they are the channels of the table above. `rdf.yaml` carries the names, and the pixel size"
        " where it is known."
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _score(dice: float | None) -> str:
    return "not measured" if dice is None or dice != dice else f"{dice:.3f}"  # NaN: neither labelled nor predicted


def _enumerate(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _raw_channels(names: tuple[str, ...]) -> str:
    """Return what the input holds, with the names if somebody gave them."""
    order = ", in this order" if len(names) > 1 else ""
    named = "" if names == default_names(len(names)) else f" ({', '.join(names)}{order})"
    return f"{tell_count(len(names))} of raw intensities{named}"


def _per_axis(pixels: Sequence[int]) -> str:
    """Return one number where the axes agree, and else one for each."""
    if len(set(pixels)) == 1:
        return str(pixels[0])
    return _enumerate([f"{n} ({axis})" for n, axis in zip(pixels, "zyx"[-len(pixels) :], strict=True)])


def _pixel_size(checkpoint: Checkpoint) -> str:
    known = [f"{checkpoint.voxel_size[a]:.4g} ({a})" for a in "zyx"[-checkpoint.dims :] if a in checkpoint.voxel_size]
    return f"{' x '.join(known)} micrometres" if known else "unknown"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _link(doi: object, url: object) -> str:
    return f" <https://doi.org/{doi}>" if doi else f" <{url}>"
