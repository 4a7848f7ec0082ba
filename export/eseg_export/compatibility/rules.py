"""The rules: small functions of a finished package and of what one consumer accepts; each yields what it finds.

Those about tiles are in `tile_rules.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import onnx
import yaml
from google.protobuf.message import DecodeError

from eseg_export.compatibility.consumers import Consumer
from eseg_export.compatibility.findings import Finding, Outcome, Rule, fault, limit
from eseg_export.compatibility.tile_rules import TILE_RULES
from eseg_export.finished import FinishedPackage, channels, of_type
from eseg_export.names import channel_names
from eseg_export.qupath import QUPATH, qupath_description

_NEWEST_FORMAT = (0, 5, 4)  # read by every consumer; what comes later in spec 0.5.12 is not
_STATED_IN_THE_CARD = ("authors", "license")


def files_are_as_described(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find files that the description names and that are missing, or changed since they were hashed."""
    for name, sha256 in package.sources():
        if name not in package.files:
            yield fault(f"{name} is named in rdf.yaml and missing in the package")
        elif sha256 and (found := hashlib.sha256(package.files[name]).hexdigest()) != sha256:
            yield fault(
                f"{name} has the sha256 {found[:8]}..., rdf.yaml says {sha256[:8]}...: it changed or is cut off"
            )


