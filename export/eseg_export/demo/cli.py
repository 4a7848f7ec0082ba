"""`eseg-demo`: the whole road on a synthetic volume, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eseg_export.demo import Kind
from eseg_zoo.console import plain_console, run_app

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
"""The command without options for completion, so that it can stand under another program."""


@app.command()
def demo(
    kind: Annotated[Kind, typer.Option(help="What kind of volume to make.")] = Kind.EM,
    out: Annotated[Path, typer.Option(help="Folder for everything that the demo makes.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the volume, the strokes and the training.")] = 0,
    steps: Annotated[int, typer.Option(min=3, help="Training steps. Fewer are faster, and the result is worse.")] = 800,
    force: Annotated[bool, typer.Option("--force", help="Replace the results of an earlier demo.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Show every step on a synthetic volume, of which 0.05 % of the pixels are labelled.

    The demo trains, evaluates, predicts, exports, verifies and writes a report. It prints each command that it runs.
    """
    from eseg_export.demo.walkthrough import walk_through  # torch and matplotlib take seconds; --help must not

    done = walk_through(kind, out, seed=seed, steps=steps, force=force)
    plain_console().print(
        f"\nmean Dice on unseen slices {done.mean_dice:.3f}; the package in bioimageio.core differs from the "
        f"checkpoint by at most {done.difference:.1e}; {done.seconds:.0f} s in all\n{done.report}",
        soft_wrap=True,
    )


def main() -> None:
    """Entry point of `eseg-demo`."""
    program = typer.Typer(pretty_exceptions_enable=False)
    program.command()(demo)
    run_app(program)
