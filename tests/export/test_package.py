"""The finished zip: what the zoo and its consumers demand of it, and how it comes to lie there."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import httpx
import numpy as np
import pytest
import tifffile
import torch
import yaml
from bioimageio.spec import ModelDescr, ValidationContext, load_description
from eseg_export.cover import draw_cover, draw_validation
from eseg_export.finished import read_package
from eseg_export.package import export
from eseg_export.precision import reproducibility
from eseg_export.qupath import QUPATH
from eseg_export.sample import Samples
from eseg_export.tiling import tiling
from eseg_export.verify import FORMATS, TOLERANCE, ask_github, one_thread
from PIL import Image
from torch import nn

from eseg_zoo.checkpoint import Checkpoint, Class
from eseg_zoo.config import Run
from eseg_zoo.errors import CheckpointError, ExportError, OutputError

from .conftest import Exported, MakeCheckpoint

CARD = """\
name: Membranes of the fly brain
description: Segments serial-section EM of the fly brain into three classes.
authors:
  - {name: Ada Example, affiliation: Example University, github_user: jdoe-example-9f3, orcid: 0000-0001-2345-6789}
license: cc-by-4.0
training_data: Serial-section TEM of the ventral nerve cord.
tags: [drosophila]
version: 1.2.0
"""


def loaded(package: Path, warning_level: Literal[20, 50] = 50) -> ModelDescr:
    """The package as bioimageio reads it; at level 20 every warning is an error."""
    with zipfile.ZipFile(package) as archive, ValidationContext(warning_level=warning_level):
        model = load_description(archive)
    assert isinstance(model, ModelDescr), [detail.errors for detail in model.validation_summary.details]
    return model


def test_every_format_equals_the_checkpoint_and_is_timed(exported: Exported) -> None:
    assert [m.weights_format for m in exported.package.measured] == list(FORMATS)
    assert all(0 <= m.difference <= TOLERANCE and m.seconds > 0 for m in exported.package.measured)


def test_documentation_and_covers_are_plain_strings_in_format_0_5_4(exported: Exported) -> None:
    assert exported.rdf["format_version"] == "0.5.4"
    assert exported.rdf["documentation"] == "README.md"
    assert exported.rdf["covers"] == ["cover.png"]


def test_exactly_one_weights_entry_has_no_parent(exported: Exported) -> None:
    weights = exported.rdf["weights"]
    assert set(weights) == set(FORMATS)
    assert [name for name, entry in weights.items() if "parent" not in entry] == ["pytorch_state_dict"]
    assert all(len(entry["sha256"]) == 64 for entry in weights.values())


def test_input_and_output_have_the_same_axes_in_the_same_order(exported: Exported) -> None:
    (given,), (returned,) = exported.rdf["inputs"], exported.rdf["outputs"]
    assert [axis["id"] for axis in given["axes"]] == ["batch", "channel", "y", "x"]
    assert [axis["id"] for axis in returned["axes"]] == ["batch", "channel", "y", "x"]
    assert given["axes"][1]["channel_names"] == ["intensity"]
    assert returned["axes"][1]["channel_names"] == ["membrane", "cytoplasm", "mito_chondrion"]
    assert given["preprocessing"] == [{"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}]
    assert "postprocessing" not in returned


def test_space_axes_take_any_size_above_a_minimum_on_the_grid(exported: Exported, checkpoint: Checkpoint) -> None:
    geometry = checkpoint.geometry
    space = zip(
        exported.rdf["inputs"][0]["axes"][2:], exported.rdf["outputs"][0]["axes"][2:], geometry.axes, strict=True
    )
    for given, returned, axis in space:
        assert given["size"]["step"] == 1
        assert given["size"]["min"] % axis.stride == 0
        assert given["size"]["min"] > 2 * returned["halo"]
        assert given["concatenable"] is True
        assert returned["halo"] >= axis.margin + axis.stride - 1
        assert returned["halo"] % axis.stride == 0
        assert returned["size"] == {"tensor_id": "input", "axis_id": given["id"], "offset": 0}


def test_nothing_is_declared_that_ilastiks_spec_refuses(exported: Exported) -> None:
    assert "pad" not in exported.rdf["inputs"][0]  # unknown to spec 0.5.9, which forbids what it does not know
    assert all(name.isidentifier() for name in exported.rdf["outputs"][0]["axes"][1]["channel_names"])


def test_paper_is_cited_and_an_identifier_is_there(exported: Exported) -> None:
    assert exported.rdf["cite"][0]["doi"] == "10.48550/arXiv.2510.18637"
    assert exported.rdf["id"] == "e-seg-em-segmentation-of-3-classes-2d"
    assert "timestamp" in exported.rdf


def test_config_tells_classes_and_training_but_no_paths_of_a_disk(exported: Exported, checkpoint: Checkpoint) -> None:
    eseg = exported.rdf["config"]["eseg"]
    assert [entry["name"] for entry in eseg["classes"]] == list(checkpoint.class_names)
    assert [entry["value"] for entry in eseg["classes"]] == [1, 2, 3]
    assert len({entry["colour"] for entry in eseg["classes"]}) == 3
    local: Any = {"images", "labels", "out"}
    assert eseg["settings"] == Run.model_validate(checkpoint.settings).model_dump(
        mode="json", exclude=local, exclude_none=True
    )
    for path in exported.folder.iterdir():
        assert b"jane" not in path.read_bytes(), path.name


def test_readme_has_its_sections_and_the_measured_numbers(exported: Exported) -> None:
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    headings = [line.lstrip("# ") for line in readme.splitlines() if line.startswith("#")]
    assert headings[1:] == [
        "Description", "Intended use", "How to use", "ilastik", "deepImageJ", "QuPath", "Python", "Large images",
        "Validation", "Training data", "Citation", "Limits",
    ]  # fmt: skip
    assert "\n# Validation\n" in readme
    assert "| **mean** | **0.810** | 120 |" in readme
    assert "| mito\\|chondrion | 0.740 | 40 |" in readme
    assert "0.042 %" in readme
    for measurement in exported.package.measured:
        assert f"| {measurement.difference:.1e} |" in readme
    assert "$" not in readme


def test_pictures_of_the_readme_are_in_the_package(exported: Exported) -> None:
    readme = (exported.folder / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", readme)
    assert pictures == ["cover.png", "validation.png"]
    for picture in pictures:
        with Image.open(exported.folder / picture) as opened:
            opened.verify()
        assert (exported.folder / picture).stat().st_size <= 500_000


@pytest.mark.usefixtures("without_zoo_tests")
def test_a_pixel_size_that_is_not_known_is_said_to_be_so(checkpoint: Checkpoint, tmp_path: Path) -> None:
    replace(checkpoint, voxel_size={}).save(tmp_path / "model.pt")
    package = read_package(export(tmp_path / "model.pt").path)
    assert package.rdf["config"]["eseg"]["pixel_size"] == {}
    assert "config" not in yaml.safe_load(package.files[QUPATH])
    assert "pixel size unknown" in package.files["README.md"].decode()


def test_pictures_show_names_with_dollar_signs(checkpoint: Checkpoint, tmp_path: Path) -> None:
    named = replace(checkpoint, classes=tuple(Class(name, 1, 1 / 3, "#0072B2") for name in ("$a^$", "b$", "c")))
    image = np.zeros((1, 1, 16, 16), np.float32)
    unused = tmp_path / "unused"
    probabilities = np.repeat(image, 3, 1)
    rounding = reproducibility(nn.Identity(), probabilities, probabilities)
    samples = Samples(unused, unused, unused, unused, image, probabilities, (16, 16), rounding)
    draw_cover(samples, named.classes, tmp_path / "cover.png")
    draw_validation(samples, named, tmp_path / "validation.png")
    assert (tmp_path / "cover.png").exists()


def test_cover_is_twice_as_wide_as_high_and_small(exported: Exported) -> None:
    cover = exported.folder / "cover.png"
    with Image.open(cover) as picture:
        assert picture.width == 2 * picture.height
    assert cover.stat().st_size <= 500_000


def test_sample_images_keep_dtype_and_values(exported: Exported, checkpoint: Checkpoint) -> None:
    image = tifffile.imread(exported.folder / "sample_input.tif")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, checkpoint.sample[0].numpy())
    assert tifffile.imread(exported.folder / "sample_output.tif").shape == (3, 160, 192)


def test_files_are_readable_by_everybody_and_nothing_else_is_left(exported: Exported) -> None:
    assert [path.name for path in exported.package.path.parent.iterdir() if path.name.startswith(".")] == []
    umask = os.umask(0)
    os.umask(umask)
    assert exported.package.path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_empty_card_tells_what_is_missing(exported: Exported) -> None:
    missing = [what.split(":")[0].split(",")[0] for what in exported.package.missing]
    assert missing == ["authors", "maintainers", "license", "training_data", "description"]


@pytest.mark.slow
def test_volumes_are_exported_with_their_own_geometry(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(3, classes=4)
    checkpoint.save(tmp_path / "volume.pt")
    package = export(tmp_path / "volume.pt")
    assert package.path == tmp_path / "volume.zip"
    model = loaded(package.path)
    axes: list[Any] = list(model.inputs[0].axes)
    assert [str(axis.id) for axis in axes] == ["batch", "channel", "z", "y", "x"]
    assert [axis.size.min for axis in axes[2:]] == [axis.min for axis in tiling(checkpoint.geometry)]


@pytest.mark.slow
def test_a_volume_of_two_channels_and_thick_sections_says_all_that_it_is(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = replace(
        make_checkpoint(3, channels=2),
        channel_names=("nuclei (405 nm)", "cytoplasm"),
        voxel_size={"z": 0.04, "y": 0.01, "x": 0.01},
    )
    checkpoint.save(tmp_path / "model.pt")
    finished = export(tmp_path / "model.pt", template="fluorescence3d")  # bioimageio's tests run in it
    model = loaded(finished.path)
    (given,), (returned,) = model.inputs, model.outputs
    for tensor in (given, returned):
        assert [str(axis.id) for axis in tensor.axes] == ["batch", "channel", "z", "y", "x"]
        space: list[Any] = list(tensor.axes[2:])
        assert [(axis.unit, axis.scale) for axis in space] == [(None, 1.0)] * 3
    assert [str(name) for name in given.axes[1].channel_names] == ["nuclei_405_nm", "cytoplasm"]  # type: ignore[union-attr]
    assert {m.weights_format for m in finished.measured} == {"pytorch_state_dict", "torchscript", "onnx"}
    # The halo covers the margin of its own axis: the sections are thick, so few of them are needed.
    halos = [axis["halo"] for axis in read_package(finished.path).rdf["outputs"][0]["axes"][2:]]
    margins = checkpoint.geometry.margin
    assert halos[0] < halos[1] == halos[2]
    assert all(halo >= margin for halo, margin in zip(halos, margins, strict=True))
    whys = {verdict.consumer.name: verdict.outcome.text for verdict in finished.verdicts}
    assert whys["QuPath"] == "does not run"
    assert whys["bioimageio.core"] != "does not run"


@pytest.mark.slow
def test_named_channels_are_in_the_description_and_the_pictures(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    checkpoint = replace(make_checkpoint(channels=2), channel_names=("nuclei (405 nm)", "cytoplasm"))
    checkpoint.save(tmp_path / "model.pt")
    finished = export(tmp_path / "model.pt", template="fluorescence2d")
    model = loaded(finished.path)
    (given,) = model.inputs
    assert [str(name) for name in given.axes[1].channel_names] == ["nuclei_405_nm", "cytoplasm"]  # type: ignore[union-attr]
    package = read_package(finished.path)
    assert package.rdf["config"]["eseg"]["channels"] == ["nuclei (405 nm)", "cytoplasm"]
    assert "2 channels of raw intensities (nuclei (405 nm), cytoplasm, in this order)" in " ".join(
        package.files["README.md"].decode().split()
    )
    with Image.open(BytesIO(package.files["cover.png"])) as cover:
        left = np.asarray(cover.convert("RGB"))[:, : cover.width // 2].astype(int)
    assert (left[..., 0] == left[..., 2]).mean() > 0.99  # magenta has as much red as blue
    assert np.abs(left[..., 0] - left[..., 1]).max() > 100  # and green lies elsewhere


def answer(monkeypatch: pytest.MonkeyPatch, reply: httpx.Response | Exception) -> None:
    """Let every request to GitHub be answered, or fail, like this."""

    def get(*_: object, **__: object) -> httpx.Response:
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(httpx, "get", get)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "dims", "channels"),
    [("em2d", 2, 1), ("em3d", 3, 1), ("fluorescence2d", 2, 2), ("fluorescence3d", 3, 2)],
)
def test_a_full_card_leaves_no_warning_even_without_network(
    monkeypatch: pytest.MonkeyPatch, make_checkpoint: MakeCheckpoint, tmp_path: Path,
    template: str, dims: int, channels: int,
) -> None:  # fmt: skip
    answer(monkeypatch, httpx.ConnectError("no network"))
    model_path, card = tmp_path / "model.pt", tmp_path / "card.yaml"
    make_checkpoint(dims, channels=channels).save(model_path)
    person = f"jdoe-example-{template}"  # one each, because an answer is remembered
    card.write_text(CARD.replace("jdoe-example-9f3", person))
    package = export(model_path, card=card, template=template)
    assert package.missing == []
    assert package.unchecked is not None
    assert f"GitHub could not be asked for {person}" in package.unchecked
    model = loaded(package.path, warning_level=20)
    assert model.validation_summary.status in ("passed", "valid-format")
    assert model.name == "Membranes of the fly brain"
    assert model.license == "CC-BY-4.0"
    assert "drosophila" in model.tags


def test_a_github_user_who_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, httpx.Response(404))
    with pytest.raises(ExportError, match=r"github_user: Could not find GitHub user 'jdoe-example-404'"):
        ask_github(["jdoe-example-404"])


def test_a_github_user_who_exists_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, httpx.Response(200))
    assert ask_github(["jdoe-example-200"]) is None


@pytest.mark.usefixtures("without_zoo_tests")
def test_an_existing_package_is_kept_unless_forced(model_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "package.zip"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"package\.zip exists already; give --force to replace it"):
        export(model_path, out)
    assert out.read_bytes() == b"precious"
    export(model_path, out, force=True)
    assert out.stat().st_size > 10_000
    assert [path.name for path in tmp_path.iterdir()] == ["package.zip"]


def test_a_failing_export_keeps_the_package_it_was_to_replace(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"rubbish")
    (tmp_path / "model.zip").write_bytes(b"precious")
    with pytest.raises(CheckpointError):
        export(tmp_path / "model.pt", force=True)
    assert (tmp_path / "model.zip").read_bytes() == b"precious"


def test_a_folder_that_cannot_be_made_is_named(model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/new.* cannot be (made|written): Not a directory"):
        export(model_path, tmp_path / "file/new/package.zip")


@pytest.mark.usefixtures("without_zoo_tests")
def test_the_folder_of_the_package_is_made(model_path: Path, tmp_path: Path) -> None:
    assert export(model_path, tmp_path / "new/er/package.zip").path.is_file()


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["folder", "link", "link to nothing", "device"])
def test_nothing_but_a_file_is_replaced(model_path: Path, tmp_path: Path, kind: str, force: bool) -> None:
    out, target = tmp_path / "package.zip", tmp_path / "precious"
    target.write_bytes(b"precious")
    if kind == "folder":
        out.mkdir()
    elif kind == "device":
        os.mkfifo(out)
    else:
        out.symlink_to(target if kind == "link" else tmp_path / "nothing")
    with pytest.raises(
        OutputError, match=rf"package\.zip is a {kind.split()[0]}; a package replaces nothing but a file"
    ):
        export(model_path, out, force=force)
    assert target.read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package.zip", "precious"]


@pytest.mark.parametrize("name", ["rdf.yaml", "model.pt", "package"])
def test_a_package_is_named_as_a_zip(model_path: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(OutputError, match=rf"{name}; a package is a zip file, so its name must end in \.zip"):
        export(model_path, tmp_path / name, force=True)
    assert (tmp_path / name).read_bytes() == b"precious"


def test_a_full_disk_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, model_path: Path, tmp_path: Path
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"package\.zip cannot be written: .*No space left on device"):
        export(model_path, tmp_path / "package.zip")
    assert list(tmp_path.iterdir()) == []


def test_threads_are_as_before_after_timing() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_rdf_comes_first_and_is_plain_yaml(exported: Exported) -> None:
    text = (exported.folder / "rdf.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == exported.rdf
    assert "null" not in text
