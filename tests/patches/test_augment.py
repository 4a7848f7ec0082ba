"""Augmentation: known changes reach known pixels, the anchor stays, nothing hidden leaks, and 0 is off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from in_memory import cut
from scipy import ndimage
from torch import Tensor

from eseg_zoo.config import AugmentationSettings
from eseg_zoo.patches.augment import ELASTIC_SPACING, augment, blur, resample, source_points
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch, inner_region

PLANE = PatchGeometry((8, 8), (20, 22))
VOLUME = PatchGeometry((4, 8, 8), (2, 20, 22))
BOTH = pytest.mark.parametrize("geometry", [PLANE, VOLUME], ids=["2D", "3D"])
ALL: dict[str, Any] = {"zoom": 0.25, "elastic": 8, "blur": 1.5, "contrast": 0.3, "brightness": 0.5, "noise": 0.4}


def batch_of(geometry: PatchGeometry, patches: Tensor | None = None, side: int = 3, count: int = 6) -> Batch:
    """Random patches of two channels, each with a hidden square of `side` pixels around the anchor."""
    rng = np.random.default_rng(0)
    phases = rng.integers(geometry.region, size=(count, len(geometry.region)))
    masks = [geometry.centre_mask(geometry.size, geometry.size, phase, side) for phase in phases.tolist()]
    if patches is None:
        patches = torch.from_numpy(rng.normal(size=(count, 2, *geometry.size)).astype(np.float32))
    hidden = torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))
    target = inner_region(patches, geometry)
    return Batch(patches, hidden, target, torch.from_numpy(phases), torch.zeros(count, dtype=torch.long))


def augmented(batch: Batch, geometry: PatchGeometry, seed: int = 0, **settings: Any) -> Batch:
    only = AugmentationSettings(**{"contrast": 0, "brightness": 0, "noise": 0} | settings)
    return augment(batch, geometry, only, torch.Generator().manual_seed(seed))


def at_anchor(x: Tensor, batch: Batch, margin: tuple[int, ...]) -> Tensor:
    places = (batch.position + torch.tensor(margin)).tolist()
    return torch.stack([x[(i, slice(None), *place)] for i, place in enumerate(places)])


def standard_deviations(x: Tensor) -> Tensor:
    return x.flatten(1).std(1)


# --------------------------------------------------------------------------------------------------- all together


@BOTH
def test_settings_of_zero_return_the_same_tensors(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry)
    assert all(new is old for new, old in zip(augmented(batch, geometry), batch, strict=True))


@BOTH
def test_one_seed_gives_one_batch_and_another_seed_another(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry)
    first, again, other = (augmented(batch, geometry, seed, **ALL) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.patches, other.patches)


@BOTH
@pytest.mark.parametrize("name", ALL)
def test_each_setting_changes_every_patch_in_its_own_way_and_keeps_its_form(geometry: PatchGeometry, name: str) -> None:
    same = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, *geometry.size)).astype(np.float32))
    batch = batch_of(geometry, same.expand(6, *same.shape[1:]), side=0)
    batch = batch._replace(position=batch.position[:1].expand(6, -1))
    found = augmented(batch, geometry, **{name: ALL[name]})
    for new, old in zip(found, batch, strict=True):
        assert (new.shape, new.dtype) == (old.shape, old.dtype)
    changes = (found.patches - batch.patches).flatten(1)
    assert len({round(float(change), 6) for change in changes.square().mean(1)}) >= 5  # a sigma near 0 may be drawn
    assert torch.equal(found.labels, batch.labels)


@BOTH
def test_nothing_visible_depends_on_what_is_hidden(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry)
    poisoned = batch._replace(patches=batch.patches + 1000 * batch.hidden)
    first, second = (augmented(b, geometry, **ALL) for b in (batch, poisoned))
    assert torch.equal(first.hidden, second.hidden)
    assert torch.equal(first.patches * (1 - first.hidden), second.patches * (1 - second.hidden))
    assert not torch.equal(first.target, second.target)


def test_a_hidden_mirror_image_is_hidden_where_it_moves_to() -> None:
    """A section of 9 x 9 pixels is shown about 5 times along each axis: each copy of the square must stay hidden."""
    rng, space, anchor = np.random.default_rng(0), (9, 9), (2, 6)
    section = rng.normal(size=(1, *space)).astype(np.float32)
    section[0, 1:4, 5:8] = 1000
    patch, mask = (
        cut(PLANE, section, anchor, (3, 3)),
        PLANE.centre_mask(space, anchor, (3, 3), 3),
    )
    patches, hidden = torch.from_numpy(patch.copy())[None], torch.from_numpy(mask)[None, None].float()
    assert hidden.sum() > 9 * 9
    position = torch.tensor([[3, 3]])
    batch = Batch(patches, hidden, inner_region(patches, PLANE), position, torch.zeros(1, dtype=torch.long))
    for seed in range(10):
        found = augmented(batch, PLANE, seed, zoom=0.25, elastic=10)
        assert set(found.hidden.unique().tolist()) == {0.0, 1.0}
        assert (found.patches * (1 - found.hidden)).max() < 10
        assert at_anchor(found.hidden, found, PLANE.margin).item() == 1


# -------------------------------------------------------------------------------------------------------- geometry


@BOTH
def test_the_anchor_keeps_its_place_and_value_under_zoom_and_elastic(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry, side=0)
    for seed in range(5):
        found = augmented(batch, geometry, seed, zoom=0.25, elastic=10)
        expected = at_anchor(batch.patches, batch, geometry.margin)
        torch.testing.assert_close(at_anchor(found.patches, found, geometry.margin), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(
            at_anchor(found.target, found, (0,) * len(geometry.margin)), expected, atol=1e-4, rtol=0
        )
        assert torch.equal(found.position, batch.position)


def test_zoom_moves_a_point_away_from_the_anchor_by_its_factor() -> None:
    points = source_points((48, 52), torch.tensor([[22, 27]]), torch.tensor([2.0]), torch.zeros(1, 2, 5, 5))
    image = torch.zeros(1, 1, 48, 52)
    image[0, 0, 22 + 5, 27 - 4] = 1
    found = resample(image, points)
    assert divmod(int(found.argmax()), 52) == (22 + 10, 27 - 8)
    assert found[0, 0, 32, 19] == pytest.approx(1, abs=1e-4)
    assert found[0, 0, 33, 19] == pytest.approx(0.5, abs=1e-4)  # half-way to the next pixel


def test_resampling_equals_scipys_linear_interpolation() -> None:
    rng = np.random.default_rng(0)
    controls = torch.from_numpy(rng.uniform(-4, 4, (2, 2, 5, 5)).astype(np.float32))
    points = source_points((48, 52), torch.tensor([[22, 27], [25, 24]]), torch.tensor([0.8, 1.2]), controls)
    image = rng.normal(size=(2, 3, 48, 52)).astype(np.float32)
    found = resample(torch.from_numpy(image), points)
    for i, channel in np.ndindex(2, 3):
        # scipy's 'reflect' repeats the border pixel, as the patches do.
        expected = ndimage.map_coordinates(image[i, channel], points[i].numpy(), order=1, mode="reflect")
        np.testing.assert_allclose(found[i, channel], expected, atol=2e-4)


def test_the_elastic_field_is_a_cubic_spline_that_is_0_at_the_anchor() -> None:
    controls = np.random.default_rng(0).uniform(-5, 5, (1, 2, 5, 5)).astype(np.float32)
    size, anchor = (48, 52), (22, 27)
    points = source_points(size, torch.tensor([anchor]), torch.ones(1), torch.from_numpy(controls))
    y, x = np.mgrid[:48, :52]
    for axis, pixels in enumerate((y, x)):
        # scipy's `order=3` without its prefilter takes the values as B-spline coefficients; the first one lies at -1.
        places = np.stack([y, x]) / ELASTIC_SPACING + 1
        field = ndimage.map_coordinates(controls[0, axis], places, order=3, prefilter=False)
        expected = pixels + field - field[anchor]
        np.testing.assert_allclose(points[0, axis], expected, atol=1e-5)
        assert points[0, axis][anchor] == anchor[axis]


@pytest.mark.parametrize("seed", range(5))
def test_elastic_displaces_no_pixel_beyond_its_limit(seed: int) -> None:
    y, x = (ramp.astype(np.float32) for ramp in np.mgrid[: PLANE.size[0], : PLANE.size[1]])
    ramps = torch.from_numpy(np.stack([y, x]))[None].expand(6, -1, -1, -1)
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12))  # away from the reflections
    found = augmented(batch_of(PLANE, ramps, side=0), PLANE, seed, elastic=10).patches
    assert 1 < (found - ramps)[inside].abs().max() <= 10


def test_the_strongest_elastic_field_and_zoom_never_fold_the_image() -> None:
    signs = np.random.default_rng(0).choice([-5.0, 5.0], (200, 2, 5, 5)).astype(np.float32)
    points = source_points((48, 52), torch.tensor([[22, 27]] * 200), torch.full((200,), 1.25), torch.from_numpy(signs))
    by_y, by_x = (np.gradient(points.numpy(), axis=axis) for axis in (2, 3))
    assert (by_y[:, 0] * by_x[:, 1] - by_y[:, 1] * by_x[:, 0]).min() > 0


def test_the_planes_of_a_volume_are_warped_alike_and_never_mixed() -> None:
    batch = batch_of(VOLUME, side=0)
    planes = torch.arange(VOLUME.size[0], dtype=torch.float32)[:, None, None]
    constant = batch._replace(patches=planes.expand(6, 2, *VOLUME.size))
    found = augmented(constant, VOLUME, zoom=0.25, elastic=8, blur=2)
    torch.testing.assert_close(found.patches, constant.patches)
    alike = batch._replace(patches=batch.patches[:, :, :1].expand_as(batch.patches))
    found = augmented(alike, VOLUME, zoom=0.25, elastic=8)
    torch.testing.assert_close(found.patches, found.patches[:, :, :1].expand_as(found.patches))


@BOTH
def test_the_target_is_the_region_of_the_warped_patch(geometry: PatchGeometry) -> None:
    found = augmented(batch_of(geometry, side=0), geometry, zoom=0.25, elastic=8, contrast=0.3, brightness=0.5)
    torch.testing.assert_close(found.target, inner_region(found.patches, geometry), atol=1e-4, rtol=0)


# ------------------------------------------------------------------------------------------------------- intensity


@BOTH
def test_blur_equals_scipys_gaussian_filter(geometry: PatchGeometry) -> None:
    patches = batch_of(geometry).patches
    sigmas = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    found = blur(patches, sigmas).numpy()
    assert np.array_equal(found[0], patches[0].numpy())
    for i, sigma in enumerate(sigmas.tolist()):
        in_plane = (0,) * (patches.ndim - 3) + (sigma, sigma)
        expected = ndimage.gaussian_filter(patches[i].numpy(), in_plane, mode="nearest", radius=8)
        np.testing.assert_allclose(found[i], expected, atol=5e-3)


@BOTH
def test_blur_and_noise_leave_the_target_as_it_was(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry)
    found = augmented(batch, geometry, blur=2, noise=1)
    assert found.target is batch.target
    assert found.hidden is batch.hidden


@BOTH
def test_contrast_and_brightness_are_one_gain_and_offset_for_each_channel(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry, count=200)
    found = augmented(batch, geometry, contrast=0.2, brightness=0.5)
    lines = [
        np.polyfit(old.flatten().numpy().astype(float), new.flatten().numpy().astype(float), 1)
        for old, new in zip(batch.patches.flatten(0, 1), found.patches.flatten(0, 1), strict=True)
    ]
    gains, offsets = np.array(lines).T
    for drawn, low, high in ((gains, 0.8, 1.2), (offsets, -0.5, 0.5)):  # uniform: 400 draws come close to the limits
        assert low - 1e-5 <= drawn.min() < low + 0.05 * (high - low)
        assert high + 1e-5 >= drawn.max() > high - 0.05 * (high - low)
        assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    shape = (200, 2, *(1 for _ in geometry.region))
    expected = batch.target * torch.tensor(gains).reshape(shape) + torch.tensor(offsets).reshape(shape)
    torch.testing.assert_close(found.target, expected.float(), atol=1e-4, rtol=0)


@BOTH
def test_the_noise_is_gaussian_and_its_spread_uniform_up_to_the_limit(geometry: PatchGeometry) -> None:
    batch = batch_of(geometry, count=200)
    noise = augmented(batch, geometry, noise=0.4).patches - batch.patches
    spreads = standard_deviations(noise)
    assert spreads.max() == pytest.approx(0.4, abs=0.02)
    assert spreads.min() < 0.02
    assert spreads.mean() == pytest.approx(0.2, abs=0.03)
    scaled = (noise.flatten(1) / spreads[:, None]).flatten()
    assert scaled.mean() == pytest.approx(0, abs=0.01)
    assert (scaled.abs() < 1).float().mean() == pytest.approx(0.6827, abs=0.005)