def format_is_known(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find a format that is newer than what all consumers read."""
    version = str(package.rdf.get("format_version"))
    if tuple(int(part) for part in version.split(".") if part.isdigit()) > _NEWEST_FORMAT:
        yield fault(f"format_version is {version}; the newest that all consumers read is 0.5.4")


def texts_are_plain(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find maps where most consumers read strings."""
    for name, value in (("documentation", [package.rdf.get("documentation")]), ("covers", package.rdf.get("covers"))):
        if consumer.plain_texts and any(isinstance(item, dict) for item in value or []):
            yield fault(f"{name} is a map of source and sha256; it must be a plain string")


def required_fields_are_stated(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find fields that are missing and that the consumer's parser demands."""
    missing = [name for name in consumer.required if not package.rdf.get(name)]
    unstated = [name for name in missing if name in _STATED_IN_THE_CARD]
    if unstated:
        why = f"it refuses rdf.yaml without {' and '.join(unstated)}: state them in the card"
        if QUPATH not in package.files:
            yield Finding(Outcome.DOES_NOT, why)
        else:
            yield limit(f"{why}, or open {QUPATH} only")
    for name in missing:
        if name not in unstated:
            yield fault(f"rdf.yaml has no {name}")


def tensors_are_single(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find more or fewer tensors than one input and one output, where nothing else is run."""
    inputs, outputs = len(package.rdf.get("inputs", [])), len(package.rdf.get("outputs", []))
    if (consumer.one_tensor or consumer.one_axis_order) and (inputs, outputs) != (1, 1):
        yield fault(f"the model has {inputs} inputs and {outputs} outputs; it must have one of each")


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
                yield fault(f"{tensor['id']} has an axis {axis['id']}; axes must be {', '.join(known)}")
    orders = [[axis["id"] for axis in tensor["axes"]] for tensor in package.tensors]
    if consumer.one_axis_order and any(order != orders[0] or "channel" not in order for order in orders):
        shown = "; ".join(" ".join(order) for order in orders)
        yield fault(f"axes of input and output are {shown}; they must be the same, with a channel axis")


def channels_are_named(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find channels without a name, or with one that the consumer refuses."""
    for tensor in package.tensors:
        names = channels(tensor)
        if of_type(tensor, "channel") and not names:
            yield fault(f"the channels of {tensor['id']} have no channel_names")
        if consumer.identifiers and names != channel_names(names):
            yield fault(f"the channel_names of {tensor['id']} are {', '.join(names)}; they must be unique identifiers")


def classes_are_in_order(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find output channels that are not the model's classes in their order."""
    named, classes = channels(package.rdf["outputs"][0]), channel_names([entry["name"] for entry in package.classes])
    if classes and named != classes:
        yield fault(f"the output's channels are {', '.join(named)}; the model's classes are {', '.join(classes)}")


def weights_can_be_run(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that no weights format can be run: a state dict alone is useless in Java."""
    if not set(consumer.formats) & set(package.weights):
        yield fault(f"the weights are {', '.join(package.weights)}; it runs {' or '.join(consumer.formats)} only")


def weights_have_one_origin(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find another number of original weights than one."""
    origins = [name for name, entry in package.weights.items() if "parent" not in entry]
    if len(origins) != 1:
        yield fault(f"weights without a parent are {', '.join(origins) or 'none'}; there must be exactly one")


def onnx_is_old_enough(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find an ONNX file too new for the consumer's ONNX Runtime, or not as described; reads the file itself."""
    entry = package.weights.get("onnx", {})
    if consumer.newest_opset is None or consumer.newest_ir is None or entry.get("source") not in package.files:
        return
    try:
        model = onnx.load_model_from_string(package.files[entry["source"]])
    except DecodeError:
        yield fault(f"{entry['source']} is not a readable ONNX file")
        return
    opset = max((imported.version for imported in model.opset_import), default=0)
    if opset > consumer.newest_opset or model.ir_version > consumer.newest_ir:
        yield fault(
            f"{entry['source']} has opset {opset} and IR version {model.ir_version}; the newest that {consumer.name}"
            f" loads are {consumer.newest_opset} and {consumer.newest_ir}"
        )
    if opset != entry.get("opset_version"):
        yield fault(f"{entry['source']} has opset {opset}, rdf.yaml says {entry.get('opset_version')}")


def operations_are_understood(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find operations around the network that the consumer would skip or refuse."""
    for tensor in package.tensors:
        for operation in (*tensor.get("preprocessing", []), *tensor.get("postprocessing", [])):
            if consumer.operations is not None and operation["id"] not in consumer.operations:
                yield fault(f"{tensor['id']} asks for {operation['id']}, which {consumer.name} skips or refuses")


def size_offsets_are_explicit(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find sizes that refer to the input without an offset: JDLL reads no default."""
    for axis in of_type(package.rdf["outputs"][0], "space"):
        if consumer.explicit_offset and isinstance(axis.get("size"), dict) and "offset" not in axis["size"]:
            yield fault(f"the size of output axis {axis['id']} states no offset")


def github_is_asked(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find people who are looked up at GitHub whenever the package is loaded."""
    people = [*package.rdf.get("authors", []), *package.rdf.get("maintainers", [])]
    if consumer.asks_github and any(person.get("github_user") for person in people):
        yield limit("it cannot load the package without network: it asks GitHub for every github_user")


def halo_reaches_the_consumer(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that the halo is dropped, and an attached 0.4 description that says something else."""
    if not consumer.drops_halo or len(package.space) not in consumer.dims or not any(package.halo.values()):
        return
    if QUPATH not in package.files:
        yield limit("it drops the halo: borders of its tiles may show")
        return
    if yaml.safe_load(package.files[QUPATH]) != qupath_description(package.rdf):
        yield fault(f"{QUPATH} does not say what rdf.yaml says")
    yield limit(f"it drops the halo of rdf.yaml, so tile borders may show; {QUPATH} keeps it (not tried in QuPath)")


def pixel_size_is_asked(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that a person has to say the pixel size, by which the consumer resamples."""
    if not consumer.asks_pixel_size or len(package.space) not in consumer.dims:
        return
    known = package.rdf.get("config", {}).get("eseg", {}).get("pixel_size", {})
    if known:
        shown = " x ".join(f"{size:.4g}" for size in known.values())
        yield limit(f"set the pixel size in its dialog to {shown} micrometres, or it resamples to another")
    else:
        yield limit("the model's pixel size is unknown: set it by hand to that of the image, or it resamples")


def samples_can_be_opened(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find tensors without a TIFF to try."""
    for tensor in package.tensors:
        source = str(tensor.get("sample_tensor", {}).get("source", ""))
        if consumer.sample_images and not source.endswith((".tif", ".tiff")):
            yield limit(f"{tensor['id']} has no sample TIFF to try")


def formats_agree(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find weights whose measured difference is more than the consumer tolerates."""
    measured = package.rdf.get("config", {}).get("eseg", {}).get("largest_differences", {})
    for name, difference in measured.items():
        if consumer.largest_difference is not None and not difference <= consumer.largest_difference:
            yield fault(f"{name} differs by {difference:.3g}; {consumer.largest_difference:g} is tolerated")


def rounding_is_forgiven(package: FinishedPackage, consumer: Consumer) -> Iterator[Finding]:
    """Find that TF32 on a GPU moves more values than the default tolerance forgives."""
    figures = package.rdf.get("config", {}).get("eseg", {}).get("reproducibility")
    if not consumer.ranks_gpus or figures is None:
        return
    found = figures["mismatched_per_million"]["tf32"]["default"]
    allowed = figures["default_tolerance"]["mismatched_elements_per_million"]
    if found > allowed:
        yield limit(
            f"on a GPU with TF32 {found:,.0f} values per million are beyond its default tolerance, {allowed} are"
            " allowed: uploaded in the browser, which drops the declared tolerance, it ranks as not reproducible there"
        )


RULES: tuple[Rule, ...] = (
    files_are_as_described, format_is_known, texts_are_plain, required_fields_are_stated, tensors_are_single,
    dimensions_are_supported, axes_are_known, channels_are_named, classes_are_in_order, weights_can_be_run,
    weights_have_one_origin, onnx_is_old_enough, operations_are_understood, size_offsets_are_explicit, *TILE_RULES,
    github_is_asked, halo_reaches_the_consumer, pixel_size_is_asked, samples_can_be_opened, formats_agree,
    rounding_is_forgiven,
)  # fmt: skip
