"""Tables of labels as text: comma, semicolon or tab between the columns, whose names are in the first row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError, shown
from eseg_zoo.images.image import first_line, tell
from eseg_zoo.labels.canvas import MOST_CLASSES, Canvas

# Names of a column that gives the class of each row, in small letters.
_CLASS_COLUMNS = ("class", "label")

_BEGINNING = 1 << 16  # bytes, read to see what a file is
_TOGETHER = 1 << 16  # rows
_NUMBER = re.compile(r"\s*([+-]?\d+)(\.0*)?\s*")
_NONE = ("", "nan", "none")  # what stands where a row has no class


@dataclass(frozen=True)
class Header:
    """How a table is written."""

    columns: tuple[str, ...]
    separator: str
    encoding: str

    def classes(self) -> list[int]:
        """Return the place of the first column that gives the class of each row, in any case; none where none does."""
        return [n for n, column in enumerate(self.columns) if column.lower() in _CLASS_COLUMNS][:1]


@dataclass(frozen=True)
class Words:
    """What stands in a column of text."""

    codes: NDArray[np.int64]  # (rows,): indices of `words`
    words: tuple[str, ...]


@dataclass(frozen=True)
class Columns:
    """What was read of a table."""

    rows: NDArray[np.int64]  # (rows,): their numbers in the file, whose header is row 1
    numbers: NDArray[np.float64]  # (rows, columns)
    texts: tuple[Words, ...]


def header_of(path: Path) -> Header | None:
    """Return the header of a table; None for a file that is no text of more than one column, or cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_BEGINNING)
    except (OSError, ValueError):  # a path with a NUL
        return None
    encoding = _encoding(content)
    line = content.decode(encoding, "replace").partition("\n")[0].rstrip("\r")
    separator = max(",;\t", key=line.count)
    if separator not in line or not line.replace("\t", "").isprintable():
        return None
    try:
        columns = next(csv.reader([line], delimiter=separator))
    except csv.Error:
        return None
    return Header(tuple(column.strip() for column in columns), separator, encoding)


def read_columns(path: Path, header: Header, numbers: Sequence[int], texts: Sequence[int]) -> Columns:
    """Return columns of numbers and of text by their places.

    With a semicolon between the columns a comma in a number is its decimal point. Raises `InputError` with the row of
    what cannot be read.
    """
    codes: list[dict[str, int]] = [{} for _ in texts]
    count, found, words = [np.zeros(0, np.int64)], [np.zeros((0, len(numbers)))], [np.zeros((0, len(texts)), np.int64)]
    for places, rows in _rows(path, header):
        count.append(np.array(places))
        found.append(np.stack([_numbers(path, header, rows, n, places) for n in numbers], axis=1))
        known = [[of.setdefault(row[n].strip(), len(of)) for n, of in zip(texts, codes, strict=True)] for row in rows]
        words.append(np.array(known, np.int64).reshape(len(rows), len(texts)))
    every = np.concatenate(words)
    columns = tuple(Words(every[:, n], tuple(of)) for n, of in enumerate(codes))
    return Columns(np.concatenate(count), np.concatenate(found), columns)


def classes_of(canvas: Canvas, columns: Columns, texts: Sequence[Words]) -> NDArray[np.int64]:
    """Return the value of each row's class, 0 where it has none; `texts` is the column that gives it, if there is one.

    Whole numbers are values, anything else names. Where no row has a class, all are of the class of what names none.
    Raises `InputError` for what can be no class.
    """
    text = texts[0] if texts else Words(np.zeros(len(columns.rows), np.int64), ("",))
    names = [name if name.lower() not in _NONE else None for name in text.words]
    matches = [_NUMBER.fullmatch(name) for name in names if name is not None]
    are_values = bool(matches) and all(matches)
    values = np.zeros(len(names), np.int64)
    for code, name in enumerate(names if len(columns.rows) else []):
        with canvas.object(f"row {columns.rows[(text.codes == code).argmax()]}"):
            if name is not None:
                values[code] = _value(canvas, name) if are_values else canvas.named(name)
            elif not matches:
                values[code] = canvas.named(canvas.usual_name)
    found = values[text.codes]
    if missing := int((found == 0).sum()):
        canvas.notes.append(f"{tell(missing, 'row')} without a class: not painted")
    return found


def _value(canvas: Canvas, text: str) -> int:
    match = _NUMBER.fullmatch(text)
    assert match
    value = int(match[1]) if len(match[1]) < 10 else 0
    if not 1 <= value <= MOST_CLASSES:
        raise ValueError(f"the class is {shown(text)}; it must be a name, or a number from 1 to {MOST_CLASSES}")
    return canvas.numbered(value)


def _encoding(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        content[: content.rfind(b"\n") + 1 or None].decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"  # what spreadsheets write where it is not UTF-8
    return "utf-8-sig"


def _rows(path: Path, header: Header) -> Iterator[tuple[list[int], list[list[str]]]]:
    """Yield some rows at once, with their numbers; empty ones are left out."""
    try:
        with path.open(newline="", encoding=header.encoding, errors="replace") as file:
            rows = enumerate(csv.reader(file, delimiter=header.separator), 1)
            next(rows, None)
            while some := list(islice(rows, _TOGETHER)):
                filled = [(number, row) for number, row in some if row]
                for number, row in filled:
                    _require_width(path, header, number, row)
                if filled:
                    yield [number for number, _ in filled], [row for _, row in filled]
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def _require_width(path: Path, header: Header, number: int, row: list[str]) -> None:
    if len(row) != len(header.columns):
        raise InputError(f"{path}, row {number}: it has {len(row)} columns, but the header {len(header.columns)}")


def _numbers(path: Path, header: Header, rows: list[list[str]], column: int, places: list[int]) -> NDArray[np.float64]:
    """Return the numbers in a column; raises `InputError` for the first cell that holds none."""
    cells = [row[column] for row in rows]
    if header.separator == ";":
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        found = np.array(cells, np.float64)
    except ValueError:
        found = np.array([_number(cell) for cell in cells])
    wrong = ~np.isfinite(found)
    if wrong.any():
        n = int(wrong.argmax())
        name = header.columns[column]
        raise InputError(f"{path}, row {places[n]}: {name} is {shown(rows[n][column])}, not a number")
    return found


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan
