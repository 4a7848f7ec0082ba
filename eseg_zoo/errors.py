"""The errors a user can meet. Each carries one line that says what, its value, where, and the limit."""


class EsegError(Exception):
    """Base of all errors that are the input's fault, not ours; the command line shows its text and exits with 1."""


class ConfigError(EsegError):
    """A settings file has an unknown key or a value out of its range."""


class InputError(EsegError):
    """An image or label file is missing, unreadable, or does not fit the others."""


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


class ExportError(EsegError):
    """An exported file differs from the checkpoint, or a package breaks a rule; carries the measured number."""
