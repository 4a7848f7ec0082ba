"""Where the token comes from, and that it is never shown."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from eseg_export.upload.credentials import checked_token, stored_token

from eseg_zoo.errors import UploadError

SERVER = "https://hypha.aicell.io"


class FakeKeyring(ModuleType):
    """Stands in for the keyring of a desktop, which the machine of the tests need not have."""

    def __init__(self, entries: dict[tuple[str, str], str], failure: str = ""):
        super().__init__("keyring")
        self.entries, self.failure = entries, failure
        self.errors = ModuleType("keyring.errors")
        self.errors.KeyringError = type("KeyringError", (Exception,), {})  # type: ignore[attr-defined]
        self.errors.NoKeyringError = type("NoKeyringError", (self.errors.KeyringError,), {})  # type: ignore[attr-defined]

    def get_password(self, service: str, user: str) -> str | None:
        if self.failure:
            raise getattr(self.errors, self.failure)("no secret here")
        return self.entries.get((service, user))


def put(monkeypatch: pytest.MonkeyPatch, keyring: FakeKeyring | None) -> None:
    """Let this be the keyring, or none be installed, and no token be in the environment."""
    monkeypatch.delenv("HYPHA_TOKEN", raising=False)
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", keyring and keyring.errors)


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    put(monkeypatch, FakeKeyring({("eseg_zoo", SERVER): "of-the-keyring"}))
    monkeypatch.setenv("HYPHA_TOKEN", "  of-the-environment\n")
    token = stored_token(SERVER, told.append)
    assert token is not None
    assert token.get_secret_value() == "of-the-environment"


def test_the_keyring_has_a_token_for_each_server(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    put(monkeypatch, FakeKeyring({("eseg_zoo", SERVER): "of-the-keyring"}))
    token = stored_token(SERVER, told.append)
    assert token is not None
    assert token.get_secret_value() == "of-the-keyring"
    assert stored_token("https://example.org", told.append) is None
    assert told == []


@pytest.mark.parametrize("keyring", [None, FakeKeyring({}), FakeKeyring({}, "NoKeyringError")])
def test_without_either_there_is_no_token(monkeypatch: pytest.MonkeyPatch, keyring: FakeKeyring | None) -> None:
    told: list[str] = []
    put(monkeypatch, keyring)
    assert stored_token(SERVER, told.append) is None
    assert told == []


def test_a_keyring_that_is_locked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    put(monkeypatch, FakeKeyring({}, "KeyringError"))
    assert stored_token(SERVER, told.append) is None
    assert told == ["the keyring cannot be read: KeyringError"]


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "nul\0", "tökn", "\x7f", "   "])
def test_what_cannot_be_a_token_is_refused_unseen(text: str) -> None:
    with pytest.raises(UploadError, match="HYPHA_TOKEN holds no token") as caught:
        checked_token(text, "HYPHA_TOKEN")
    assert text.strip() == "" or text not in str(caught.value)


def test_a_token_shows_as_asterisks() -> None:
    token = checked_token("very-secret", "HYPHA_TOKEN")
    assert f"{token} {token!r}" == "********** SecretStr('**********')"
