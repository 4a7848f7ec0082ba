"""Every rule with a package that breaks it, and the table that comes out of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from eseg_export.compatibility import rules, tile_rules
from eseg_export.compatibility.consumers import CONSUMERS
from eseg_export.compatibility.findings import Outcome, Rule
from eseg_export.compatibility.rules import RULES
from eseg_export.compatibility.verdicts import Verdict, judge, refuse_faults
from eseg_export.finished import FinishedPackage, read_package
from eseg_export.package import export
from eseg_export.qupath import QUPATH

from eseg_zoo.errors import ExportError

from ..conftest import Exported, MakeCheckpoint

Plain = dict[str, Any]
Edit = Callable[[Plain, dict[str, bytes]], object]
BY_NAME = {consumer.name: consumer for consumer in CONSUMERS}


@pytest.fixture(scope="module")
def sound(exported: Exported) -> FinishedPackage:
    return read_package(exported.package.path)


def edited(package: FinishedPackage, edit: Edit) -> FinishedPackage:
    rdf, files = copy.deepcopy(package.rdf), dict(package.files)
    edit(rdf, files)
    return FinishedPackage(rdf, files)


@dataclass(frozen=True)
class Case:
    rule: Rule
    consumer: str
    edit: Edit
    why: str  # of the first finding
    outcome: Outcome = Outcome.DOES_NOT
    fault: bool = True


def y_axis(rdf: Plain) -> Plain:
    axis: Plain = rdf["outputs"][0]["axes"][2]
    return axis


def newer_onnx(rdf: Plain, files: dict[str, bytes]) -> None:
    model = onnx.load_model_from_string(files["weights.onnx"])
    model.ir_version, model.opset_import[0].version = 10, 19
    files["weights.onnx"] = model.SerializeToString()


def many_classes(rdf: Plain, files: dict[str, bytes]) -> None:
    rdf["outputs"][0]["axes"][1]["channel_names"] = [f"c{i}" for i in range(100)]


def small_volume(rdf: Plain, files: dict[str, bytes]) -> None:
    """What was declared before volumes got room."""
    for tensor, least in ((rdf["inputs"][0], 5), (rdf["outputs"][0], 5)):
        z = copy.deepcopy(tensor["axes"][2]) | {"id": "z"}
        z |= {"size": {"min": least, "step": 1}} if tensor is rdf["inputs"][0] else {"halo": 2}
        tensor["axes"].insert(2, z)


def leave_out(*fields: str) -> Edit:
    def edit(rdf: Plain, files: dict[str, bytes]) -> None:
        for field in fields:
            del rdf[field]

    return edit


CASES = {
    "a file is missing": Case(
        rules.files_are_as_described, "bioimageio.core", lambda rdf, files: files.pop("sample_input.tif") and None,
        "sample_input.tif is named in rdf.yaml and missing in the package",
    ),
    "a file was changed": Case(
        rules.files_are_as_described, "bioimageio.core", lambda rdf, files: files.update({"dense.py": b"pass"}),
        "dense.py has the sha256 d74ff0ee..., rdf.yaml says ",
    ),
    "README missing": Case(
        rules.files_are_as_described, "bioimageio.core", lambda rdf, files: files.pop("README.md") and None,
        "README.md is named in rdf.yaml and missing in the package",
    ),
    "a newer format": Case(
        rules.format_is_known, "ilastik", lambda rdf, files: rdf.update(format_version="0.5.12"),
        "format_version is 0.5.12; the newest that all consumers read is 0.5.4",
    ),
    "covers as maps": Case(
        rules.texts_are_plain, "QuPath", lambda rdf, files: rdf.update(covers=[{"source": "cover.png"}]),
        "covers is a map of source and sha256; it must be a plain string",
    ),
    "documentation as a map": Case(
        rules.texts_are_plain, "deepImageJ", lambda rdf, files: rdf.update(documentation={"source": "README.md"}),
        "documentation is a map of source and sha256; it must be a plain string",
    ),
    "no id": Case(rules.required_fields_are_stated, "deepImageJ", leave_out("id"), "rdf.yaml has no id"),
    "no authors": Case(
        rules.required_fields_are_stated, "QuPath", lambda rdf, files: None,
        f"it refuses rdf.yaml without authors and license: state them in the card, or open {QUPATH} only",
        Outcome.LIMIT, fault=False,
    ),
    "no authors and no way out": Case(
        rules.required_fields_are_stated, "QuPath", lambda rdf, files: files.pop(QUPATH) and None,
        "it refuses rdf.yaml without authors and license: state them in the card", fault=False,
    ),
    "two outputs": Case(
        rules.tensors_are_single, "ilastik", lambda rdf, files: rdf["outputs"].append(rdf["outputs"][0]),
        "the model has 1 inputs and 2 outputs; it must have one of each",
    ),
    "a volume": Case(
        rules.dimensions_are_supported, "QuPath", lambda rdf, files: rdf["inputs"][0]["axes"].append(y_axis(rdf)),
        "the model is 3D; it runs 2D models only", fault=False,
    ),
    "an axis renamed": Case(
        rules.axes_are_known, "ilastik", lambda rdf, files: y_axis(rdf).update(id="row"),
        "output has an axis row; axes must be batch, channel, time, z, y, x",
    ),
    "axes in another order": Case(
        rules.axes_are_known, "ilastik", lambda rdf, files: rdf["outputs"][0]["axes"].reverse(),
        "axes of input and output are batch channel y x; x y channel batch; they must be the same",
    ),
    "channels without names": Case(
        rules.channels_are_named, "QuPath",
        lambda rdf, files: rdf["inputs"][0]["axes"][1].pop("channel_names") and None,
        "the channels of input have no channel_names",
    ),
    "a name that is no identifier": Case(
        rules.channels_are_named, "ilastik",
        lambda rdf, files: rdf["outputs"][0]["axes"][1].update(channel_names=["cell wall", "a", "b"]),
        "the channel_names of output are cell wall, a, b; they must be unique identifiers",
    ),
    "classes swapped": Case(
        rules.classes_are_in_order, "bioimageio.core", lambda rdf, files: rdf["config"]["eseg"]["classes"].reverse(),
        "the output's channels are membrane, cytoplasm, mito_chondrion; the model's classes are mito_chondrion, ",
    ),
    "state dict alone": Case(
        rules.weights_can_be_run, "deepImageJ",
        lambda rdf, files: rdf.update(weights={"pytorch_state_dict": rdf["weights"]["pytorch_state_dict"]}),
        "the weights are pytorch_state_dict; it runs onnx or torchscript only",
    ),
    "no TorchScript": Case(
        rules.weights_can_be_run, "QuPath", lambda rdf, files: rdf["weights"].pop("torchscript") and None,
        "the weights are onnx, pytorch_state_dict; it runs torchscript only",
    ),
    "two originals": Case(
        rules.weights_have_one_origin, "bioimageio.core",
        lambda rdf, files: rdf["weights"]["onnx"].pop("parent") and None,
        "weights without a parent are onnx, pytorch_state_dict; there must be exactly one",
    ),
    "ONNX too new": Case(
        rules.onnx_is_old_enough, "deepImageJ", newer_onnx,
        "weights.onnx has opset 19 and IR version 10; the newest that deepImageJ loads are 17 and 8",
    ),
    "ONNX unlike its description": Case(
        rules.onnx_is_old_enough, "the zoo's test runner", newer_onnx,
        "weights.onnx has opset 19, rdf.yaml says 17",
    ),
    "ONNX unreadable": Case(
        rules.onnx_is_old_enough, "deepImageJ", lambda rdf, files: files.update({"weights.onnx": b"\xff\xff"}),
        "weights.onnx is not a readable ONNX file",
    ),
    "softmax declared": Case(
        rules.operations_are_understood, "deepImageJ",
        lambda rdf, files: rdf["outputs"][0].update(postprocessing=[{"id": "softmax"}]),
        "output asks for softmax, which deepImageJ skips or refuses",
    ),
    "fixed normalisation declared": Case(
        rules.operations_are_understood, "QuPath",
        lambda rdf, files: rdf["inputs"][0].update(preprocessing=[{"id": "fixed_zero_mean_unit_variance"}]),
        "input asks for fixed_zero_mean_unit_variance, which QuPath skips or refuses",
    ),
    "halo below the margin": Case(
        tile_rules.halo_covers_the_margin, "ilastik", lambda rdf, files: y_axis(rdf).update(halo=48),
        "the halo of y is 48; the network needs 59 pixels: tiles would show",
    ),
    "no halo": Case(
        tile_rules.halo_covers_the_margin, "ilastik", lambda rdf, files: y_axis(rdf).pop("halo") and None,
        "the halo of y is 0; the network needs 59 pixels: tiles would show",
    ),
    "an offset left out": Case(
        rules.size_offsets_are_explicit, "deepImageJ", lambda rdf, files: y_axis(rdf)["size"].pop("offset"),
        "the size of output axis y states no offset",
    ),
    "a minimum": Case(
        tile_rules.small_images_are_refused, "bioimageio.core", lambda rdf, files: None,
        "images need at least 136 x 136 pixels (y, x)", Outcome.LIMIT, fault=False,
    ),
    "a large image": Case(
        tile_rules.large_images_hang, "deepImageJ", lambda rdf, files: None,
        "it hangs above 50.3 million elements a tile: keep images or tiles below 6,966 x 6,966 pixels",
        Outcome.LIMIT, fault=False,
    ),
    "too many classes for a message": Case(
        tile_rules.tiles_fit_a_message, "ilastik", many_classes,
        "a tile of 512 x 512 returns 105 MB, and a message holds 100 MB", Outcome.LIMIT, fault=False,
    ),
    "the halo of format 0.5": Case(
        rules.halo_reaches_the_consumer, "QuPath", lambda rdf, files: None,
        f"it drops the halo of rdf.yaml, so tile borders may show; {QUPATH} keeps it (not tried in QuPath)",
        Outcome.LIMIT, fault=False,
    ),
    "no description in format 0.4": Case(
        rules.halo_reaches_the_consumer, "QuPath", lambda rdf, files: files.pop(QUPATH) and None,
        "it drops the halo: borders of its tiles may show", Outcome.LIMIT, fault=False,
    ),
    "two descriptions that differ": Case(
        rules.halo_reaches_the_consumer, "QuPath", lambda rdf, files: y_axis(rdf).update(halo=80),
        f"{QUPATH} does not say what rdf.yaml says",
    ),
    "a pixel size": Case(
        rules.pixel_size_is_asked, "QuPath", lambda rdf, files: None,
        "set the pixel size in its dialog to 0.008 x 0.008 micrometres", Outcome.LIMIT, fault=False,
    ),
    "an unknown pixel size": Case(
        rules.pixel_size_is_asked, "QuPath", lambda rdf, files: rdf["config"]["eseg"]["pixel_size"].clear(),
        "the model's pixel size is unknown: set it by hand", Outcome.LIMIT, fault=False,
    ),
    "a pixel size as a scale": Case(
        tile_rules.scales_are_one, "deepImageJ", lambda rdf, files: y_axis(rdf).update(unit="micrometer", scale=0.65),
        "axis y of output has the scale 0.65, which deepImageJ takes for output size / input size; the pixel size",
    ),
    "a scale that changes halo and output": Case(
        tile_rules.tiles_come_out_right, "deepImageJ", lambda rdf, files: y_axis(rdf).update(scale=0.005),
        "of an image of 1024 x 1024 deepImageJ takes a halo of 12,800 pixels instead of 64, returns 5 pixels of 1,024",
    ),
    "no room for a tile": Case(
        tile_rules.tiles_come_out_right, "QuPath", lambda rdf, files: y_axis(rdf).update(halo=300),
        "of an image of 1024 x 1024 QuPath has tiles of 408 pixels, in which a halo of 300 leaves no room",
    ),
    "a volume of which nothing is kept": Case(
        tile_rules.halo_leaves_room, "ilastik", small_volume,
        "of a tile of 5 x 136 x 136 voxels the halo leaves 1 x 8 x 8, 0.1%; at least 8% must be left",
    ),
    "tiles that are centred": Case(
        tile_rules.last_tiles_leave_the_grid, "ilastik", lambda rdf, files: None,
        "it centres its last tiles: where a side is not 0 or 1 modulo 16, they leave", Outcome.LIMIT, fault=False,
    ),
    "another mirror": Case(
        tile_rules.borders_are_mirrored_otherwise, "ilastik", lambda rdf, files: None,
        "it mirrors images without their edge pixel: labels within 52 pixels of a border", Outcome.LIMIT, fault=False,
    ),
    "a user of GitHub": Case(
        rules.github_is_asked, "ilastik", lambda rdf, files: rdf.update(authors=[{"name": "A", "github_user": "a"}]),
        "it cannot load the package without network: it asks GitHub for every", Outcome.LIMIT, fault=False,
    ),
    "no sample": Case(
        rules.samples_can_be_opened, "deepImageJ", lambda rdf, files: rdf["inputs"][0].pop("sample_tensor") and None,
        "input has no sample TIFF to try", Outcome.LIMIT, fault=False,
    ),
    "what a GPU rounds": Case(
        rules.rounding_is_forgiven, "the zoo's test runner",
        lambda rdf, files: rdf["config"]["eseg"]["reproducibility"]["mismatched_per_million"].update(
            tf32={"default": 760.0, "declared": 0.0}
        ),
        "on a GPU with TF32 760 values per million are beyond its default tolerance, 100 are allowed",
        Outcome.LIMIT, fault=False,
    ),
    "formats that differ": Case(
        rules.formats_agree, "the zoo's test runner",
        lambda rdf, files: rdf["config"]["eseg"]["largest_differences"].update(onnx=0.02),
        "onnx differs by 0.02; 0.001 is tolerated",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_rule_finds_the_package_that_breaks_it(sound: FinishedPackage, name: str) -> None:
    case = CASES[name]
    findings = list(case.rule(edited(sound, case.edit), BY_NAME[case.consumer]))
    assert any(
        finding.why.startswith(case.why) and (finding.outcome, finding.fault) == (case.outcome, case.fault)
        for finding in findings
    ), findings


def test_every_rule_has_a_package_that_breaks_it() -> None:
    assert {case.rule for case in CASES.values()} == set(RULES)


def test_a_sound_package_has_no_fault(sound: FinishedPackage) -> None:
    refuse_faults(judge(sound))


def outcomes(verdicts: tuple[Verdict, ...]) -> dict[str, str]:
    return {verdict.consumer.name: verdict.outcome.text for verdict in verdicts}


def test_a_2d_model_runs_everywhere_and_its_limits_are_told(exported: Exported) -> None:
    assert outcomes(exported.package.verdicts) == {
        "ilastik": "runs with a limit",
        "deepImageJ": "runs with a limit",
        "QuPath": "runs with a limit",
        "bioimageio.core": "runs with a limit",
        "the zoo's test runner": "runs with a limit",  # random weights: rounding changes more than in a trained network
    }


@pytest.mark.usefixtures("without_zoo_tests")
def test_a_volume_is_not_for_qupath_and_has_nothing_for_it(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    make_checkpoint(3).save(tmp_path / "volume.pt")
    package = export(tmp_path / "volume.pt")
    assert outcomes(package.verdicts)["QuPath"] == "does not run"
    finished = read_package(package.path)
    assert QUPATH not in finished.files
    assert "QuPath runs 2D models only" in finished.files["README.md"].decode()


def test_the_readme_has_the_same_table(exported: Exported) -> None:
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    for verdict in exported.package.verdicts:
        assert f"| {verdict.consumer.name} | {verdict.outcome.text} | {verdict.why} |" in readme


def test_a_fault_names_all_that_it_stops(sound: FinishedPackage) -> None:
    broken = edited(sound, lambda rdf, files: rdf["weights"].pop("torchscript") and None)
    with pytest.raises(ExportError, match=r"the weights are onnx, pytorch_state_dict; .*\(stops QuPath\)"):
        refuse_faults(judge(broken))


def test_an_incomplete_description_is_a_fault_and_no_traceback(sound: FinishedPackage) -> None:
    with pytest.raises(ExportError, match=r"rdf\.yaml is incomplete: KeyError 'inputs' \(dimensions_are_supported\)"):
        refuse_faults(judge(edited(sound, leave_out("inputs"))))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, r"the package has no rdf\.yaml; it holds nothing"),
        ({"rdf.yaml": b"- a list"}, r"rdf\.yaml must hold keys, not list"),
        ({"rdf.yaml": b"name: ["}, r"rdf\.yaml is not a readable YAML file"),
    ],
)
def test_a_package_without_a_description_is_an_error(files: dict[str, bytes], complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        FinishedPackage.of(files)


def test_a_damaged_zip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "package.zip").write_bytes(b"PK")
    with pytest.raises(ExportError, match=r"package\.zip is not a readable zip"):
        read_package(tmp_path / "package.zip")
