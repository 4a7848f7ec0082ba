"""How every program of the project ends: 0 done, 1 our error in one line, 2 wrong usage."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from eseg_zoo.errors import EsegError


def run_app(app: Callable[[], object]) -> None:
    """Run a Typer app; an error of ours is shown in one line on stderr, with its traceback only for --debug."""
    try:
        app()
    except EsegError as error:
        if "--debug" in sys.argv:
            raise
        message = f"[bold red]error:[/] {escape(str(error))}"
        Console(stderr=True, highlight=False).print(message, soft_wrap=True)
        sys.exit(1)
