"""The errors a user can meet. Each carries one line that says what, its value, where, and the limit."""

from __future__ import annotations

import reprlib

_LONGEST = 80  # characters of a value in a message


class EsegError(Exception):
    """Base of all errors that are the input's fault, not ours; the command line shows its text and exits with 1."""


def shown(value: object) -> str:
    """Return a value as messages show it: on one line, of at most 80 characters, whatever it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = _LONGEST
    short.maxlong = 40
    try:
        text = short.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        text = f"a very large {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


class ConfigError(EsegError):
    """A settings file has an unknown key or a value out of its range."""


class InputError(EsegError):
    """An image or label file is missing, unreadable, or does not fit the others."""


class AbsentPartsError(InputError):
    """Parts of an image that its file states are absent: it was not copied whole, or they were never written."""

    def __init__(self, lacking: str, way_out: str):
        super().__init__(f"{lacking}; {way_out}")
        self.lacking = lacking


class CheckpointError(EsegError):
    """A file is not a checkpoint of this project, is damaged, or is of a newer format."""


class OutputError(EsegError):
    """A result cannot be written: it exists already, or the folder or disk refuses it."""


class TrainingError(EsegError):
    """A training ends without a model: its weights are no longer finite."""


class StoppedError(EsegError):
    """Work was stopped by the one who asked for it."""


class ClusterError(EsegError):
    """A Dask scheduler cannot be reached, was lost, or its workers die of a task."""


class TooLittleMemoryError(EsegError):
    """Work takes more memory than the machine or its GPU has; the text says how to take less."""


class ExportError(EsegError):
    """An exported file differs from the checkpoint, or a package breaks a rule; carries the measured number."""


class UploadError(EsegError):
    """A package is not uploaded: the service refuses it or cannot be reached, or nobody can be asked."""
