"""Files and settings that a training cannot use get one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from .commands import Outcome, assert_one_line, run_file, stack, strokes


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
