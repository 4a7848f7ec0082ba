"""`eseg-export`: from `model.pt` to a verified package, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from eseg_zoo.console import plain_console, run_app

if TYPE_CHECKING:
    from eseg_export.package import Package

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
"""The command without options for completion, so that it can stand under another program."""


@app.command()
def export(
    package: Annotated[
        Path | None, typer.Argument(metavar="PACKAGE", help="A finished package to review. It needs --review.")
    ] = None,
    ckpt: Annotated[
        Path | None,
        typer.Option(help="The model to export: the model.pt of a training, or a package that was made of one."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Package to write. Default: the name of the model, ending in .zip.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option(help="YAML file with what you state: name, authors, license, training_data, cite ...")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            help="Texts of the package: em2d, em3d, fluorescence2d, fluorescence3d, or a YAML file of your own."
        ),
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Figures from `eseg evaluate --json`, shown in the README and the cover of the package."),
    ] = None,
    review: Annotated[
        bool, typer.Option("--review", help="List what the zoo's reviewers ask for, and how to fix what is missing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing package.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Export a trained model as a BioImage Model Zoo package for ilastik, deepImageJ, QuPath and Python.

    The package holds the weights as state dict, TorchScript and ONNX. Each is loaded again and compared with the model,
    and the zoo's own tests are run; if anything differs, no package is written. A table tells which software runs the
    package. `eseg export --review model.zip` only reviews a finished package.
    """
    if package is not None:
        if not review or any((ckpt, out, card, template, evaluation, force)):
            raise typer.BadParameter("a package stands alone with --review; an export takes --ckpt and no package")
        _show_review(package)
        return
    if ckpt is None:
        raise typer.BadParameter("--ckpt is missing, the model to export; or a finished package after --review")
    from eseg_export.package import export as export_package  # torch and bioimageio take seconds; --help must not

    messages = plain_console(stderr=True)
    finished = export_package(
        ckpt,
        out,
        card=card,
        template=template,
        evaluation=evaluation,
        force=force,
        progress=lambda step: messages.print(step, style="dim", soft_wrap=True),
    )
    _show(finished, reviewed=review)


def _show(package: Package, *, reviewed: bool) -> None:
    """Print what was measured, what the package is for each consumer, and its review or what is missing at least."""
    results = plain_console()
    table = Table("format", "max difference", "seconds per million pixels")
    for measurement in package.measured:
        table.add_row(measurement.weights_format, f"{measurement.difference:.1e}", f"{measurement.seconds:.2g}")
    results.print(table)
    consumers = Table("software", "result", "why", show_lines=True)
    for verdict in package.verdicts:
        consumers.add_row(verdict.consumer.name, verdict.outcome.text, verdict.why)
    results.print(consumers)
    results.print(f"{package.path} passed every test", soft_wrap=True)
    if package.unchecked:
        results.print(f"not checked: {package.unchecked}", soft_wrap=True)
    if reviewed:
        results.print()
        _show_review(package.path)
    elif package.missing:
        results.print("Missing for publication in the zoo (state it in --card; --review says more):")
        for what in package.missing:
            results.print(f"  - {what}", soft_wrap=True)


def _show_review(package: Path) -> None:
    """Print what the zoo's validator and reviewers say to a package, with how to fix it."""
    from eseg_export.review.checklist import review
    from eseg_export.review.printing import lines_of

    results = plain_console()
    for line in lines_of(review(package)):
        results.print(line, soft_wrap=True)


def main() -> None:
    """Entry point of `eseg-export`."""
    program = typer.Typer(pretty_exceptions_enable=False)
    program.command()(export)
    run_app(program)
