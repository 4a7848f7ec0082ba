"""What lies at a path that a person gave: the kind of file by its first bytes, or what to say where nothing does."""

from __future__ import annotations

import difflib
import struct
import zipfile
from itertools import islice
from pathlib import Path

from eseg_zoo.errors import CheckpointError

TIFF, PNG, NPY, HDF5, ZIP = "TIFF", "PNG", "NPY", "HDF5", "ZIP"

BEGINNINGS = {
    b"II*\0": TIFF, b"MM\0*": TIFF, b"II+\0": TIFF, b"MM\0+": TIFF, b"\x89PNG": PNG, b"\x93NUMPY": NPY,
    b"\x89HDF\r\n": HDF5, b"\xff\xd8\xff": "JPEG", b"PK\3\4": ZIP, b"\x1f\x8b": "gzip", b"GIF8": "GIF", b"BM": "BMP",
    b"ZISRAWFILE": "CZI", b"\xda\xce\xbe\x0a": "ND2", b"\x70\0\0\0": "LIF",
    b"\0\0\0\x0cjP": "JPEG 2000", b"%PDF": "PDF",
}  # fmt: skip

A_MODEL = "a model is the file model.pt that eseg train writes, or a package of the zoo"
_YAML = {".yaml", ".yml"}
PACKAGE = "a package of the BioImage Model Zoo"
DESCRIPTIONS = "rdf.yaml", "bioimageio.yaml"  # of a package; the second is what the zoo's website makes of the first
_ZARR = ".zattrs", ".zgroup", ".zarray", "zarr.json"
# Names of a folder that are compared with one that is not there, and how alike a name must be to be offered, 0..1.
_COMPARED = 10_000
_ALIKE = 0.6


def missing(path: Path) -> str:
    """Return what to say of a path where nothing lies: a broken link, or the folder and the name in it that is nearest.

    Of a path in a folder that does not exist, it is the folder that is looked for.
    """
    link = next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)
    if link:
        return f"{path} does not exist: {link} is a link to {link.readlink()}, which is not there"
    first = path
    while not first.parent.exists() and first != first.parent:
        first = first.parent
    folder = first.parent.absolute()
    lost = f"{path} does not exist" if first == path else f"{path} does not exist, as there is no {first.name}"
    near = _nearest(first.name, folder)
    return f"{lost} in {folder}" + (f"; did you mean {near}?" if near else "")


def _nearest(name: str, folder: Path) -> str:
    """Return the name in a folder that is most like this one, '' where none is alike."""
    try:
        names = {one.name.lower(): one.name for one in islice(folder.iterdir(), _COMPARED)}
    except OSError:  # a file, or a folder that may not be read
        return ""
    found = difflib.get_close_matches(name.lower(), names, n=1, cutoff=_ALIKE)
    return names[found[0]] if found else ""


def kind_by_beginning(beginning: bytes) -> str:
    """Return the kind of a file that begins so, such as 'TIFF'; '' for an unknown one."""
    return next((kind for start, kind in BEGINNINGS.items() if beginning.startswith(start)), "")


def described(path: Path) -> str:
    """Return what lies at a path, such as 'a folder', 'a TIFF file' or 'a model'; '' where nobody knows.

    A model is what `eseg train` writes, or another file of torch; a package is one of the BioImage Model Zoo.
    """
    if path.is_dir():
        return "a Zarr" if any((path / name).exists() for name in _ZARR) else "a folder"
    try:
        with path.open("rb") as file:
            beginning = file.read(512)
    except OSError:
        return ""
    kind = kind_by_beginning(beginning)
    if kind == ZIP:
        return _described_zip(path)
    if kind:
        return f"a{'n' * (kind[0] in 'HN')} {kind} file"
    if path.suffix.lower() in _YAML:
        return "a YAML file"
    return "a text file" if _is_text(beginning) else ""


def _described_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (OSError, ValueError, LookupError, NotImplementedError, EOFError, struct.error, zipfile.BadZipFile):
        return "a damaged ZIP file"
    if any(name in names for name in DESCRIPTIONS):
        return PACKAGE
    return "a model" if any(name.endswith("/data.pkl") for name in names) else "a ZIP file"


def _is_text(beginning: bytes) -> bool:
    """Say whether a file that begins so is text: UTF-8, perhaps cut within a letter, and no control characters.

    Less than four bytes say nothing.
    """
    text = beginning.decode("utf-8", errors="ignore")
    whole = len(beginning) > 3 and len(text.encode()) > len(beginning) - 4
    return whole and all(letter.isprintable() or letter.isspace() for letter in text)


def require_model(path: Path) -> None:
    """Raise `CheckpointError` where nothing lies at `path`, or something that is clearly no model; say what it is.

    A package of the zoo holds one.
    """
    if not path.exists():
        raise CheckpointError(missing(path))
    kind = described(path)
    if path.is_dir():
        inside = path / "model.pt"
        hint = f"did you mean {inside}?" if inside.is_file() else A_MODEL
        raise CheckpointError(f"{path} is {kind}, not a model; {hint}")
    if kind == "a YAML file":
        raise CheckpointError(f"{path} is a YAML file, not a model; a run's model is model.pt in its folder 'out'")
    if kind.endswith(" file") and not kind.startswith("a damaged"):
        raise CheckpointError(f"{path} is {kind}, not a model; {A_MODEL}")
