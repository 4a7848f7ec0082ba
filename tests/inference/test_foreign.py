"""A package of other software predicts what it says, by bioimageio.core, and does nothing else."""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from bioimageio.spec.model import v0_5 as spec
from eseg_export.package import export
from typer.testing import CliRunner

import eseg_zoo
from eseg_zoo.cli import app
from eseg_zoo.errors import CheckpointError, EsegError, InputError
from eseg_zoo.inference import foreign, tiles
from eseg_zoo.package_file import PackageFile
from eseg_zoo.training.warm import WarmStart

from .foreign_packages import NAMES, by_hand, edited, package

STACK = np.random.default_rng(0).integers(0, 255, (3, 61, 45)).astype(np.uint8)


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        eseg_zoo.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("weights", ["onnx", "torchscript"])
def test_a_stack_is_predicted_slice_by_slice_with_the_channels_as_classes(tmp_path: Path, weights: str) -> None:
    model = eseg_zoo.load(package(tmp_path / "a.zip", weights=weights))
    assert [(one.name, one.value) for one in model.classes] == [("dark", 1), ("middle", 2), ("bright", 3)]
    assert (model.dims, model.channels, model.voxel_size) == (2, ("raw",), {"y": 0.008, "x": 0.008})
    assert repr(model) == "<Model: 2D, 1 channel, classes dark, middle, bright>"
    maps = model.predict(STACK)
    expected = np.stack([by_hand(plane) for plane in STACK], axis=1)
    np.testing.assert_allclose(maps.probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(maps.classes, expected.argmax(0) + 1)
    np.testing.assert_array_equal(model.predict(STACK[1]).classes, maps.classes[1])


@pytest.mark.parametrize("shape", [(20, 30, 33), (3, 30, 10)], ids=["large", "smaller than a block"])
def test_a_volume_is_predicted_whole(tmp_path: Path, shape: tuple[int, ...]) -> None:
    volume = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint16)
    model = eseg_zoo.load(package(tmp_path / "a.zip", dims=3, halo=2))
    maps = model.predict(volume)
    assert maps.classes.shape == shape
    beyond = [(0, max(16 - side, 0)) for side in shape]  # what a block needs is the reflection
    expected = by_hand(np.pad(volume, beyond, mode="symmetric"))[:, : shape[0], : shape[1], : shape[2]]
    np.testing.assert_allclose(maps.probabilities, expected, atol=1e-5)


@pytest.mark.parametrize("size", [32, spec.ParameterizedSize(min=16, step=8)], ids=["fixed", "growing"])
@pytest.mark.parametrize("halo", [0, 4])
def test_blocks_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: Any, halo: int) -> None:
    monkeypatch.setitem(foreign.BLOCK_SIDES, 2, 24)
    maps = eseg_zoo.load(package(tmp_path / "a.zip", size=size, halo=halo)).predict(STACK[0])
    np.testing.assert_allclose(maps.probabilities, by_hand(STACK[0]), atol=1e-5)


def test_one_channel_is_a_mask_at_a_half(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "eseg_zoo"):
        model = eseg_zoo.load(package(tmp_path / "a.zip", names=("nucleus",), final="sigmoid"))
    assert "nucleus is where its one channel is above 0.5" in caplog.text
    assert [(one.name, one.value) for one in model.classes] == [("background", 0), ("nucleus", 1)]
    expected = by_hand(STACK[0], ("nucleus",), "sigmoid")[0]
    maps = model.predict(STACK[0])
    np.testing.assert_array_equal(maps.classes, expected > 0.5)
    np.testing.assert_allclose(maps.probabilities.sel({"class": "nucleus"}), expected, atol=1e-5)


def test_scores_that_are_no_probabilities_keep_their_order_but_make_no_mask(tmp_path: Path) -> None:
    logits = eseg_zoo.load(package(tmp_path / "a.zip", final="none"))
    maps = logits.predict(STACK[0])
    np.testing.assert_allclose(maps.probabilities, by_hand(STACK[0]), atol=1e-5)  # their softmax
    mask = eseg_zoo.load(package(tmp_path / "b.zip", names=("nucleus",), final="none"))
    with pytest.raises(InputError, match=r"b\.zip returns values from -\d.* which are no probabilities"):
        mask.predict(STACK[0])


def test_channels_that_leave_room_for_a_background_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    eseg_zoo.load(package(tmp_path / "a.zip", final="sigmoid")).predict(STACK)
    assert caplog.text.count("do not add up to 1") == 1


