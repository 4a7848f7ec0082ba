"""What one look at the images tells, against numpy on all pixels together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_memory import section_of

from eseg_zoo.errors import InputError
from eseg_zoo.images import blocks
from eseg_zoo.images.opening import open_image
from eseg_zoo.patches.sections import Section, sections_of
from eseg_zoo.patches.survey import Statistics, Survey, survey


def sections(*arrays: np.ndarray) -> list[Section]:
    return [section_of(array) for array in arrays]


def measure(arrays: Sequence[np.ndarray], *, channels: Sequence[str]) -> Statistics:
    return survey(sections(*arrays), measured=range(len(arrays))).statistics(channels)


def padded(shape: tuple[int, ...], inside: tuple[slice, ...], value: float, seed: int = 0) -> np.ndarray:
    """One channel of noise in a frame of one value."""
    array = np.full((1, *shape), value)
    within: tuple[Any, ...] = (0, *inside)
    array[within] = np.random.default_rng(seed).normal(50, 9, [part.stop - part.start for part in inside])
    return array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_statistics_equal_those_of_all_pixels_together(dtype: type[np.generic]) -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 20.0, 90.0])[:, None, None]
    images = [(scale * rng.random((3, *shape)) + i).astype(dtype) for i, shape in enumerate([(4, 5), (30, 2), (3, 3)])]
    together = np.concatenate([image.reshape(3, -1) for image in images], axis=1).astype(np.float64)
    found = measure(images, channels="abc")
    np.testing.assert_allclose(found.mean, together.mean(1))
    np.testing.assert_allclose(found.std, together.std(1))
    assert found.mean.dtype == found.std.dtype == np.float64


def test_statistics_of_volumes_equal_those_of_all_voxels() -> None:
    volumes = [np.random.default_rng(i).normal(i, 2, (2, 3, 4, 5)) for i in range(2)]
    together = np.concatenate([volume.reshape(2, -1) for volume in volumes], axis=1)
    found = measure(volumes, channels="ab")
    np.testing.assert_allclose(found.mean, together.mean(1))
    np.testing.assert_allclose(found.std, together.std(1))


def test_large_offsets_do_not_swallow_a_small_spread() -> None:
    image = np.array([[[60_000, 60_001, 60_002, 60_001]]], np.float32)
    image = np.random.default_rng(0).permuted(np.tile(image, (1, 200, 100)), axis=2)
    found = measure([image], channels="a")
    assert found.mean.tolist() == [60_001.0]
    assert found.std[0] == pytest.approx(0.5**0.5, rel=1e-9)


def test_constant_slices_are_padding_even_if_their_values_differ() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 4, 5))
    found = survey(sections(np.full((1, 2, 2), 1.0), noise, np.full((1, 2, 2), 3.0)), measured=[0, 1, 2])
    assert found.contents == ((slice(0, 0),) * 2, (slice(0, 4), slice(0, 5)), (slice(0, 0),) * 2)
    np.testing.assert_allclose(found.statistics("a").std, noise.std())


def test_a_constant_channel_is_refused_by_its_name() -> None:
    images = [np.stack([np.arange(6.0).reshape(2, 3), np.full((2, 3), 7.5)]) for _ in range(2)]
    with pytest.raises(InputError) as caught:
        measure(images, channels=("nuclei", "cytoplasm"))
    assert str(caught.value) == "channel 2 of 2 (cytoplasm) of the images is constant (7.5): there is nothing to learn"


def test_constant_images_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        measure([np.full((1, 2, 3), 7.5)], channels=("intensity",))
    assert str(caught.value) == "every pixel of the images is constant (7.5): there is nothing to learn"


# ---------------------------------------------------------------------------------------------------------- padding


@given(
    st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 255.0]),
    st.integers(0, 99),
)  # fmt: skip
def test_constant_borders_stay_out_of_the_statistics(
    top: int, bottom: int, left: int, right: int, value: float, seed: int
) -> None:
    inside = (slice(top, top + 6), slice(left, left + 5))
    array = padded((top + 6 + bottom, left + 5 + right), inside, value, seed)
    found = survey(sections(array), measured=[0])
    assert found.contents == (inside,)
    np.testing.assert_allclose(found.statistics("a").mean, array[(0, *inside)].mean())
    np.testing.assert_allclose(found.statistics("a").std, array[(0, *inside)].std())


def test_a_row_that_is_constant_in_one_channel_alone_is_no_padding() -> None:
    array = np.concatenate([padded((8, 8), (slice(2, 8), slice(0, 8)), 0.0), padded((8, 8), (slice(0, 8),) * 2, 0.0)])
    assert survey(sections(array), measured=[0]).contents == ((slice(0, 8), slice(0, 8)),)


def test_padding_of_a_volume_is_found_along_all_axes() -> None:
    inside = (slice(1, 4), slice(2, 9), slice(0, 7))
    assert survey(sections(padded((5, 10, 8), inside, 0.0)), measured=[0]).contents == (inside,)


def test_only_the_measured_sections_count() -> None:
    arrays = [np.random.default_rng(i).normal(10 * i, 1, (1, 9, 9)) for i in range(3)]
    found = survey(sections(*arrays), measured=[0, 2])
    np.testing.assert_allclose(found.statistics("a").mean, np.stack([arrays[0], arrays[2]]).mean())
    assert len(found.contents) == 3


def test_there_are_no_differences_of_one_section_or_of_like_ones() -> None:
    one = np.random.default_rng(0).normal(5, 2, (1, 30, 30))
    for arrays in ([one], [one, one.transpose(0, 2, 1), one]):
        found = survey(sections(*arrays), measured=range(len(arrays))).differences
        assert found.contrast == pytest.approx(0, abs=1e-12)
        assert found.brightness == pytest.approx(0, abs=1e-12)


def test_differences_are_scaled_median_deviations_of_the_sections_and_odd_ones_do_not_count() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (1, 40, 40))
    noise = (noise - noise.mean()) / noise.std()
    stds, means = np.array([1.0, 2.0, 2.5, 3.0, 100.0]), np.array([7.0, 1.0, 4.0, 6.0, 2.0])
    arrays = [mean + std * noise for mean, std in zip(means, stds, strict=True)]
    found = survey(sections(*arrays), measured=range(5)).differences
    assert found.contrast == pytest.approx(1.4826 * 0.5 / 2.5)
    assert found.brightness == pytest.approx(1.4826 * 2 / np.stack(arrays).std())


def test_the_channel_that_differs_most_counts_and_a_constant_section_does_no_harm() -> None:
    noise = np.random.default_rng(2).normal(0, 1, (20, 20))
    arrays = [np.stack([noise, gain * noise]) for gain in (1.0, 2.0, 4.0)]
    both = survey(sections(*arrays), measured=range(3)).differences
    second = survey(sections(*(array[1:] for array in arrays)), measured=range(3)).differences
    assert both.contrast == second.contrast > 0.5
    constant = np.full((1, 20, 20), 3.0)
    found = survey(sections(noise[None], constant, noise[None]), measured=range(3)).differences
    assert np.isfinite([found.contrast, found.brightness]).all()


def test_the_result_does_not_depend_on_how_an_image_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    array = padded((40, 30), (slice(3, 40), slice(0, 22)), 0.0)
    whole = survey(sections(array), measured=[0])
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 8 * 30 * 7)
    seen: list[tuple[int, int]] = []
    parts: Survey = survey(sections(array), measured=[0], progress=lambda done, total: seen.append((done, total)))
    assert parts.contents == whole.contents
    np.testing.assert_allclose(parts.statistics("a").std, whole.statistics("a").std, rtol=1e-12)
    assert seen == [(1, 1)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_the_first_pixel_that_is_no_number_is_named(value: float) -> None:
    stack = np.random.default_rng(0).normal(size=(3, 6, 7))
    stack[1, 4, 2] = value
    with pytest.raises(InputError, match=r"^s\.tif has NaN or infinite pixels, the first at t=0, z=1, y=4, x=2$"):
        survey(sections_of(open_image(stack, axes="zyx", name="s.tif"), 2), measured=[0])
