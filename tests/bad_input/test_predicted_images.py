"""Images that do not fit the model are refused before anything is predicted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tifffile

from .commands import Outcome, assert_one_line, run_file, stack, strokes


def test_a_truncated_stack_never_passes_for_its_first_plane(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    path = folder / "stack.tif"
    tifffile.imwrite(path, stack((5, 64, 64)), imagej=True)
    path.write_bytes(path.read_bytes()[:9000])
    assert_one_line(eseg("predict", trained, path, "--out", folder / "maps"), "stack.tif", "damaged")
    assert not (folder / "maps").exists()


def test_colours_are_not_predicted_as_slices(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    tifffile.imwrite(folder / "rgb.tif", stack((30, 30, 3)), photometric="rgb")
    for more in ((), ("--axes", "zyx")):
        for out in ("maps", "map.ome.zarr"):
            outcome = eseg("predict", trained, folder / "rgb.tif", "--out", folder / out, *more)
            assert_one_line(outcome, "rgb.tif has several values at each pixel", "'zyx' has no c")
            assert not (folder / out).exists()


def test_predicting_another_number_of_channels_is_refused(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    tifffile.imwrite(folder / "two.tif", stack((2, 2, 64, 64)), photometric="minisblack")
    outcome = eseg("predict", trained, folder / "two.tif", "--axes", "zcyx", "--out", folder / "maps")
    assert_one_line(outcome, "two.tif has 2 channels", "trained with 1: intensity", "taken for 'zcyx'")


def test_predicting_too_few_channels_names_those_of_training(eseg: Callable[..., Outcome], folder: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", strokes((64, 64)))
    assert eseg("train", run_file(folder, axes="cyx", channels=["nuclei", "cytoplasm"])).code == 0
    tifffile.imwrite(folder / "one.tif", stack((1, 64, 64)), photometric="minisblack")
    outcome = eseg("predict", folder / "out" / "model.pt", folder / "one.tif", "--out", folder / "maps")
    assert_one_line(outcome, "one.tif has 1 channel, but the model was trained with 2: nuclei, cytoplasm")


def test_a_plane_cannot_train_or_be_predicted_by_a_network_of_volumes(
    eseg: Callable[..., Outcome], folder: Path
) -> None:
    network = {"dims": 3, "filters": [4, 4], "latents": 2}
    assert_one_line(eseg("train", run_file(folder, axes="tyx", network=network)), "'tyx'", "no z")
    tifffile.imwrite(folder / "plane.tif", stack((1, 64, 64)))
    tifffile.imwrite(folder / "plane_labels.tif", strokes((1, 64, 64)))
    flat = run_file(folder, images="plane.tif", labels="plane_labels.tif", network=network)
    assert_one_line(eseg("train", flat), "plane.tif has one slice along z", "network.dims is 3")
    assert eseg("train", run_file(folder, network=network)).code == 0
    model = folder / "out" / "model.pt"
    tifffile.imwrite(folder / "plane.tif", stack((64, 64)))
    outcome = eseg("predict", model, folder / "plane.tif", "--out", folder / "maps")
    assert_one_line(outcome, "plane.tif has one slice along z", "trained on volumes", "taken for 'yx'")


def test_a_stack_is_slices_to_a_model_of_planes(eseg: Callable[..., Outcome], folder: Path) -> None:
    tifffile.imwrite(folder / "plane.tif", stack((64, 64)))
    tifffile.imwrite(folder / "plane_labels.tif", strokes((64, 64)))
    assert eseg("train", run_file(folder, images="plane.tif", labels="plane_labels.tif", axes="yx")).code == 0
    tifffile.imwrite(folder / "volume.tif", stack((3, 64, 64)), imagej=True, metadata={"axes": "ZYX"})
    outcome = eseg("predict", folder / "out" / "model.pt", folder / "volume.tif", "--out", folder / "maps")
    assert outcome.code == 0, outcome.err
    assert tifffile.imread(folder / "maps" / "volume_classes.ome.tif").shape == (3, 64, 64)
