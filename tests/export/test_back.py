"""A package of ours is the model that it was made of: it predicts, goes on learning, and is exported, the same."""

from __future__ import annotations

import zipfile
from dataclasses import fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from eseg_export.finished import read_package
from eseg_export.package import export
from training.runs import CLASSES, SEMI_SUPERVISED, TRAINING, write_inputs, write_run
from typer.testing import CliRunner

import eseg_zoo
from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.cli import app
from eseg_zoo.config import Run, load_run
from eseg_zoo.errors import CheckpointError, OutputError
from eseg_zoo.metrics_file import read_metrics
from eseg_zoo.model.architecture import Architecture
from eseg_zoo.model.hvae import HVAE
from eseg_zoo.package_file import STATE
from eseg_zoo.training.run import train_run
from eseg_zoo.training.warm import WarmStart

from .conftest import MakeCheckpoint

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
CARD = {"authors": [{"name": "Ada Example"}], "license": "MIT", "version": "1.10", "training_data": "A fly."}
FIGURES = {"mean_dice": 0.5, "dice": {"membrane": 0.5, "cytoplasm": None, "mito|chondrion": 0.5}}
PIXELS = {"membrane": 3, "cytoplasm": 0, "mito|chondrion": 4}

pytestmark = pytest.mark.usefixtures("without_zoo_tests")


