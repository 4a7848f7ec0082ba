"""An image predicted chunk by chunk: the same values, one valid result, whatever interrupts it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from in_memory import section_of
from numpy.typing import NDArray
from ome_zarr.format import FormatV04
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Reader
from ome_zarr_models.v04 import Image
from ome_zarr_models.v04.image_label import ImageLabel
from zarr.storage import LocalStore

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.errors import InputError, OutputError
from eseg_zoo.inference import predict as prediction
from eseg_zoo.inference.jobs import WantedMaps
from eseg_zoo.inference.network import Predictor
from eseg_zoo.inference.predict import ChunksDone, Computing
from eseg_zoo.inference.tiles import predict_section
from inference.predictions import ALL_MAPS, PIXELS, array, content, predict, write_inputs


@pytest.fixture
def folder(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    write_inputs(tmp_path, checkpoint)
    return tmp_path


def attributes(path: Path) -> Any:
    """What an OME-Zarr says of itself."""
    return zarr.open_group(str(path)).attrs


def whole(checkpoint: Checkpoint, pixels: NDArray[np.generic], *, tta: bool = False) -> NDArray[np.float32]:
    """Probabilities (classes, *space) of pixels (c, *space), in one tile."""
    return predict_section(Predictor(checkpoint, device="cpu", tta=tta), section_of(pixels), tile=1000)


def test_chunks_equal_the_whole_image(folder: Path, checkpoint: Checkpoint) -> None:
    found = predict(folder)
    labels, maps = array(found, "labels/classes/0"), array(found, "0")
    assert labels.shape == PIXELS.shape
    assert maps.shape == (4, *PIXELS.shape)
    for z, plane in enumerate(PIXELS):
        expected = whole(checkpoint, plane[None])
        np.testing.assert_allclose(maps[:3, z], expected, rtol=0, atol=1e-5)
        ordered = np.sort(expected, axis=0)
        clear = ordered[-1] - ordered[-2] > 1e-4
        np.testing.assert_array_equal(labels[z][clear], expected.argmax(0)[clear] + 1)
    assert 0 <= maps[3].min() < maps[3].max() <= 1


def test_chunks_are_averaged_over_all_views(folder: Path, checkpoint: Checkpoint) -> None:
    maps = array(predict(folder, tta=True), "0")
    np.testing.assert_allclose(maps[:3, 1], whole(checkpoint, PIXELS[1][None], tta=True), rtol=0, atol=1e-5)
    with pytest.raises(StoppedError):
        predict(folder, "two.ome.zarr", report=stop_after(3))
    with pytest.raises(OutputError, match="differs in tta"):
        predict(folder, "two.ome.zarr", tta=True)


def test_chunks_of_a_network_of_volumes_equal_the_whole_volume(
    folder: Path, make_checkpoint: Callable[[int], Checkpoint]
) -> None:
    make_checkpoint(3).save(folder / "model.pt", force=True)
    found = predict(folder, computing=Computing(tile=20))
    expected = whole(make_checkpoint(3), PIXELS[None])
    np.testing.assert_allclose(array(found, "0")[:3], expected, rtol=0, atol=1e-5)


def test_a_time_series_with_channels_keeps_its_time_axis(
    folder: Path, make_checkpoint: Callable[..., Checkpoint]
) -> None:
    model = make_checkpoint(2, channels=2)
    model.save(folder / "model.pt", force=True)
    series = np.random.default_rng(1).integers(0, 255, (2, 40, 2, 36)).astype(np.uint8)
    np.save(folder / "v.npy", series)
    found = predict(folder, image="v.npy", axes="tycx")
    expected = whole(model, series[1].transpose(1, 0, 2))
    assert array(found, "labels/classes/0").shape == (2, 40, 36)
    np.testing.assert_allclose(array(found, "0")[1, :3], expected, rtol=0, atol=1e-5)
    assert [axis["name"] for axis in attributes(found)["multiscales"][0]["axes"]] == list("tcyx")


def test_the_result_is_as_the_specification_says(folder: Path) -> None:
    found = predict(folder)
    image = Image.from_zarr(zarr.open_group(str(found), mode="r"))
    axes = image.attributes.multiscales[0].axes
    assert [(axis.name, axis.type, axis.unit) for axis in axes] == [
        ("c", "channel", None), *((name, "space", "micrometer") for name in "zyx"),
    ]  # fmt: skip
    label = ImageLabel.from_zarr(zarr.open_group(str(found), path="labels/classes", mode="r"))
    datasets = label.attributes.multiscales[0].datasets
    first, second = (one.model_dump()["coordinateTransformations"] for one in datasets[:2])
    assert first[0]["scale"] == pytest.approx([0.04, 0.008, 0.008])
    assert second[0]["scale"] == pytest.approx([0.04, 0.016, 0.016])
    assert second[1]["translation"] == pytest.approx([0, 0.004, 0.004])
    about = label.attributes.image_label
    assert about.colors
    assert [(c.label_value, c.rgba) for c in about.colors][:2] == [(1, (0, 114, 178, 255)), (2, (230, 159, 0, 255))]
    names = [
        (p["label-value"], p["name"]) for p in label.attributes.model_dump(by_alias=True)["image-label"]["properties"]
    ]
    assert names == [(1, "membrane"), (2, "cytoplasm"), (3, "mito|chondrion")]
    assert about.source
    assert about.source.image == "../../"


@pytest.mark.parametrize("wanted", [WantedMaps(), ALL_MAPS], ids=["classes", "all maps"])
def test_ome_zarr_reads_the_image_and_its_labels(folder: Path, wanted: WantedMaps) -> None:
    found = predict(folder, wanted=wanted)
    location = parse_url(str(found), mode="r", fmt=FormatV04())
    assert location is not None
    image, *others = list(Reader(location)())
    (labels,) = [node for node in others if any(isinstance(spec, Label) for spec in node.specs)]
    assert [level.shape for level in labels.data] == [(3, 75, 90), (3, 38, 45), (3, 19, 23)]
    assert labels.metadata["properties"][1] == {"name": "membrane"}
    if wanted.probabilities:
        names = ["membrane", "cytoplasm", "mito|chondrion", "uncertainty (normalised entropy)"]
        assert image.metadata["channel_names"] == names
    else:
        np.testing.assert_array_equal(image.data[0].compute(scheduler="sync"), array(found, "labels/classes/0"))


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_and_ends_in_the_same_bytes(folder: Path) -> None:
    expected = content(predict(folder, "uninterrupted.ome.zarr", computing=Computing(tile=8)))
    target, partial = folder / "out.ome.zarr", folder / "out.ome.zarr.partial"
    command = ["predict", folder / "model.pt", folder / "v.ome.tif", "--out", target, "--tile", "8"]
    command += ["--probabilities", "--uncertainty", "--device", "cpu"]
    code = "from eseg_zoo.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, command)], stdout=subprocess.DEVNULL)
    chunks = partial / "labels" / "classes" / "0"
    finished: list[Path] = []
    deadline = time.monotonic() + 300
    while len(finished) < 20 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
        finished = [path for path in chunks.glob("*/*/*") if path.suffix != ".partial"]
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not target.exists()
    kept = {path: path.stat().st_mtime_ns for path in chunks.glob("*/*/*") if path.suffix != ".partial"}
    assert 20 <= len(kept) < 360
    (next(iter(kept)).parent / "0.0123.partial").write_bytes(b"half a chunk")  # what a kill in mid-write leaves
    steps: list[ChunksDone] = []
    again = predict(folder, computing=Computing(tile=8), report=steps.append)
    assert steps[0].chunks >= len(kept)
    changed = [path for path, at in kept.items() if (target / path.relative_to(partial)).stat().st_mtime_ns != at]
    assert changed == []
    assert content(again) == expected
    assert not partial.exists()


class StoppedError(Exception):
    pass


def stop_after(count: int) -> Callable[[ChunksDone], None]:
    def report(step: ChunksDone) -> None:
        if step.chunks == count:
            raise StoppedError

    return report


def test_a_run_that_stops_among_the_coarser_levels_goes_on(folder: Path) -> None:
    expected = content(predict(folder, "uninterrupted.ome.zarr"))
    with pytest.raises(StoppedError):
        predict(folder, report=stop_after(27 + 5))
    assert content(predict(folder)) == expected


def test_another_command_does_not_take_up_an_unfinished_result(folder: Path) -> None:
    with pytest.raises(StoppedError):
        predict(folder, report=stop_after(3))
    with pytest.raises(OutputError, match=r"partial is the unfinished result of another prediction .*differs in maps"):
        predict(folder, wanted=WantedMaps())
    assert not (predict(folder, wanted=WantedMaps(), force=True) / "0").exists()


def test_a_finished_result_is_replaced_only_when_forced(folder: Path) -> None:
    before = content(predict(folder, wanted=WantedMaps()))
    with pytest.raises(OutputError, match="exists already"):
        predict(folder)
    assert content(folder / "out.ome.zarr") == before
    assert (predict(folder, force=True) / "0").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["model.pt", "out.ome.zarr", "v.ome.tif"]


def test_a_disk_that_fills_keeps_what_is_finished(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = content(predict(folder, "uninterrupted.ome.zarr"))
    written = 0
    real = LocalStore.set

    async def fill(self: LocalStore, key: str, value: Any) -> None:
        nonlocal written
        written += "classes/0/" in key and ".z" not in key
        if written > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await real(self, key, value)

    with monkeypatch.context() as patched:
        patched.setattr(prediction, "passes_at_once", lambda *_, **__: 1)
        patched.setattr(LocalStore, "set", fill)
        with pytest.raises(OutputError, match="cannot be written: No space left on device; what is finished is kept"):
            predict(folder)
    steps: list[ChunksDone] = []
    assert content(predict(folder, report=steps.append)) == expected
    assert steps[0].chunks in (5, 6)  # the other thread may end its chunk when the disk has room again


def test_pixels_that_are_not_finite_are_named(folder: Path) -> None:
    pixels = PIXELS.astype(np.float32)
    pixels[1, 40, 7] = np.nan
    np.save(folder / "v.npy", pixels)
    with pytest.raises(InputError, match=r"v.npy has NaN or infinite pixels, the first at t=0, z=1, y=40, x=7$"):
        predict(folder, image="v.npy")


@pytest.mark.parametrize(("dtype", "told"), [(">u2", "uint16"), ("f4", "float32"), ("u1", "")])
def test_another_type_than_that_of_training_is_told_once(
    folder: Path, caplog: pytest.LogCaptureFixture, dtype: str, told: str
) -> None:
    np.save(folder / "v.npy", PIXELS.astype(dtype))
    predict(folder, image="v.npy")
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert messages == [
        f"{folder / 'v.npy'} holds {told} pixels, but the model was trained on uint8: "
        "its map is only right if the values mean the same"
    ] * bool(told)


def test_other_channels_than_those_of_training_are_refused(folder: Path) -> None:
    np.save(folder / "v.npy", PIXELS)
    with pytest.raises(InputError, match="has 3 channels, but the model was trained with 1"):
        predict(folder, image="v.npy", axes="cyx")
    assert not list(folder.glob("out*"))


# ---------------------------------------------------------------------------------------- inputs, outputs, OME-TIFF


def write_as(folder: Path, kind: str) -> str:
    """Write the stack in another format and return its name."""
    if kind == "tif":
        tifffile.imwrite(folder / "w.tif", PIXELS, metadata={"axes": "ZYX"}, photometric="minisblack")
    elif kind == "folder":
        for z, plane in enumerate(PIXELS):
            (folder / "w").mkdir(exist_ok=True)
            tifffile.imwrite(folder / "w" / f"{z}.tif", plane, photometric="minisblack")
    elif kind == "h5/data":
        with h5py.File(folder / "w.h5", "w") as file:
            file["data"] = PIXELS
    elif kind == "npy":
        np.save(folder / "w.npy", PIXELS)
    else:
        zarr.create_array(folder / "w.zarr", shape=PIXELS.shape, dtype="u1", chunks=(2, 50, 50))[:] = PIXELS
    return f"w.{kind}" if kind != "folder" else "w"


@pytest.mark.parametrize("out", ["out.ome.zarr", "maps"])
@pytest.mark.parametrize("kind", ["tif", "folder", "h5/data", "npy", "zarr"])
def test_every_format_gives_the_same_map_bit_for_bit(folder: Path, kind: str, out: str) -> None:
    expected = predict(folder, "expected.ome.zarr", wanted=WantedMaps(probabilities=True), computing=Computing())
    wanted = WantedMaps(probabilities=True)
    found = predict(folder, out, image=write_as(folder, kind), wanted=wanted, computing=Computing())
    if out == "maps" and kind != "zarr":
        labels = tifffile.imread(next(found.glob("*_classes.ome.tif"))).squeeze()
        maps = tifffile.imread(next(found.glob("*_probabilities.ome.tif"))).squeeze().swapaxes(0, 1)
    else:
        (result,) = [found] if out != "maps" else found.glob("*_classes.ome.zarr")
        labels, maps = array(result, "labels/classes/0"), array(result, "0")
    np.testing.assert_array_equal(labels, array(expected, "labels/classes/0"))
    np.testing.assert_array_equal(maps, array(expected, "0"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/raw.tif", "raw"),
        ("raw.ome.tif", "raw"),
        ("v.ome.zarr", "v"),
        ("v.h5/exported_data", "exported_data"),
        ("a/planes/*.tif", "planes"),
        ("a/*/raw_[0-9].tif", "a"),
        ("raw.ome.tif#1", "raw_1"),
        ("image", "image"),
    ],
)
def test_maps_are_named_by_their_image_with_names_that_every_system_takes(name: str, expected: str) -> None:
    assert prediction.stem(name) == expected


def test_in_a_folder_every_image_gets_what_suits_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predict(folder, "maps")
    predict(folder, "maps", image=write_as(folder, "zarr"))
    monkeypatch.setattr(prediction, "LARGEST_TIFF", PIXELS.size - 1)
    predict(folder, "maps", image=write_as(folder, "npy"), force=True)
    assert sorted(path.name for path in (folder / "maps").iterdir()) == [
        "v_classes.ome.tif", "v_probabilities.ome.tif", "v_uncertainty.ome.tif", "w_classes.ome.zarr",
    ]  # fmt: skip


def test_chosen_slices_are_predicted_alone_and_know_their_place(folder: Path) -> None:
    every, some = predict(folder), predict(folder, "some.ome.zarr", slices="1-2")
    np.testing.assert_array_equal(array(some, "labels/classes/0"), array(every, "labels/classes/0")[1:])
    np.testing.assert_array_equal(array(some, "0"), array(every, "0")[:, 1:])
    transformations = attributes(some)["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transformations[1]["translation"] == pytest.approx([0, 0.04, 0, 0])
    with pytest.raises(InputError, match=r"slices is 2-3, but .*v\.ome\.tif has the slices 0-2"):
        predict(folder, "none.ome.zarr", slices="2-3")


def test_slices_of_a_volume_see_the_slices_around_them(
    folder: Path, make_checkpoint: Callable[[int], Checkpoint]
) -> None:
    make_checkpoint(3).save(folder / "model.pt", force=True)
    every, some = predict(folder), predict(folder, "some.ome.zarr", slices="1-1")
    np.testing.assert_allclose(array(some, "0")[:, 0], array(every, "0")[:, 1], rtol=0, atol=1e-5)


def test_maps_in_a_byte_each_are_the_rounded_ones(folder: Path) -> None:
    exact = array(predict(folder), "0")
    small = WantedMaps(probabilities=True, uncertainty=True, eight_bit=True)
    found = predict(folder, "small.ome.zarr", wanted=small)
    assert array(found, "0").dtype == np.uint8
    np.testing.assert_array_equal(array(found, "0"), np.rint(exact * 255))
    assert attributes(found)["omero"]["channels"][0]["window"]["max"] == 255
    predict(folder, "maps", wanted=small)
    planes = tifffile.imread(folder / "maps" / "v_probabilities.ome.tif")
    np.testing.assert_array_equal(planes.squeeze().swapaxes(0, 1), np.rint(exact[:3] * 255))


def test_an_interrupted_prediction_into_tiffs_goes_on(folder: Path) -> None:
    expected = content(predict(folder, "whole"))
    with pytest.raises(StoppedError):
        predict(folder, "maps", report=stop_after(5))
    assert [path.name for path in (folder / "maps").iterdir()] == ["v_classes.ome.tif.partial"]
    steps: list[ChunksDone] = []
    found = content(predict(folder, "maps", report=steps.append))
    assert steps[0].chunks >= 5
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(tifffile.imread(folder / "maps" / name), tifffile.imread(folder / "whole" / name))


@pytest.mark.parametrize("changed", ["another stack", "the same stack written later"])
def test_an_interrupted_prediction_of_another_input_is_not_continued(folder: Path, changed: str) -> None:
    with pytest.raises(StoppedError):
        predict(folder, report=stop_after(3))
    tifffile.imwrite(
        folder / "v.ome.tif", 255 - PIXELS if changed == "another stack" else PIXELS, ome=True, metadata={"axes": "ZYX"}
    )
    with pytest.raises(OutputError, match="differs in content of the image"):
        predict(folder)


def test_a_stack_in_another_folder_is_another_input(folder: Path) -> None:
    with pytest.raises(StoppedError):
        predict(folder, report=stop_after(3))
    (folder / "elsewhere").mkdir()
    (folder / "v.ome.tif").rename(folder / "elsewhere" / "v.ome.tif")
    with pytest.raises(OutputError, match="differs in image"):
        predict(folder, image="elsewhere/v.ome.tif")


def test_other_voxels_than_those_of_training_are_told_with_both_sizes(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (0.04, 0.013, 0.013), strict=True)}
    tifffile.imwrite(folder / "v.ome.tif", PIXELS, ome=True, metadata={"axes": "ZYX", **sizes})
    predict(folder)
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "13 nm" in message
    assert "8 nm" in message


def test_frames_are_no_slices_for_a_model_of_volumes(
    folder: Path, make_checkpoint: Callable[[int], Checkpoint]
) -> None:
    make_checkpoint(3).save(folder / "model.pt", force=True)
    tifffile.imwrite(folder / "v.ome.tif", PIXELS, ome=True, metadata={"axes": "TYX"})
    with pytest.raises(InputError, match="its 3 frames are time, not depth"):
        predict(folder)
