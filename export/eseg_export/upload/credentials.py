"""Where the token comes from: the environment, the keyring, or a hidden prompt; and nowhere else.

It is held as a `SecretStr`, which shows as asterisks. There is no option for it: a process list shows options.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import typer
from pydantic import SecretStr

from eseg_zoo.errors import UploadError

TOKEN_VARIABLE = "HYPHA_TOKEN"  # the name that the service's own programs use
KEYRING_SERVICE = "eseg_zoo"


def stored_token(server: str, tell: Callable[[str], None]) -> SecretStr | None:
    """Return the token in the environment, or else in the keyring under the address of the server; None without one."""
    if given := os.environ.get(TOKEN_VARIABLE, "").strip():
        return checked_token(given, TOKEN_VARIABLE)
    found = _from_keyring(server, tell)
    return checked_token(found, "the keyring") if found else None


def asked_token(server: str) -> SecretStr:
    """Return the token that a person types, unseen."""
    return checked_token(typer.prompt(f"Token for {server}", hide_input=True, err=True), "what was typed")


def checked_token(text: str, origin: str) -> SecretStr:
    """Return a token that can stand in a header; raises `UploadError`, which does not show it."""
    text = text.strip()
    if not text or not all("!" <= letter <= "~" for letter in text):
        raise UploadError(f"{origin} holds no token: a token has no spaces, line breaks or letters beyond ASCII")
    return SecretStr(text)


def _from_keyring(server: str, tell: Callable[[str], None]) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError, NoKeyringError
    except ImportError:  # the extra `upload` is not installed
        return None
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, server)
    except NoKeyringError:
        return None
    except KeyringError as error:  # it is locked, say
        tell(f"the keyring cannot be read: {type(error).__name__}")
        return None
    return found
