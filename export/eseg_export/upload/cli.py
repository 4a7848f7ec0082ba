"""`eseg-upload`: a package to the zoo, as a draft that curators may review."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal
from rich.table import Table

from eseg_zoo.console import plain_console, run_app

if TYPE_CHECKING:
    from pydantic import SecretStr

    from eseg_export.upload.package import CheckedPackage

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
"""The command without options for completion, so that it can stand under another program."""


@app.command()
def upload(
    package: Annotated[Path, typer.Argument(help="A package that eseg export wrote.")],
    update: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Stage a new version of this model of yours."),
    ] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Ask for a review when all files are uploaded.")] = False,
    server: Annotated[
        str | None, typer.Option(metavar="URL", help="Another instance of the service. Default: the zoo's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every request and send none. It needs no token.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Upload without asking.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Upload a package to the BioImage Model Zoo as a draft. Nothing is published.

    The package is tested again and shown with its licence, and you are asked before anything is sent. The token is
    taken from the variable HYPHA_TOKEN or from the keyring, or else asked for. If the connection breaks, start the
    command again: it continues.
    """
    from eseg_export.upload.connection import checked_server
    from eseg_export.upload.package import read_checked
    from eseg_export.upload.protocol import SERVER, checked_id

    address = checked_server(server or SERVER)
    model = checked_id(update) if update else None
    token = None if dry_run else _known_token(address, yes=yes)
    checked = read_checked(package, _tell)
    _show(checked, address, model, submit=submit)
    if dry_run:
        _rehearse(checked, address, model, submit=submit)
        return
    if not yes:
        _ask()
    _send(checked, address, model, token, submit=submit)


def _tell(text: str) -> None:
    plain_console(stderr=True).print(text, style="dim", soft_wrap=True)


def _known_token(server: str, *, yes: bool) -> SecretStr | None:
    """Return the token of the environment or the keyring; raises `UploadError` where a person is needed and absent."""
    from eseg_export.upload.credentials import TOKEN_VARIABLE, stored_token
    from eseg_zoo.errors import UploadError

    if not yes and not _is_attended():
        raise UploadError("nobody can be asked here, as this is no terminal: give --yes to upload without asking")
    token = stored_token(server, _tell)
    if token is None and not _is_attended():
        raise UploadError(f"there is no token, and nobody can be asked for it here: set {TOKEN_VARIABLE}")
    return token


def _is_attended() -> bool:
    """Say whether somebody can be asked."""
    return sys.stdin.isatty()


def _show(package: CheckedPackage, server: str, update: str | None, *, submit: bool) -> None:
    """Print what would be published, and under which licence."""
    console = plain_console(stderr=True)
    facts = {
        "model": f"{package.name}, version {package.version}",
        "authors": ", ".join(package.authors),
        "licence": package.license,
        "to": f"{server}, {f'as a new version of {update}' if update else 'as a new draft'}",
        "review": "asked for" if submit else "not asked for",
    }
    for name, value in facts.items():
        console.print(f"{name}: {value}", soft_wrap=True)
    table = Table("file", "size")
    for file in package.files:
        table.add_row(file.name, decimal(file.size))
    table.add_section()
    table.add_row(f"{len(package.files)} files", decimal(package.size))
    console.print(table)
    if package.unchecked:
        console.print(f"not checked: {package.unchecked}", soft_wrap=True)


def _ask() -> None:
    """Ask whether to upload; raises `StoppedError` when not."""
    from eseg_zoo.errors import StoppedError

    if not typer.confirm("Upload it? Reviewers will see it, and once accepted, everybody.", err=True):
        raise StoppedError("nothing was uploaded")


def _rehearse(package: CheckedPackage, server: str, update: str | None, *, submit: bool) -> None:
    from eseg_export.upload.bars import UploadBar
    from eseg_export.upload.rehearsal import rehearse

    results = plain_console()
    with UploadBar(is_silent=True) as bar:
        rehearse(package, server, bar, lambda text: results.print(text, soft_wrap=True), update=update, submit=submit)
    results.print("nothing was sent")


def _send(package: CheckedPackage, server: str, update: str | None, token: SecretStr | None, *, submit: bool) -> None:
    from eseg_export.upload import run
    from eseg_export.upload.bars import UploadBar
    from eseg_export.upload.connection import Connection
    from eseg_export.upload.credentials import asked_token
    from eseg_export.upload.protocol import SERVER, ArtifactService
    from eseg_export.upload.state import upload_state

    token = token or asked_token(server)
    with (
        upload_state(package, server, update) as state,
        UploadBar() as bar,
        Connection(server, token, tell=bar.tell) as connection,
    ):
        bar.tell(f"what is reached is kept in {state.path}")
        artifact_id = run.upload(package, ArtifactService(connection), state, bar, submit=submit)
    results = plain_console()
    results.print(artifact_id)
    after = "its review is asked for" if submit else "ask for its review there, or by --update ID --submit"
    where = f"https://bioimage.io/#/upload?artifact_id={artifact_id}&stage=true" if server == SERVER else server
    _tell(f"the draft is complete, and not published: {where}; {after}")


def main() -> None:
    """Entry point of `eseg-upload`."""
    program = typer.Typer(pretty_exceptions_enable=False)
    program.command()(upload)
    run_app(program)
