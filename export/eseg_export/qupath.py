"""`model_qupath.yaml`: the description once more, in format 0.4, because QuPath drops the halo of format 0.5.

Read in the source of QuPath's parser (qupath-bioimageio-spec 0.2.1) and of its `BioimageIoTools`; not run in QuPath.
"""

from __future__ import annotations

from typing import Any

from bioimageio.spec import ValidationContext
from bioimageio.spec.model import v0_4
from pydantic import ValidationError

from eseg_export.finished import Plain, channels
from eseg_export.yaml_text import to_yaml
from eseg_zoo.errors import ExportError

QUPATH = "model_qupath.yaml"  # QuPath opens YAML files whose names begin with 'model' or 'rdf'
_SAME = ("name", "description", "documentation", "covers", "id", "cite", "links", "tags", "version", "timestamp")
_LETTERS = {"batch": "b", "channel": "c", "z": "z", "y": "y", "x": "x"}
_NOT_STATED = "not stated"  # format 0.4 demands authors and a licence, and so does QuPath


def qupath_description(rdf: Plain) -> Plain:
    """Return the 0.4 description of a 2D package, derived from its `rdf.yaml` and from nothing else."""
    (given,), (returned,) = rdf["inputs"], rdf["outputs"]
    torchscript = rdf["weights"]["torchscript"]
    classes = enumerate(channels(returned))
    pixel_size = rdf.get("config", {}).get("eseg", {}).get("pixel_size")
    return {
        "format_version": "0.4.10",
        "type": "model",
        **{field: rdf[field] for field in _SAME if field in rdf},
        "authors": rdf.get("authors") or [{"name": _NOT_STATED}],
        "license": rdf.get("license", _NOT_STATED),
        "inputs": [_tensor(given) | {"shape": _input_shape(given)}],
        "outputs": [
            _tensor(returned)
            | {
                "description": f"Probabilities, by channel: {', '.join(f'{i} {name}' for i, name in classes)}.",
                "data_range": returned["data"]["range"],
                "shape": _output_shape(given, returned),
                "halo": [axis.get("halo", 0) for axis in returned["axes"]],
            }
        ],
        "test_inputs": [given["test_tensor"]["source"]],
        "test_outputs": [returned["test_tensor"]["source"]],
        "sample_inputs": [given["sample_tensor"]["source"]],
        "sample_outputs": [returned["sample_tensor"]["source"]],
        # Format 0.4 has no place where QuPath would look for the pixel size: this is for people to read.
        **({"config": {"eseg": {"pixel_size": pixel_size}}} if pixel_size else {}),
        # TorchScript is all that QuPath reads of our formats; alone, it has no parent.
        "weights": {"torchscript": {key: torchscript[key] for key in ("source", "sha256", "pytorch_version")}},
    }


def write_qupath(rdf: Plain) -> bytes:
    """Return the content of `model_qupath.yaml`; raises `ExportError` when the zoo's own 0.4 format refuses it."""
    description = qupath_description(rdf)
    try:
        with ValidationContext(perform_io_checks=False):
            v0_4.ModelDescr.model_validate(description)
    except ValidationError as error:
        raise ExportError(f"the zoo's format 0.4 refuses {QUPATH}: {' '.join(str(error).split())}") from error
    note = "# Derived from rdf.yaml. For QuPath alone, which reads the halo of this older format only.\n"
    return (note + to_yaml(description)).encode()


def _tensor(tensor: Plain) -> Plain:
    axes = "".join(_LETTERS.get(axis["id"], "?") for axis in tensor["axes"])
    return {"name": tensor["id"], "data_type": tensor["data"]["type"], "axes": axes}


def _input_shape(given: Plain) -> dict[str, list[int]]:
    sizes = [_size(axis) for axis in given["axes"]]
    return {"min": [low for low, _ in sizes], "step": [step for _, step in sizes]}


def _size(axis: Plain) -> tuple[int, int]:
    if axis["type"] == "space":
        return axis["size"]["min"], axis["size"]["step"]
    return len(axis.get("channel_names", [1])), 0


def _output_shape(given: Plain, returned: Plain) -> dict[str, Any]:
    # The number of classes as a factor, not as an offset: QuPath adds the offset once to count the classes and twice
    # (as the format says) to shape the tensor.
    factor = len(channels(returned)) / len(channels(given))
    return {
        "reference_tensor": given["id"],
        "scale": [factor if axis["type"] == "channel" else 1.0 for axis in returned["axes"]],
        "offset": [0] * len(returned["axes"]),
    }
