"""A finished package as its consumers meet it: the description as plain YAML values, and the files."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eseg_zoo.errors import ExportError, shown
from eseg_zoo.model.architecture import Geometry
from eseg_zoo.paths import missing

RDF = "rdf.yaml"  # JDLL finds no other name

# What the standard library raises for zips that are damaged, encrypted, or packed in a way that it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, NotImplementedError, ValueError)

Plain = dict[str, Any]
"""A mapping out of YAML."""


@dataclass(frozen=True)
class FinishedPackage:
    """What is in the zip, parsed; its properties read the description and assume nothing about its quality."""

    rdf: Plain
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> FinishedPackage:
        """Parse the content of a package, by file name; raises `ExportError` when it has no readable description."""
        if RDF not in files:
            raise ExportError(f"the package has no {RDF}; it holds {', '.join(files) or 'nothing'}")
        try:
            rdf = yaml.safe_load(files[RDF])
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # the last two: no date, and nested endlessly
            raise ExportError(f"{RDF} is not a readable YAML file: {' '.join(str(error).split())}") from error
        if not isinstance(rdf, dict):
            raise ExportError(f"{RDF} must hold keys, not {type(rdf).__name__}")
        return cls(rdf, files)

    @property
    def tensors(self) -> list[Plain]:
        return [*self.rdf.get("inputs", []), *self.rdf.get("outputs", [])]

    @property
    def weights(self) -> Mapping[str, Plain]:
        weights: Mapping[str, Plain] = self.rdf.get("weights", {})
        return weights

    @property
    def space(self) -> list[Plain]:
        """Spatial axes of the input."""
        return of_type(self.rdf["inputs"][0], "space")

    @property
    def halo(self) -> dict[str, int]:
        """Halo of each spatial axis of the output, in pixels."""
        return {axis["id"]: axis.get("halo", 0) for axis in of_type(self.rdf["outputs"][0], "space")}

    @property
    def classes(self) -> list[Plain]:
        """The classes as the exporter wrote them down; empty for a package of others."""
        classes: list[Plain] = self.rdf.get("config", {}).get("eseg", {}).get("classes", [])
        return classes

    @property
    def geometry(self) -> Geometry | None:
        """The geometry of the shipped network, worked out from the arguments of its architecture."""
        kwargs = self.weights.get("pytorch_state_dict", {}).get("architecture", {}).get("kwargs", {})
        return Geometry.of(kwargs["strides"], kwargs["kernels"]) if {"strides", "kernels"} <= kwargs.keys() else None

    def sources(self) -> Iterator[tuple[str, str | None]]:
        """Yield every file that the description names, with its sha256 where it states one."""
        yield from _sources(self.rdf)
        for named in (self.rdf.get("documentation"), *self.rdf.get("covers", [])):
            if isinstance(named, str):
                yield named, None


def read_package(path: Path) -> FinishedPackage:
    """Return the package in the zip `path`; raises `ExportError` for a damaged one, or one with names of elsewhere."""
    if not path.exists():
        raise ExportError(missing(path))
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            _refuse_names(path, names)
            files = {name: archive.read(name) for name in names}
    except (*_UNREADABLE, OSError) as error:
        raise ExportError(f"{path.name} is not a readable zip: {' '.join(str(error).split()) or 'damaged'}") from error
    return FinishedPackage.of(files)


def _refuse_names(path: Path, names: list[str]) -> None:
    """Raise `ExportError` for a name that is there twice, leads out of the package, or cannot be printed."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ExportError(f"{path.name} has {shown(name)} in it more than once")
        seen.add(name)
        parts = name.split("/")
        if "\\" in name or ":" in name or not name.isprintable() or any(part in ("", ".", "..") for part in parts):
            raise ExportError(f"{path.name} has a file in it whose name leads elsewhere: {shown(name)}")


def of_type(tensor: Plain, kind: str) -> list[Plain]:
    """Return the axes of one type, such as `space`."""
    return [axis for axis in tensor.get("axes", []) if axis.get("type") == kind]


def channels(tensor: Plain) -> list[str]:
    """Return the names of a tensor's channels."""
    return [name for axis in of_type(tensor, "channel") for name in axis.get("channel_names", [])]


def _sources(value: Any) -> Iterator[tuple[str, str | None]]:
    if isinstance(value, dict):
        if isinstance(value.get("source"), str):
            yield value["source"], value.get("sha256")
        for item in value.values():
            yield from _sources(item)
    elif isinstance(value, list):
        for item in value:
            yield from _sources(item)
