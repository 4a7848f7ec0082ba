"""Tasks for rows: they run in processes of their own, so they are functions of a module."""

from pathlib import Path

from rows import Outcome, Row


def count_calls(row: Row, folder: Path) -> Outcome:
    """Leave a trace of every call beside the row; fail while there is a file 'broken'."""
    calls = folder / "calls"
    calls.write_text(calls.read_text() + "x" if calls.exists() else "x")
    print("at work")  # noqa: T201
    if (folder.parent / "broken").exists() and row.seed == 1:
        raise ValueError("this row is broken")
    return Outcome({"a": 0.25, "b": 0.75}, {"a": 0.5, "b": 1.0}, cpu_seconds=1.5, labelled_pixels=row.seed)
