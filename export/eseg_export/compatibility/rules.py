"""The rules: small functions of a finished package and of what one consumer accepts; each yields what it finds.

A finding is a *fault* where the export went wrong: then there is no package. Otherwise it says what the model is, or
what its card leaves out, and ends up in the table of the README.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from math import prod

import onnx
import yaml
from google.protobuf.message import DecodeError

from eseg_export.compatibility.consumers import Consumer
from eseg_export.finished import FinishedPackage, channels, of_type
from eseg_export.names import channel_names
from eseg_export.qupath import QUPATH, qupath_description

_NEWEST_FORMAT = (0, 5, 4)  # read by every consumer; what comes later in spec 0.5.12 is not
_STATED_IN_THE_CARD = ("authors", "license")


class Outcome(IntEnum):
    """What a package is for a consumer."""

    RUNS = 0
    LIMIT = 1
    DOES_NOT = 2

    @property
    def text(self) -> str:
        return ("runs", "runs with a limit", "does not run")[self]


@dataclass(frozen=True)
class Finding:
    """One reason for an outcome."""

    outcome: Outcome
    why: str
    fault: bool = False


Rule = Callable[[FinishedPackage, Consumer], Iterator[Finding]]


def _fault(why: str) -> Finding:
    return Finding(Outcome.DOES_NOT, why, fault=True)


def _limit(why: str) -> Finding:
    return Finding(Outcome.LIMIT, why)


def files_are_as_described(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find files that the description names and that are missing, or changed since they were hashed."""
    for name, sha256 in package.sources():
        if name not in package.files:
            yield _fault(f"{name} is named in rdf.yaml and missing in the package")
        elif sha256 and (found := hashlib.sha256(package.files[name]).hexdigest()) != sha256:
            yield _fault(
                f"{name} has the sha256 {found[:8]}..., rdf.yaml says {sha256[:8]}...: it changed or is cut off"
            )