def test_torchscript_is_said_to_be_a_program_and_is_run_only_without_onnx(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    eseg_zoo.load(package(tmp_path / "a.zip"))
    assert "program" not in caplog.text
    eseg_zoo.load(package(tmp_path / "b.zip", weights="torchscript"))
    assert "run only what comes from people whom you trust" in caplog.text


def test_files_have_the_names_of_the_classes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", STACK, photometric="minisblack")
    path = package(tmp_path / "a.zip")
    done = CliRunner().invoke(app, ["predict", str(path), str(tmp_path / "raw.tif"), "--out", str(tmp_path / "maps")])
    assert done.exit_code == 0, done.output
    with tifffile.TiffFile(tmp_path / "maps/raw_classes.ome.tif") as file:
        assert all(name in str(file.ome_metadata) for name in NAMES)
        np.testing.assert_array_equal(np.squeeze(file.asarray())[0], by_hand(STACK[0]).argmax(0) + 1)


# -------------------------------------------------------------------------------------------------- what is not done

CODE = "import os\nos.mkdir({trace!r})\nclass Net:\n    pass\n"


def test_python_code_in_a_package_is_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = package(tmp_path / "a.zip", weights="state dict", architecture=CODE.format(trace=str(trace)))
    assert "weights as 'pytorch_state_dict'; its network is Python code, which is never run" in refusal(path)
    assert not trace.exists()


class ReadsFiles(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file("/etc/passwd", shared=False, size=1, dtype=torch.uint8)


def test_torchscript_that_opens_files_is_not_run(tmp_path: Path) -> None:
    path = package(tmp_path / "a.zip", weights="torchscript", script=ReadsFiles())
    assert "its TorchScript accesses files (from_file); it is not run" in refusal(path)


def test_a_changed_file_and_a_description_of_nothing_are_one_line(tmp_path: Path) -> None:
    changed = edited(package(tmp_path / "a.zip"), files={"w.onnx": b"other"})
    assert "w.onnx has another sha256 than its description says" in refusal(changed)
    assert "cannot be read by bioimageio.core" in refusal(edited(package(tmp_path / "b.zip"), inputs=None))


def test_weights_that_are_none_are_one_line(tmp_path: Path) -> None:
    path = package(tmp_path / "a.zip")
    described = {"source": "w.onnx", "sha256": sha256(b"other").hexdigest(), "opset_version": 17}
    model = eseg_zoo.load(edited(path, files={"w.onnx": b"other"}, weights={"onnx": described}))
    with pytest.raises(CheckpointError, match=r"a\.zip cannot be read by bioimageio\.core: ") as caught:
        model.predict(STACK)
    assert "\n" not in str(caught.value)


def test_weights_that_lie_elsewhere_are_not_fetched(tmp_path: Path) -> None:
    described = {"source": "https://example.org/w.onnx", "sha256": "0" * 64, "opset_version": 17}
    path = edited(package(tmp_path / "a.zip"), weights={"onnx": described})
    assert "lacks 'https://example.org/w.onnx', which its description names" in refusal(path)


def test_what_another_model_returns_is_no_image(tmp_path: Path) -> None:
    path = package(tmp_path / "a.zip")
    taken = PackageFile.open(path).at("inputs", 0) | {"output_of": "affable-shark"}
    assert "takes what another model returns" in refusal(edited(path, inputs=[taken]))


def test_more_than_one_output_is_refused(tmp_path: Path) -> None:
    path = package(tmp_path / "a.zip")
    returned = PackageFile.open(path).at("outputs", 0)
    assert "has 1 inputs and 2 outputs" in refusal(edited(path, outputs=[returned, returned | {"id": "second"}]))


def test_axes_that_no_class_map_has_are_refused(tmp_path: Path) -> None:
    path = package(tmp_path / "a.zip")
    tensors = {key: PackageFile.open(path).at(key, 0) for key in ("inputs", "outputs")}
    time = {"type": "time", "id": "time", "size": 1}
    changed: dict[str, Any] = {key: [one | {"axes": [*one["axes"], time]}] for key, one in tensors.items()}
    assert "takes the axes batch, channel, y, x, time" in refusal(edited(path, **changed))


def test_a_pickle_among_its_files_is_never_opened(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    harm = f"cos\nmkdir\n(S'{trace}'\ntR.".encode()
    path = edited(package(tmp_path / "a.zip"), files={"data.pkl": harm, "input.npy": harm, "output.npy": harm})
    eseg_zoo.load(path).predict(STACK[0])
    assert not trace.exists()


def test_it_is_neither_judged_nor_trained_nor_exported(tmp_path: Path) -> None:
    path = package(tmp_path / "a.zip")
    model = eseg_zoo.load(path)
    for what in (
        lambda: model.evaluate(STACK, STACK),
        lambda: model.suggest(STACK),
        lambda: model.train(STACK, STACK),
        lambda: model.save(tmp_path / "model.pt"),
        lambda: WarmStart.load(path),
        lambda: export(path, tmp_path / "b.zip"),
        lambda: export(model, tmp_path / "b.zip"),
    ):
        with pytest.raises(CheckpointError, match=r"a\.zip is a package of other software: it can be applied"):
            what()


def test_tiles_turns_and_other_processes_are_not_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "raw.tif", STACK, photometric="minisblack")
    path = package(tmp_path / "a.zip")
    model = eseg_zoo.load(path)
    with pytest.raises(InputError, match="leave out --tile"):
        model.predict(STACK, tile=64)
    with pytest.raises(InputError, match="which --tta cannot average"):
        model.predict(STACK, tta=True)
    arguments = ["predict", str(path), str(tmp_path / "raw.tif"), "--out", str(tmp_path / "maps"), "--workers", "2"]
    assert isinstance(CliRunner().invoke(app, arguments).exception, CheckpointError)
    monkeypatch.setattr(tiles, "LARGEST_WHOLE", 1000)
    with pytest.raises(InputError, match="61 x 45 is too large for a package of other software"):
        model.predict(STACK)


def test_an_image_of_other_channels_or_without_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EsegError, match="2 channels"):
        eseg_zoo.load(package(tmp_path / "a.zip")).predict(np.zeros((2, 30, 30), np.uint8), axes="cyx")
    with pytest.raises(EsegError, match="one slice along z"):
        eseg_zoo.load(package(tmp_path / "b.zip", dims=3)).predict(STACK[0], axes="yx")