def whole(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with what only training uses, and what tells of somebody's machine."""
    training = replace(checkpoint.training, command="eseg train /home/ada/run.yaml", machine="the desk of Ada")
    return replace(checkpoint, generative_state=HVAE(checkpoint.architecture).generative_state(), training=training)


def differing(first: Path, second: Path) -> set[str]:
    one, other = read_package(first).files, read_package(second).files
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("back")


@pytest.fixture
def packed(checkpoint: Checkpoint, folder: Path) -> Path:
    """`model.pt`, and the package that was made of it, `model.zip`."""
    if not (folder / "model.zip").exists():
        whole(checkpoint).save(folder / "model.pt")
        export(folder / "model.pt", date=NOON)
    return folder / "model.zip"


def test_every_field_returns_but_paths_and_what_surrounds_the_sample(packed: Path) -> None:
    before, after = Checkpoint.load(packed.with_name("model.pt")), Checkpoint.load(packed)
    for field in fields(Checkpoint):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name.endswith("_state"):
            assert old.keys() == new.keys()
            assert all(torch.equal(old[key], new[key]) for key in old), field.name
        elif field.name == "settings":
            assert new == Run.without_paths(old)
        elif field.name == "sample":
            assert torch.equal(old, new)
        elif field.name == "training":
            assert new == replace(old, command="", machine="")
        else:
            assert old == new, field.name
    assert before.digest == after.digest
    assert not any(b"/home/ada" in file or b"desk of Ada" in file for file in read_package(packed).files.values())


def test_maps_are_the_same_bit_for_bit(packed: Path) -> None:
    model = eseg_zoo.load(packed.with_name("model.pt"))
    image = model.checkpoint.sample.numpy()[:, :150, :131]
    expected = model.predict(image)
    found = eseg_zoo.load(packed).predict(image)
    assert expected.identical(found)
    assert len(np.unique(expected.classes)) > 1


@pytest.mark.slow
def test_every_verb_takes_a_package(packed: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (80, 90)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "raw.tif", image, photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", (image % 4).astype(np.uint8), photometric="minisblack")
    results: dict[str, list[Any]] = {"maps": [], "figures": [], "places": []}
    for model in (packed, packed.with_name("model.pt")):
        out, raw, labels = tmp_path / model.suffix[1:], str(tmp_path / "raw.tif"), str(tmp_path / "labels.tif")
        for arguments in (
            ["predict", str(model), raw, "--out", str(out), "--axes", "yx", "--workers", "1"],
            ["evaluate", str(model), "--images", raw, "--labels", labels, "--json", str(out / "figures.json")],
            ["suggest", str(model), raw, "--out", str(out / "places.csv"), "--count", "2"],
        ):
            done = CliRunner().invoke(app, arguments)
            assert done.exit_code == 0, (arguments, done.output, done.exception)
        results["maps"].append(tifffile.imread(out / "raw_classes.ome.tif").tobytes())
        results["figures"].append((out / "figures.json").read_text())
        results["places"].append((out / "places.csv").read_text())
    assert all(first == second for first, second in results.values())


@pytest.mark.slow
@pytest.mark.parametrize(("dims", "channels"), [(2, 1), (2, 2), (3, 1), (3, 2)])
def test_the_package_of_a_package_is_the_same_file(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, dims: int, channels: int
) -> None:
    original = whole(make_checkpoint(dims, channels=channels))
    large = torch.cat([original.sample] * 3, -1)  # more than a package shows
    first = export(
        replace(original, sample=large), tmp_path / "a.zip", card=CARD, template=f"fluorescence{dims}d", date=NOON,
        evaluation=FIGURES | {"pixels": PIXELS},
    )  # fmt: skip
    second = export(first.path, tmp_path / "b.zip", date=NOON)
    assert differing(first.path, second.path) == set()
    assert first.path.read_bytes() == second.path.read_bytes()
    assert "Ada Example" in read_package(second.path).files["README.md"].decode()


def test_a_date_is_the_only_difference(packed: Path, tmp_path: Path) -> None:
    later = export(packed, tmp_path / "b.zip", date=NOON.replace(year=2027)).path
    assert differing(packed, later) == {"rdf.yaml", "model_qupath.yaml"}
    rdf = [read_package(path).rdf for path in (packed, later)]
    for one in rdf:
        del one["timestamp"], one["config"]["eseg"]["sha256"]
        one["attachments"] = [file["source"] for file in one["attachments"]]
    assert rdf[0] == rdf[1]


def test_what_is_stated_anew_replaces_what_a_package_says(packed: Path, tmp_path: Path) -> None:
    rdf = read_package(export(packed, tmp_path / "b.zip", card={"license": "MIT"}).path).rdf
    assert rdf["license"] == "MIT"
    with pytest.raises(OutputError, match=r"out is not given; .*model\.zip is a package, which its own export does"):
        export(packed, force=True)


def figures(out: Path) -> list[dict[str, Any]]:
    """What a training noted, but for how long it took and waited."""
    timed = ("seconds", "train/waiting")
    return [{name: one for name, one in row.items() if name not in timed} for row in read_metrics(out)]


@pytest.mark.slow
def test_training_goes_on_from_a_package_as_from_its_checkpoint(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    model = train_run(load_run(write_run(tmp_path, training=TRAINING)))
    package = export(model).path
    short = {"training": TRAINING | {"steps": 4, "epoch_steps": 2}, "semi_supervised": SEMI_SUPERVISED}
    states, losses = [], []
    for start in (model, package):
        out = tmp_path / start.suffix[1:]
        run = load_run(write_run(tmp_path, out=str(out), **short))
        states.append(Checkpoint.load(train_run(run, start=WarmStart.load(start))))
        losses.append(figures(out))
    assert all(torch.equal(one, states[1].segmenter_state[key]) for key, one in states[0].segmenter_state.items())
    assert all(torch.equal(one, states[1].generative_state[key]) for key, one in states[0].generative_state.items())
    assert losses[0] == losses[1]
    assert {row["stage"] for row in losses[0]} == {"semi_supervised", "supervised"}
    unlike = Checkpoint.load(model).segmenter_state
    assert not all(torch.equal(one, states[0].segmenter_state[key]) for key, one in unlike.items())
    assert [one.name for one in eseg_zoo.load(package).classes] == list(CLASSES.values())


@pytest.mark.parametrize(("preset", "dims"), [("small", 2), (None, 2), ("small", 3), (None, 3)])
def test_what_a_package_carries_for_training_stays_below_200_kb(
    checkpoint: Checkpoint, preset: str | None, dims: int
) -> None:
    run = Run.checked(
        {
            "images": "a.tif", "labels": "b.tif", "axes": "zyx", "out": "out", "preset": preset,
            "classes": {value: f"class {value}" for value in range(1, 9)}, "network": {"dims": dims},
        },
        "test",
    )  # fmt: skip
    shape: Architecture = run.network.architecture(channels=2, classes=8, voxel_size={"z": 0.04, "y": 0.01, "x": 0.01})
    generative = HVAE(shape).generative_state()
    landmarks = [[number, number * 7, number * 2**55] for number in range(128)]
    model = replace(
        checkpoint, architecture=shape, generative_state=generative,
        training=replace(checkpoint.training, landmarks=landmarks),
    )  # fmt: skip
    assert len(model.beside_weights()) < 200_000


def rewritten(path: Path, out: Path, **changes: bytes) -> Path:
    """Write a package with other files and the checksums of these, as somebody who means harm would."""
    files = dict(read_package(path).files)
    for name, content in changes.items():
        old, new = (sha256(one).hexdigest().encode() for one in (files[name], content))
        files = {one: data.replace(old, new) for one, data in files.items()} | {name: content}
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out


@pytest.mark.parametrize("name", [STATE, "weights_state_dict.pt"])
def test_no_pickle_of_a_package_is_executed(packed: Path, tmp_path: Path, name: str) -> None:
    trace = tmp_path / "trace"
    path = rewritten(packed, tmp_path / "a.zip", **{name: f"cos\nmkdir\n(S'{trace}'\ntR.".encode()})
    with pytest.raises(
        CheckpointError, match=rf"a\.zip: {name} is not an eseg_zoo checkpoint, or holds code"
    ) as caught:
        eseg_zoo.load(path)
    assert not trace.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [STATE, "weights_state_dict.pt", "sample_input.tif"])
def test_a_changed_or_damaged_file_is_one_line(packed: Path, tmp_path: Path, name: str) -> None:
    content = read_package(packed).files[name]
    with zipfile.ZipFile(packed) as archive, zipfile.ZipFile(tmp_path / "a.zip", "w") as changed:
        for one in archive.namelist():
            changed.writestr(one, content[:-1] if one == name else archive.read(one))
    with pytest.raises(CheckpointError, match=f"{name} has another sha256 than its description says"):
        eseg_zoo.load(tmp_path / "a.zip")
    for number, damaged in enumerate((content[: len(content) // 2], b"", b"II*\0" + bytes(8))):
        path = rewritten(packed, tmp_path / f"{number}.zip", **{name: damaged})
        with pytest.raises(CheckpointError) as caught:
            eseg_zoo.load(path)
        assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(packed: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    other = make_checkpoint(classes=4)
    path = rewritten(packed, tmp_path / "a.zip", **{STATE: other.beside_weights()})
    with pytest.raises(CheckpointError, match=r"a\.zip is damaged: segmenter_state: "):
        eseg_zoo.load(path)


def test_a_package_of_an_earlier_version_predicts_and_says_what_it_lacks(packed: Path, tmp_path: Path) -> None:
    text = read_package(packed).files["rdf.yaml"].decode()
    path = rewritten(packed, tmp_path / "a.zip", **{"rdf.yaml": text.replace(STATE, "other.pt").encode()})
    model = eseg_zoo.load(path)
    assert [one.name for one in model.classes] == ["membrane", "cytoplasm", "mito_chondrion"]
    image = Checkpoint.load(packed).sample.numpy()[0]
    expected = eseg_zoo.load(packed).predict(image).classes.values
    # bioimageio.core's blocks do not begin on the network's grid.
    assert (model.predict(image).classes.values == expected).mean() > 0.98
    with pytest.raises(CheckpointError, match=r"a\.zip was exported by an earlier version, without what training"):
        WarmStart.load(path)
