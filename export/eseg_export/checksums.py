"""The sha256 of every file of a package, written into its `rdf.yaml`, so that a change after the export is told.

They are in `config.eseg.sha256`. Of `rdf.yaml` itself it is the sha256 of its text with 64 zeros in the place of this
one, as no text can hold its own. They guard against mistakes, not against somebody who computes them anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from eseg_export.finished import RDF, FinishedPackage, Plain
from eseg_export.yaml_text import to_yaml
from eseg_zoo.errors import ExportError

_ZEROS = "0" * 64


def with_checksums(rdf: Plain, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the content of the package by file name: `rdf.yaml` first, with the sha256 of every file in it."""
    checksums = {RDF: _ZEROS} | {name: sha256(content).hexdigest() for name, content in files.items()}
    own = rdf["config"]["eseg"] | {"sha256": checksums}
    text = to_yaml(rdf | {"config": rdf["config"] | {"eseg": own}})
    before, _, after = text.rpartition(_ZEROS)
    return {RDF: f"{before}{sha256(text.encode()).hexdigest()}{after}".encode(), **files}


def refuse_changed(package: FinishedPackage) -> None:
    """Raise `ExportError` unless the package holds the files that were exported, all of them and no other."""
    recorded = _recorded(package.rdf)
    if not recorded:
        raise ExportError(
            "the package has no list of checksums (config.eseg.sha256 in rdf.yaml): it was exported by an earlier"
            " version or by other software; export the model again with eseg export"
        )
    changed = [
        *(f"{name} is missing" for name in recorded if name not in package.files),
        *(f"{name} was added" for name in package.files if name not in recorded),
        *(f"{name} was changed" for name in recorded if name in package.files and not _is_same(package, name)),
    ]
    if changed:
        raise ExportError(f"the package is not as it was exported: {', '.join(changed)}; export the model again")


def _recorded(rdf: Plain) -> dict[str, str]:
    """Return the checksums in a description, by file name; none where it has no such list, or one of another form."""
    found: object = rdf
    for key in ("config", "eseg", "sha256"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not all(isinstance(text, str) for pair in found.items() for text in pair):
        return {}
    return found


def _is_same(package: FinishedPackage, name: str) -> bool:
    content, recorded = package.files[name], _recorded(package.rdf)[name]
    if name == RDF:
        before, _, after = content.rpartition(recorded.encode())
        content = before + _ZEROS.encode() + after
    return sha256(content).hexdigest() == recorded
