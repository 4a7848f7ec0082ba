"""One picture of any number of channels, with values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eseg_zoo.composite import COLOURS, channel_colours, composite

RAMP = np.linspace(100, 300, 201, dtype=np.float32).reshape(1, 201)  # percentiles 0.5 and 99.5 are 101 and 299


def test_one_channel_is_grey_from_its_darkest_to_its_lightest() -> None:
    picture = composite(RAMP[None])
    assert picture.shape == (1, 201, 3)
    expected = np.clip((RAMP - 101) / 198, 0, 1)
    np.testing.assert_allclose(picture, np.repeat(expected[..., None], 3, -1), atol=1e-5)


def test_two_channels_are_magenta_and_green_and_white_where_both_are_bright() -> None:
    both = composite(np.stack([RAMP, RAMP]))
    np.testing.assert_allclose(both, composite(RAMP[None]), atol=1e-6)
    against = composite(np.stack([RAMP, RAMP[:, ::-1]]))
    np.testing.assert_allclose(against[0, 0], [0, 1, 0])
    np.testing.assert_allclose(against[0, -1], [1, 0, 1])


def test_channels_are_stretched_each_by_itself() -> None:
    dim = RAMP / 50 + 7
    np.testing.assert_allclose(composite(np.stack([RAMP, dim])), composite(np.stack([RAMP, RAMP])), atol=1e-4)


def test_a_constant_channel_is_black() -> None:
    picture = composite(np.stack([RAMP, np.full_like(RAMP, 9)]))
    assert not picture[..., 1].any()
    assert picture[..., 0].max() == 1


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_any_number_of_channels_stays_in_range(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 65535, (channels, 20, 30)).astype(np.uint16)
    picture = composite(image)
    assert picture.shape == (20, 30, 3)
    assert 0 <= picture.min() <= picture.max() <= 1


def test_the_colours_of_channels_have_names_and_come_again_after_the_last() -> None:
    assert channel_colours(("nuclei", "cytoplasm")) == [("magenta", "#FF00FF"), ("green", "#00FF00")]
    assert channel_colours(range(len(COLOURS) + 1))[-1] == ("magenta", "#FF00FF")
