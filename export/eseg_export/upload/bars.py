"""How far an upload is, on stderr: a bar with rate and time left, and a line for each file."""

from __future__ import annotations

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from eseg_zoo.console import plain_console


class UploadBar:
    """Shows lines and, on a terminal, a bar below them."""

    def __init__(self, *, is_silent: bool = False):
        self._console = plain_console(stderr=True)
        self._is_silent = is_silent
        self._bar = Progress(
            TextColumn("uploading"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=is_silent or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> UploadBar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, text: str) -> None:
        """Show a line."""
        if not self._is_silent:
            self._console.print(text, style="dim", soft_wrap=True)

    def sent(self, done: int, total: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, total=total)