def format_is_known(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find a format that is newer than what all consumers read."""
    version = str(package.rdf.get("format_version"))
    if tuple(int(part) for part in version.split(".") if part.isdigit()) > _NEWEST_FORMAT:
        yield _fault(f"format_version is {version}; the newest that all consumers read is 0.5.4")


def texts_are_plain(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find maps where most consumers read strings."""
    for name, value in (("documentation", [package.rdf.get("documentation")]), ("covers", package.rdf.get("covers"))):
        if consumer.plain_texts and any(isinstance(item, dict) for item in value or []):
            yield _fault(f"{name} is a map of source and sha256; it must be a plain string")


def required_fields_are_stated(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find fields that are missing and that the consumer's parser demands."""
    missing = [name for name in consumer.required if not package.rdf.get(name)]
    unstated = [name for name in missing if name in _STATED_IN_THE_CARD]
    if unstated:
        why = f"it refuses rdf.yaml without {' and '.join(unstated)}: state them in the card"
        if QUPATH not in package.files:
            yield Finding(Outcome.DOES_NOT, why)
        else:
            yield _limit(f"{why}, or open {QUPATH} only")
    for name in missing:
        if name not in unstated:
            yield _fault(f"rdf.yaml has no {name}")


def tensors_are_single(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find more or fewer tensors than one input and one output, where nothing else is run."""
    inputs, outputs = len(package.rdf.get("inputs", [])), len(package.rdf.get("outputs", []))
    if (consumer.one_tensor or consumer.one_axis_order) and (inputs, outputs) != (1, 1):
        yield _fault(f"the model has {inputs} inputs and {outputs} outputs; it must have one of each")


def dimensions_are_supported(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find a model of more dimensions than the consumer runs."""
    if len(package.space) not in consumer.dims:
        supported = " and ".join(f"{dims}D" for dims in consumer.dims)
        yield Finding(Outcome.DOES_NOT, f"the model is {len(package.space)}D; it runs {supported} models only")


def axes_are_known(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find axes that the consumer does not know, or that the output has in another order."""
    known = consumer.axis_ids
    for tensor in package.tensors:
        for axis in tensor["axes"]:
            if known is not None and axis["id"] not in known:
                yield _fault(f"{tensor['id']} has an axis {axis['id']}; axes must be {', '.join(known)}")
    orders = [[axis["id"] for axis in tensor["axes"]] for tensor in package.tensors]
    if consumer.one_axis_order and any(order != orders[0] or "channel" not in order for order in orders):
        shown = "; ".join(" ".join(order) for order in orders)
        yield _fault(f"axes of input and output are {shown}; they must be the same, with a channel axis")


def channels_are_named(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find channels without a name, or with one that the consumer refuses."""
    for tensor in package.tensors:
        names = channels(tensor)
        if of_type(tensor, "channel") and not names:
            yield _fault(f"the channels of {tensor['id']} have no channel_names")
        if consumer.identifiers and names != channel_names(names):
            yield _fault(f"the channel_names of {tensor['id']} are {', '.join(names)}; they must be unique identifiers")


def classes_are_in_order(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find output channels that are not the model's classes in their order."""
    named, classes = channels(package.rdf["outputs"][0]), channel_names([entry["name"] for entry in package.classes])
    if classes and named != classes:
        yield _fault(f"the output's channels are {', '.join(named)}; the model's classes are {', '.join(classes)}")


def weights_can_be_run(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that no weights format can be run: a state dict alone is useless in Java."""
    if not set(consumer.formats) & set(package.weights):
        yield _fault(f"the weights are {', '.join(package.weights)}; it runs {' or '.join(consumer.formats)} only")


def weights_have_one_origin(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find another number of original weights than one."""
    origins = [name for name, entry in package.weights.items() if "parent" not in entry]
    if len(origins) != 1:
        yield _fault(f"weights without a parent are {', '.join(origins) or 'none'}; there must be exactly one")


def onnx_is_old_enough(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find an ONNX file too new for the consumer's ONNX Runtime, or not as described; reads the file itself."""
    entry = package.weights.get("onnx", {})
    if consumer.newest_opset is None or consumer.newest_ir is None or entry.get("source") not in package.files:
        return
    try:
        model = onnx.load_model_from_string(package.files[entry["source"]])
    except DecodeError:
        yield _fault(f"{entry['source']} is not a readable ONNX file")
        return
    opset = max((imported.version for imported in model.opset_import), default=0)
    if opset > consumer.newest_opset or model.ir_version > consumer.newest_ir:
        yield _fault(
            f"{entry['source']} has opset {opset} and IR version {model.ir_version}; the newest that {consumer.name}"
            f" loads are {consumer.newest_opset} and {consumer.newest_ir}"
        )
    if opset != entry.get("opset_version"):
        yield _fault(f"{entry['source']} has opset {opset}, rdf.yaml says {entry.get('opset_version')}")


def operations_are_understood(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find operations around the network that the consumer would skip or refuse."""
    for tensor in package.tensors:
        for operation in (*tensor.get("preprocessing", []), *tensor.get("postprocessing", [])):
            if consumer.operations is not None and operation["id"] not in consumer.operations:
                yield _fault(f"{tensor['id']} asks for {operation['id']}, which {consumer.name} skips or refuses")


def halo_covers_the_margin(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find a halo smaller than the context that the network needs for tiles that begin anywhere."""
    geometry = package.geometry
    if geometry is None or len(geometry.axes) != len(package.halo):
        return
    for (name, halo), axis in zip(package.halo.items(), geometry.axes, strict=True):
        needed = axis.margin + axis.stride - 1
        if halo < needed:
            yield _fault(f"the halo of {name} is {halo}; the network needs {needed} pixels: tiles would show")


def size_offsets_are_explicit(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find sizes that refer to the input without an offset: JDLL reads no default."""
    for axis in of_type(package.rdf["outputs"][0], "space"):
        if consumer.explicit_offset and isinstance(axis.get("size"), dict) and "offset" not in axis["size"]:
            yield _fault(f"the size of output axis {axis['id']} states no offset")


def small_images_are_refused(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the consumer enforces the stated minimum."""
    smallest = {axis["id"]: axis["size"]["min"] for axis in package.space if isinstance(axis.get("size"), dict)}
    if consumer.keeps_min and smallest and max(smallest.values()) > 1:
        sides = " x ".join(map(str, smallest.values()))
        yield _limit(f"images need at least {sides} pixels ({', '.join(smallest)})")


def large_images_hang(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find how large an image may be before JDLL never returns from cutting it into tiles."""
    if consumer.most_elements is None or not any(package.halo.values()):
        return
    dims, most = len(package.space), consumer.most_elements
    side = int((most / len(channels(package.rdf["inputs"][0]) or [1])) ** (1 / dims)) - 2 * max(package.halo.values())
    shape = " x ".join([f"{side:,}"] * dims)
    yield _limit(f"it hangs above {most / 1e6:.1f} million elements a tile: keep images or tiles below {shape} pixels")


def tiles_fit_a_message(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the probabilities of one tile are more than the consumer sends at once."""
    tile = consumer.tile.get(len(package.space))
    if tile is None or consumer.largest_message is None:
        return
    sides = [max(tile, axis["size"]["min"]) for axis in package.space]
    size = 4 * len(channels(package.rdf["outputs"][0])) * prod(sides)
    if size > consumer.largest_message:
        shape, most = " x ".join(map(str, sides)), consumer.largest_message / 1e6
        yield _limit(f"a tile of {shape} returns {size / 1e6:.0f} MB, and a message holds {most:.0f} MB")


def halo_reaches_the_consumer(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the halo is dropped, and an attached 0.4 description that says something else."""
    if not consumer.drops_halo or len(package.space) not in consumer.dims or not any(package.halo.values()):
        return
    if QUPATH not in package.files:
        yield _limit("it drops the halo: borders of its tiles may show")
        return
    if yaml.safe_load(package.files[QUPATH]) != qupath_description(package.rdf):
        yield _fault(f"{QUPATH} does not say what rdf.yaml says")
    yield _limit(f"it drops the halo of rdf.yaml, so tile borders may show; {QUPATH} keeps it (not tried in QuPath)")


def pixel_size_is_known(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the consumer would resample to a guessed pixel size."""
    applies = consumer.asks_pixel_size and len(package.space) in consumer.dims
    if applies and not all(axis.get("unit") for axis in package.space):
        yield _limit("the model's pixel size is unknown: set it by hand to that of the image, or it resamples")


def samples_can_be_opened(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find tensors without a TIFF to try."""
    for tensor in package.tensors:
        source = str(tensor.get("sample_tensor", {}).get("source", ""))
        if consumer.sample_images and not source.endswith((".tif", ".tiff")):
            yield _limit(f"{tensor['id']} has no sample TIFF to try")


def formats_agree(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find weights whose measured difference is more than the consumer tolerates."""
    measured = package.rdf.get("config", {}).get("eseg", {}).get("largest_differences", {})
    for name, difference in measured.items():
        if consumer.largest_difference is not None and not difference <= consumer.largest_difference:
            yield _fault(f"{name} differs by {difference:.3g}; {consumer.largest_difference:g} is tolerated")


RULES: tuple[Rule, ...] = (
    files_are_as_described, format_is_known, texts_are_plain, required_fields_are_stated, tensors_are_single,
    dimensions_are_supported, axes_are_known, channels_are_named, classes_are_in_order, weights_can_be_run,
    weights_have_one_origin, onnx_is_old_enough, operations_are_understood, halo_covers_the_margin,
    size_offsets_are_explicit, small_images_are_refused, large_images_hang, tiles_fit_a_message,
    halo_reaches_the_consumer, pixel_size_is_known, samples_can_be_opened, formats_agree,
)  # fmt: skip
