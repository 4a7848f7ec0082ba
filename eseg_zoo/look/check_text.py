"""The words and the table of `eseg check`."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from eseg_zoo.look.check import Check
from eseg_zoo.progress import told_time
from eseg_zoo.training.plans import plans


def print_check(check: Check, console: Console) -> None:
    """Print what was found, and at the end what will hurt."""
    for line in _of_images(check):
        console.print(line, soft_wrap=True)
    console.print(_table(check))
    for line in (*_of_labels(check), *_of_training(check)):
        console.print(line, soft_wrap=True)
    for text in check.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), text), soft_wrap=True)
    if not check.warnings:
        console.print("No problem was found.")


def _of_images(check: Check) -> Iterator[str]:
    yield from check.notes
    for image, known in zip(check.data.images, check.intensities, strict=True):
        if known is None:
            continue
        sampled = ", of samples" if known.sampled else ""
        for name, one in zip(check.data.channel_names, known.channels, strict=True):
            yield (
                f"{image.name}: axes {image.axes}, {name} from {one.smallest:g} to {one.largest:g}, median "
                f"{one.median:g}, 1 % below {one.low:g} and 1 % above {one.high:g}{sampled}"
            )


def _table(check: Check) -> Table:
    table, summary = Table("class", "pixels", "strokes", "slices", "held out: pixels", "strokes"), check.summary
    for name in summary.pixels:
        counts = (summary.pixels, summary.strokes, summary.slices, summary.held_out_pixels, summary.held_out_strokes)
        table.add_row(name, *(str(count[name]) for count in counts))
    return table


def _of_labels(check: Check) -> Iterator[str]:
    run = check.run
    yield f"{len(check.summary.labelled_slices)} of {check.summary.all_slices} slices have labels."
    if run.slices.validation:
        yield f"Held out for validation: slices {run.slices.validation}."
    elif not any(check.summary.held_out_pixels.values()):
        yield "Held out for validation: nothing, as too few strokes are labelled."
    else:
        share = f"{run.training.validation_fraction:.0%} of the strokes of each class, by seed {run.seed}"
        yield f"Held out for validation: {share}."


def _of_training(check: Check) -> Iterator[str]:
    run = check.run
    steps = " and ".join(f"{plan.steps} {plan.name.replace('_', '-')}" for plan in plans(run))
    yield f"A training has at most {steps} steps of a {run.network.dims}D network (preset {run.preset})."
    memory = f"about {check.memory / 1e9:.1f} GB of memory"
    if check.seconds is None:
        yield f"It takes {memory}, most of it the GPU's; how long, eseg train tells after its first steps on the GPU."
    else:
        yield f"It takes about {told_time(check.seconds)} on this CPU, less where validation stalls, and {memory}."
