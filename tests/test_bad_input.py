"""What bad input gets: one clear line on stderr, exit 1, no traceback, nothing overwritten or half-written."""

from __future__ import annotations

import io
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import yaml
import zarr

from eseg_zoo import cli
from eseg_zoo.checkpoint import Checkpoint


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def eseg(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run `eseg ARGUMENTS` in this process, as its entry point does."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["eseg", *map(str, arguments)])
        try:
            cli.main()
            code: object = 0
        except SystemExit as stop:
            code = stop.code or 0
        shown = capsys.readouterr()
        assert isinstance(code, int)
        return Outcome(code, shown.out, shown.err)

    return call


def stack(shape: tuple[int, ...] = (2, 64, 64)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def strokes(shape: tuple[int, ...] = (2, 64, 64)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[..., 10:14, 10], labels[..., 30:34, 40] = 1, 2
    return labels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "image.tif", stack())
    tifffile.imwrite(tmp_path / "labels.tif", strokes())
    return tmp_path


def run_file(folder: Path, **changes: Any) -> Path:
    settings = {
        "images": "image.tif",
        "labels": "labels.tif",
        "axes": "zyx",
        "classes": {1: "membrane", 2: "cytoplasm"},
        "preset": "small",
        "out": "out",
        "network": {"filters": [4, 4, 4], "latents": 2},
        "training": {"steps": 2, "epoch_steps": 2, "batch_size": 4, "accelerator": "cpu"},
        "semi_supervised": {"steps": 0},
    } | changes
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    tifffile.imwrite(folder / "image.tif", stack())
    tifffile.imwrite(folder / "labels.tif", strokes())
    from eseg_zoo.config import load_run
    from eseg_zoo.training.run import train_run

    return train_run(load_run(run_file(folder)))


# What a command says of an image that it has opened, before anything can be wrong with it.
UNDERSTOOD = re.compile(r".+: (\d+ (frame|slice)s of )*\d+ x \d+, \d+ channels?, u?\w+\d+(, .+ [nµ]m)?")


def assert_one_line(outcome: Outcome, *words: str) -> None:
    *understood, error = outcome.err.splitlines()
    assert outcome.code == 1
    assert error.startswith("error: ")
    before = [line for line in understood if not line.startswith("warning: ")]  # what training says of its labels
    assert [line for line in before if not UNDERSTOOD.fullmatch(line)] == []
    for word in words:
        assert word in error


def constant(folder: Path) -> None:
    tifffile.imwrite(folder / "image.tif", np.full((2, 64, 64), 7, np.uint8))


def not_finite(folder: Path) -> None:
    image = stack().astype(np.float32)
    image[1, 5, 9], image[1, 6, 9] = np.nan, np.inf
    tifffile.imwrite(folder / "image.tif", image)


def other_shape(folder: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", strokes((2, 64, 60)))


def unknown_value(folder: Path) -> None:
    labels = strokes()
    labels[0, 0, :3] = 9
    tifffile.imwrite(folder / "labels.tif", labels)


def class_without_label(folder: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", np.where(strokes() == 2, 0, strokes()))


def no_label(folder: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", np.zeros_like(strokes()))


def coloured_image(folder: Path) -> None:
    tifffile.imwrite(folder / "image.tif", stack((64, 64, 3)), photometric="rgb")


def coloured_labels(folder: Path) -> None:
    tifffile.imwrite(folder / "image.tif", stack((64, 64, 3)), photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", stack((64, 64, 3)), photometric="rgb")


def missing_image(folder: Path) -> None:
    (folder / "image.tif").unlink()


def missing_labels(folder: Path) -> None:
    (folder / "labels.tif").unlink()


def truncated_image(folder: Path) -> None:
    path = folder / "image.tif"
    path.write_bytes(path.read_bytes()[:3000])


def text_for_image(folder: Path) -> None:
    (folder / "image.tif").write_text("not a TIFF")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (missing_image, ("image.tif", "does not exist")),
        (missing_labels, ("labels.tif", "does not exist")),
        (truncated_image, ("image.tif", "damaged")),
        (text_for_image, ("image.tif", "is a text file, not an image")),
        (other_shape, ("labels.tif", "x=60", "x=64")),
        (unknown_value, ("labels.tif", "value 9", "z=0, y=0, x=0", "no class name", "1: membrane, 2: cytoplasm")),
        (class_without_label, ("labels.tif", "class 2 (cytoplasm)", "no labelled pixel")),
        (no_label, ("labels.tif", "no pixel is labelled")),
        (not_finite, ("image.tif", "NaN or infinite", "z=1, y=5, x=9")),
        (constant, ("every pixel", "constant (7)")),
        (coloured_image, ("image.tif has several values at each pixel", "'zyx' has no c")),
        (coloured_labels, ("labels.tif has several values at each pixel", "'zyx' has no c")),
    ],
)
def test_unusable_data_ends_training_with_one_line(
    eseg: Callable[..., Outcome], folder: Path, spoil: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    spoil(folder)
    assert_one_line(eseg("train", run_file(folder)), *words)
    assert not (folder / "out").exists()


def test_a_mistyped_key_names_the_nearest_right_one(eseg: Callable[..., Outcome], folder: Path) -> None:
    assert_one_line(eseg("train", run_file(folder, lables="x.tif")), "run.yaml", "lables", "did you mean labels?")
    assert_one_line(
        eseg("train", run_file(folder, training={"batchsize": 2})), "training.batchsize", "did you mean batch_size?"
    )


def test_axes_that_do_not_fit_are_shown_with_the_shape(eseg: Callable[..., Outcome], folder: Path) -> None:
    assert_one_line(eseg("train", run_file(folder, axes="yx")), "(2, 64, 64)", "3 axes", "'yx' names 2", "such as zyx")
    assert_one_line(eseg("train", run_file(folder, axes="zcyx")), "(2, 64, 64)", "3 axes", "'zcyx' names 4")
    assert_one_line(eseg("train", run_file(folder, axes="zqx")), "axes is 'zqx'", "must have y and x")


def test_an_image_whose_axes_cannot_be_guessed_is_shown_with_its_shape(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    tifffile.imwrite(folder / "many.tif", stack((3, 2, 64, 64)), photometric="minisblack")
    outcome = eseg("predict", trained, folder / "many.tif", "--out", folder / "maps")
    assert_one_line(outcome, "many.tif", "(3, 2, 64, 64)", "'zyx'", "give --axes", "4 axes")
    assert not (folder / "maps").exists()


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (["nuclei"], ("image.tif has 2 channels", "channels names 1: nuclei")),
        (["a", "b", "c"], ("image.tif has 2 channels", "channels names 3: a, b, c")),
    ],
)
def test_another_number_of_names_than_of_channels_is_refused(
    eseg: Callable[..., Outcome], folder: Path, channels: list[str], words: tuple[str, ...]
) -> None:
    tifffile.imwrite(folder / "labels.tif", strokes((64, 64)))
    assert_one_line(eseg("train", run_file(folder, axes="cyx", channels=channels)), *words)


def test_images_of_unequal_channels_are_refused(eseg: Callable[..., Outcome], folder: Path) -> None:
    tifffile.imwrite(folder / "more.tif", stack((3, 64, 64)), photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", strokes((64, 64)))
    run = run_file(folder, axes="cyx", images=["image.tif", "more.tif"], labels=["labels.tif", "labels.tif"])
    assert_one_line(eseg("train", run), "more.tif has 3 channels", "image.tif has 2")


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


def test_an_image_smaller_than_a_patch_trains_and_predicts_by_reflection(
    eseg: Callable[..., Outcome], folder: Path
) -> None:
    tifffile.imwrite(folder / "image.tif", stack((2, 15, 9)))
    labels = np.zeros((2, 15, 9), np.uint8)
    labels[:, 3, 2:6], labels[:, 11, 2:6] = 1, 2
    tifffile.imwrite(folder / "labels.tif", labels)
    assert eseg("train", run_file(folder)).code == 0
    outcome = eseg("predict", folder / "out" / "model.pt", folder / "image.tif", "--out", folder / "maps")
    assert outcome.code == 0
    assert tifffile.imread(folder / "maps" / "image_classes.ome.tif").shape == (2, 15, 9)


def test_an_existing_model_is_kept_without_force(eseg: Callable[..., Outcome], folder: Path) -> None:
    target = folder / "out" / "model.pt"
    target.parent.mkdir()
    target.write_bytes(b"precious")
    assert_one_line(eseg("train", run_file(folder)), "model.pt exists already", "--force")
    assert target.read_bytes() == b"precious"
    assert eseg("train", run_file(folder), "--force").code == 0
    assert target.read_bytes() != b"precious"


def test_an_unwritable_folder_is_named(eseg: Callable[..., Outcome], folder: Path) -> None:
    (folder / "file").write_text("a file where a folder should be")
    assert_one_line(eseg("train", run_file(folder, out="file/out")), "Not a directory")


def refuse_as_full(*_: object, **__: object) -> None:
    raise OSError(28, os.strerror(28))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every rename reports a full disk, as a file system does that allocates late."""
    with monkeypatch.context() as patch:
        patch.setattr("eseg_zoo.output.os.replace", refuse_as_full)
        yield


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_ends_training_with_one_line_and_leaves_no_half_model(
    eseg: Callable[..., Outcome], folder: Path
) -> None:
    outcome = eseg("train", run_file(folder))
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].endswith("out cannot be written to: No space left on device")
    assert not [path for path in (folder / "out").iterdir() if "model.pt" in path.name]


def test_a_full_disk_ends_a_prediction_with_one_line_and_it_goes_on_when_there_is_room(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    whole, maps = folder / "whole", folder / "maps"
    predict = ("predict", trained, folder / "image.tif", "--out")
    assert eseg(*predict, whole).code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eseg_zoo.images.ome_tiff_writer.tifffile.imwrite", refuse_as_full)
        outcome = eseg(*predict, maps)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].endswith("image_classes.ome.tif cannot be written: No space left on device")
    assert [path.name for path in maps.iterdir()] == ["image_classes.ome.tif.partial"]
    assert eseg(*predict, maps).code == 0
    assert [path.name for path in maps.iterdir()] == ["image_classes.ome.tif"]
    found, expected = (tifffile.imread(out / "image_classes.ome.tif") for out in (maps, whole))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which only Linux has")
def test_a_disk_that_fills_while_writing_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contextlib import contextmanager

    @contextmanager
    def to_full_device(path: Path, *, force: bool) -> Iterator[Path]:
        link = path.with_name(f".link.{path.name}")
        link.symlink_to("/dev/full")
        with real_replacing(path, force=force) as temporary:
            temporary.symlink_to("/dev/full")
            link.unlink()
            yield temporary

    from eseg_zoo.output import replacing as real_replacing

    monkeypatch.setattr("eseg_zoo.images.ome_tiff_writer.replacing", to_full_device)
    maps = folder / "maps"
    outcome = eseg("predict", trained, folder / "image.tif", "--out", maps)
    assert outcome.code == 1
    assert "image_classes.ome.tif cannot be written" in outcome.err.splitlines()[-1]
    assert [path.name for path in maps.iterdir()] == ["image_classes.ome.tif.partial"]


class RunsCode:
    """Unpickling it creates the file `proof`."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.proof), "w"))


def a_text(path: Path) -> None:
    path.write_text("no checkpoint at all")


def a_pickle_with_code(path: Path) -> None:
    path.write_bytes(pickle.dumps(RunsCode(path.with_name("proof"))))


def a_torch_file_with_code(path: Path) -> None:
    torch.save(RunsCode(path.with_name("proof")), path)


def another_torch_file(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


def nothing(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("make", [a_text, a_pickle_with_code, a_torch_file_with_code, another_torch_file, nothing])
def test_what_is_no_checkpoint_is_refused_and_never_executed(
    eseg: Callable[..., Outcome], folder: Path, make: Callable[[Path], None]
) -> None:
    model = folder / "model.pt"
    make(model)
    assert_one_line(eseg("predict", model, folder / "image.tif", "--out", folder / "maps"), "model.pt", "checkpoint")
    assert not (folder / "proof").exists()
    assert not (folder / "maps").exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(
    eseg: Callable[..., Outcome], folder: Path, trained: Path, share: float
) -> None:
    content = trained.read_bytes()
    model = folder / "model.pt"
    model.write_bytes(content[: int(share * len(content))])
    assert_one_line(eseg("predict", model, folder / "image.tif", "--out", folder / "maps"), "truncated")


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


def test_an_existing_map_is_kept_without_force(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    maps = folder / "maps"
    assert eseg("predict", trained, folder / "image.tif", "--out", maps).code == 0
    before = (maps / "image_classes.ome.tif").read_bytes()
    assert_one_line(eseg("predict", trained, folder / "image.tif", "--out", maps), "exists already")
    assert (maps / "image_classes.ome.tif").read_bytes() == before


def test_evaluating_unlabelled_images_is_refused(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    no_label(folder)
    outcome = eseg("evaluate", trained, "--images", folder / "image.tif", "--labels", folder / "labels.tif")
    assert_one_line(outcome, "labels.tif", "no pixel is labelled")


def test_wrong_usage_exits_with_2_and_debug_shows_the_traceback(
    eseg: Callable[..., Outcome], folder: Path, trained: Path
) -> None:
    assert eseg("predict").code == 2
    shutil.rmtree(folder)
    with pytest.raises(Exception, match="does not exist"):
        eseg("--debug", "train", folder / "run.yaml")


def test_evaluation_counts_labelled_pixels_only(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    figures = folder / "figures.json"
    outcome = eseg(
        "evaluate", trained, "--images", folder / "image.tif", "--labels", folder / "labels.tif", "--json", figures
    )
    assert outcome.code == 0, outcome.err
    content = yaml.safe_load(io.StringIO(figures.read_text()))
    assert content["pixels"] == {"membrane": 8, "cytoplasm": 8}
    assert np.sum(content["confusion"]) == 16
    assert set(content["dice"]) == {"membrane", "cytoplasm"}


def test_evaluation_draws_the_reliability_plot(eseg: Callable[..., Outcome], folder: Path, trained: Path) -> None:
    files = ("--images", folder / "image.tif", "--labels", folder / "labels.tif")
    outcome = eseg("evaluate", trained, *files, "--reliability", folder / "plot.png")
    assert outcome.code == 0, outcome.err
    assert "expected calibration error" in outcome.out
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert_one_line(eseg("evaluate", trained, *files, "--reliability", folder / "plot.png"), "exists already")
    outcome = eseg("evaluate", trained, *files, "--reliability", folder / "plot.txt")
    assert_one_line(outcome, "plot.txt", ".pdf, .png, .svg")


def test_evaluation_takes_the_unlabelled_value_of_training(eseg: Callable[..., Outcome], folder: Path) -> None:
    tifffile.imwrite(folder / "labels.tif", np.where(strokes() == 0, 255, strokes()))
    assert eseg("train", run_file(folder, unlabelled=255)).code == 0
    figures = folder / "figures.json"
    model = folder / "out" / "model.pt"
    files = ("--images", folder / "image.tif", "--labels", folder / "labels.tif", "--json", figures)
    assert eseg("evaluate", model, *files).code == 0
    assert sum(yaml.safe_load(figures.read_text())["pixels"].values()) == 16


def test_names_with_brackets_and_colons_are_shown_as_they_are(eseg: Callable[..., Outcome], folder: Path) -> None:
    image = (folder / "image.tif").rename(folder / "image[b].tif")
    run = run_file(folder, images=image.name, out="exp[a]", classes={1: "mito [/dark]", 2: ":on:"})
    trained = eseg("train", run)
    assert trained.code == 0, trained.err
    assert trained.out.splitlines()[-1] == str(folder / "exp[a]" / "model.pt")
    model, maps = folder / "exp[a]" / "model.pt", folder / "maps[c]"
    judged = eseg("evaluate", model, "--images", image, "--labels", folder / "labels.tif")
    for shown in (trained.out, judged.out):
        assert "mito [/dark]" in shown
        assert ":on:" in shown
    assert eseg("predict", model, image, "--out", maps).out.strip() == str(maps / "image[b]_classes.ome.tif")
    volume = folder / "map[d].zarr"
    assert eseg("predict", model, image, "--out", volume).out.strip() == str(volume)
    assert_one_line(eseg("train", folder / "[a]:on:.yaml"), f"error: {folder / '[a]:on:.yaml'} does not exist")


@pytest.fixture
def model(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    checkpoint.save(tmp_path / "random.pt")
    return tmp_path / "random.pt"


def test_a_scheduler_that_does_not_answer_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eseg_zoo.inference.executors._CONNECTING", 1)
    out = folder / "out.ome.zarr"
    outcome = eseg("predict", model, folder / "image.tif", "--out", out, "--scheduler", "tcp://127.0.0.1:9")
    assert_one_line(outcome, "no Dask scheduler answers at tcp://127.0.0.1:9")
    assert not out.exists()


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps", "gpu", "meta", ""])
@pytest.mark.parametrize("out", ["maps", "map.zarr"])
def test_a_device_that_is_not_there_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, model: Path, device: str, out: str
) -> None:
    outcome = eseg("predict", model, folder / "image.tif", "--out", folder / out, "--device", device)
    assert_one_line(outcome, f"device is {device!r}; this machine has cpu")
    assert not (folder / out).exists()


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("accelerator", ["gpu", "mps"])
def test_an_accelerator_that_is_not_there_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, accelerator: str
) -> None:
    outcome = eseg("train", run_file(folder, training={"accelerator": accelerator}))
    assert_one_line(outcome, f"training.accelerator is {accelerator}, which this machine does not have")
    assert not (folder / "out").exists()


def test_more_gpus_than_there_are_is_one_line(
    eseg: Callable[..., Outcome], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    outcome = eseg("train", run_file(folder, training={"devices": 2}))
    assert_one_line(outcome, "training.devices is 2, but this machine has 1 GPU")
    assert not (folder / "out").exists()


def test_workers_are_started_here_or_those_of_a_cluster_but_not_both(
    eseg: Callable[..., Outcome], folder: Path, model: Path
) -> None:
    both = ("--workers", "2", "--scheduler", "tcp://127.0.0.1:9")
    outcome = eseg("predict", model, folder / "image.tif", "--out", folder / "maps", *both)
    assert_one_line(outcome, "--workers", "--scheduler")
    assert not (folder / "maps").exists()


def test_several_images_do_not_go_into_one_zarr(eseg: Callable[..., Outcome], folder: Path, model: Path) -> None:
    image = folder / "image.tif"
    assert_one_line(eseg("predict", model, image, image, "--out", folder / "o.zarr"), "o.zarr takes one image, not 2")


@pytest.mark.parametrize("name", ["image.tiff", "image.ome.tif", "other/image.tif", "image.npy"])
def test_two_images_whose_maps_would_have_one_name_are_refused_before_anything_is_predicted(
    eseg: Callable[..., Outcome], folder: Path, model: Path, name: str
) -> None:
    image, other = folder / "image.tif", folder / name
    other.parent.mkdir(exist_ok=True)
    shutil.copy(image, other)
    outcome = eseg("predict", model, image, other, "--out", folder / "maps", "--force")
    assert_one_line(outcome, str(image), str(other), str(folder / "maps" / "image_classes.ome."), "two folders")
    assert not (folder / "maps").exists()


def test_an_output_volume_that_exists_is_refused(eseg: Callable[..., Outcome], folder: Path, model: Path) -> None:
    (folder / "out.ome.zarr").mkdir()
    outcome = eseg("predict", model, folder / "image.tif", "--out", folder / "out.ome.zarr")
    assert_one_line(outcome, "out.ome.zarr exists already")
    assert list((folder / "out.ome.zarr").iterdir()) == []


@pytest.mark.parametrize(("name", "expected"), [("v.npy", "v_classes.ome.tif"), ("v.zarr", "v_classes.ome.zarr")])
def test_the_map_of_a_small_volume_is_a_tiff_and_that_of_a_zarr_an_ome_zarr(
    eseg: Callable[..., Outcome], folder: Path, model: Path, name: str, expected: str
) -> None:
    if name.endswith(".npy"):
        np.save(folder / name, stack())
    else:
        zarr.create_array(folder / name, data=stack())
    outcome = eseg("predict", model, folder / name, "--out", folder / "maps")
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip() == str(folder / "maps" / expected)
    assert [path.name for path in (folder / "maps").iterdir()] == [expected]
