"""The `$words` of the templates: what a checkpoint knows about itself, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from eseg_export.card import Card
from eseg_export.compatibility.verdicts import Verdict
from eseg_export.evaluation import Evaluation
from eseg_export.lettering import lettering
from eseg_export.markdown import cell, table
from eseg_export.names import checked_model_name
from eseg_export.precision import Reproducibility
from eseg_export.proof import differences_table, rounding_told, validation_section
from eseg_export.qupath import QUPATH
from eseg_export.template import PackageTemplate, Texts
from eseg_export.tiling import tiling
from eseg_export.verify import SIZES, TOLERANCE, Measurement
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import ConfigError
from eseg_zoo.images.channels import default_names, tell_count

_UNKNOWN = "not stated"
_LONGEST_DESCRIPTION = 512
COVER, VALIDATION = "cover.png", "validation.png"


@dataclass(frozen=True)
class Results:
    """What the export found out, for the README."""

    measured: Sequence[Measurement] = ()
    verdicts: Sequence[Verdict] = ()
    reproducibility: Reproducibility | None = None
    evaluation: Evaluation | None = None


@dataclass(frozen=True)
class Story:
    """What people say about the model: the card, and what it leaves out from the template, filled in."""

    name: str
    description: str
    texts: Texts
    card: Card
    template: PackageTemplate

    def readme(self, checkpoint: Checkpoint, results: Results = Results()) -> str:
        """Return the README; raises `ConfigError` for a word that is not known."""
        return self.template.fill_readme(readme_words(checkpoint, self, results))


def tell(checkpoint: Checkpoint, card: Card, template: PackageTemplate) -> Story:
    """Return the story of the model; a mistake anywhere in the template, its README included, is a `ConfigError`."""
    texts = template.fill(describing_words(checkpoint))
    try:
        name = checked_model_name(card.name or texts.name)
    except ValueError as error:
        raise ConfigError(f"{template.path}: name: {error}") from error
    description = with_labels(card.description or texts.description, checkpoint.class_names)
    story = Story(name, description, texts, card, template)
    story.readme(checkpoint)
    return story


def with_labels(description: str, class_names: Sequence[str]) -> str:
    """Return the description, and at its end the classes as ilastik counts them: it shows nothing else of them.

    Both are cut off where they are too long together, the description to a quarter of the room at least.
    """
    labels = f"Labels: {', '.join(f'{number} {name}' for number, name in enumerate(class_names, start=1))}"
    text = " ".join(description.split())
    room = max(_LONGEST_DESCRIPTION - len(labels) - 1, _LONGEST_DESCRIPTION // 4)
    text = textwrap.shorten(text, room, placeholder=" ...")
    return textwrap.shorten(f"{text} {labels}", _LONGEST_DESCRIPTION, placeholder=" ...")


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
        "labels": ", ".join(f"*Label {number}* {name}" for number, name in enumerate(checkpoint.class_names, start=1)),
        "stride": _per_axis([tile.stride for tile in tiles]),
    }


def readme_words(checkpoint: Checkpoint, story: Story, results: Results) -> dict[str, str]:
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
        "pictures_note": _pictures_note(checkpoint.class_names),
        "validation_picture": VALIDATION,
        "consumers_table": _consumers_table(results.verdicts),
        "qupath_steps": _qupath_steps(checkpoint),
        "python_example": python_example(checkpoint),
        "block": str(_block(checkpoint)),
        "smallest_image": _sides([tile.min + _block(checkpoint) for tile in tiling(checkpoint.geometry)]),
        "classes_table": _classes_table(checkpoint),
        "validation": validation_section(checkpoint, results.evaluation),
        "reproducibility": "" if results.reproducibility is None else rounding_told(results.reproducibility),
        "differences_table": differences_table(results.measured),
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


def _block(checkpoint: Checkpoint) -> int:
    """Return the N of `--blockwise=N` that the README proposes: a multiple of every stride."""
    stride = max(axis.stride for axis in checkpoint.geometry.axes)
    return stride * (32 if checkpoint.dims == 2 else 4)


def _classes_table(checkpoint: Checkpoint) -> str:
    labelled = checkpoint.training.labelled_pixels
    rows = [
        (
            index,
            cell(one.name),
            one.value,
            f"{labelled.get(one.name, 0):,}",
            f"{100 * one.frequency:.3g} %",
            f"`{one.colour}`",
        )
        for index, one in enumerate(checkpoint.classes)
    ]
    return table(("channel", "class", "label value", "labelled pixels", "assumed frequency", "colour"), rows)


def python_example(checkpoint: Checkpoint) -> str:
    """Return Python code that segments a stack of slices with the zoo's software."""
    many = len(checkpoint.channel_names) > 1
    axes = "z, channel, y, x" if many else "z, y, x"
    pixels = {
        (2, False): "stack[:, None]",
        (2, True): "stack",
        (3, False): "stack[None, None]",
        (3, True): "stack.swapaxes(0, 1)[None]",
    }[checkpoint.dims, many]
    given, returned = ("z, class, y, x", "z, y, x") if checkpoint.dims == 2 else ("1, class, z, y, x", "1, z, y, x")
    dims = ", ".join(f'"{name}"' for name in ("batch", "channel", *"zyx"[-checkpoint.dims :]))
    return "\n".join(
        (
            "```python",
            "import bioimageio.core",
            "import tifffile",
            "",
            f'stack = tifffile.imread("stack.tif").astype("float32")  # {axes}',
            f"images = bioimageio.core.Tensor.from_numpy({pixels}, dims=({dims}))",
            'predicted = bioimageio.core.predict(model="model.zip", inputs=images)',
            f'probabilities = predicted.members["output"].data.to_numpy()  # {given}',
            f"channels = probabilities.argmax(1)  # {returned}: channels of the table above",
            "```",
        )
    )


def _pictures_note(class_names: Sequence[str]) -> str:
    """Return which names are not in the pictures, and what stands there."""
    unwritten = lettering(class_names).unwritten
    if not unwritten:
        return ""
    where = ", ".join(f"`channel {class_names.index(name)}` is {name}" for name in unwritten)
    return f"In the pictures {where}: no font here has the letters."


def _sides(pixels: Sequence[int]) -> str:
    return " x ".join(map(str, pixels))


def _consumers_table(verdicts: Sequence[Verdict]) -> str:
    rows = [
        (
            verdict.consumer.name,
            verdict.outcome.text,
            cell(verdict.why),
            cell(f"{verdict.consumer.version}: {verdict.consumer.source}"),
        )
        for verdict in verdicts
    ]
    return table(("software", "result", "why", "looked at"), rows)


def _qupath_steps(checkpoint: Checkpoint) -> str:
    if checkpoint.dims != 2:
        return "QuPath runs 2D models only: it does not run this one."
    pixel_size = f"the training images ({_pixel_size(checkpoint)})" if checkpoint.voxel_size else "your image"
    return (
        f"Unpack the zip. With the extension *Bioimage Model Zoo*, open `{QUPATH}` in the unpacked folder as a pixel"
        " classifier. It is this model in the older format 0.4, from which QuPath takes the halo around its tiles; from"
        " `rdf.yaml` it does not, and the borders of tiles may show. This was read in QuPath's source and not tried in"
        " QuPath: look at the result before you trust it. In its dialog, set the pixel size to that of"
        f" {pixel_size}, because neither file can tell QuPath; where it lists `Class 0`, `Class 1` ..., they are the"
        " channels of the table above. `rdf.yaml` carries their names."
    )


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
