"""A patch and a whole image give the same logits, the margin is exact, and an image of any size keeps its size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from in_memory import cut
from numpy.typing import NDArray
from torch import Tensor, nn

from eseg_zoo.config import NetworkSettings
from eseg_zoo.model.dense import (
    BlurPool,
    DenseSegmenter,
    ResidualBlock,
    StandardisedConvolution,
    TopLevel,
    Upsample,
    fold_standardisation,
    reflection_index,
)
from eseg_zoo.patches.geometry import PatchGeometry

PLANE: dict[str, Any] = {
    "dims": 2,
    "channels": 2,
    "classes": 3,
    "filters": [6, 8, 10],
    "latents": 3,
    "strides": [[2, 2]] * 3,
    "kernels": [[3, 3]] * 3,
}
VOLUME = PLANE | {"dims": 3, "channels": 1, "filters": [4, 6], "strides": [[2] * 3] * 2, "kernels": [[3] * 3] * 2}
ANISOTROPIC = VOLUME | {"strides": [[1, 2, 2], [2, 2, 2]], "kernels": [[1, 3, 3], [3, 3, 3]]}

# What the small preset makes of volumes whose z is as fine as y and x, twice and eleven times coarser; only narrower.
BY_VOXEL_SIZE: dict[str, dict[str, Any]] = {
    name: NetworkSettings(dims=3, width=8, latents=3)
    .architecture(channels=1, classes=3, voxel_size={"z": z, "y": 1.0, "x": 1.0})
    .arguments()
    for name, z in (("fine z", 1.0), ("z twice coarser", 2.0), ("coarse z", 11.0))
}


def random_segmenter(architecture: dict[str, Any], seed: int = 0) -> DenseSegmenter:
    """A segmenter in eval mode in which nothing is at its initial value, so that every term of every layer counts."""
    generator = torch.Generator().manual_seed(seed)
    segmenter = DenseSegmenter(**architecture).eval()
    for module in segmenter.modules():
        if isinstance(module, StandardisedConvolution):
            nn.init.normal_(module.weight, 0.3, 2, generator=generator)
            nn.init.uniform_(module.gain, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Conv3d):
            inputs = module.weight[0].numel()
            nn.init.normal_(module.weight, 0, (2 / inputs) ** 0.5, generator=generator)
            assert module.bias is not None
            nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    segmenter.mean.normal_(100, 10, generator=generator)
    segmenter.std.uniform_(20, 40, generator=generator)
    segmenter.temperature.fill_(1.6)
    segmenter.log_prior_shift.normal_(0, 0.5, generator=generator)
    return segmenter


def random_image(channels: int, space: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(100, 30, (channels, *space)).astype(np.float32)


def dense_logits(segmenter: DenseSegmenter, image: NDArray[np.float32]) -> Tensor:
    with torch.no_grad():
        reflected = segmenter.reflect(segmenter.normalise(torch.from_numpy(image)[None]))
        return segmenter.classifier(reflected)[0]


def patch_logits(segmenter: DenseSegmenter, image: NDArray[np.float32], anchors: Sequence[Sequence[int]]) -> Tensor:
    """Logits (n, classes) of pixels, each from a patch of its own in which it keeps its place on the global grid."""
    stride = segmenter.geometry.stride
    geometry = PatchGeometry(stride, segmenter.geometry.margin)
    phases = [tuple(a % s for a, s in zip(anchor, stride, strict=True)) for anchor in anchors]
    patches = np.stack([cut(geometry, image, a, p) for a, p in zip(anchors, phases, strict=True)])
    with torch.no_grad():
        found = segmenter.classifier(segmenter.normalise(torch.from_numpy(patches)))
    assert found.shape[2:] == stride
    return torch.stack([found[i, :, *phase] for i, phase in enumerate(phases)])


@pytest.mark.parametrize("cell", [(0, 0), (7, 7), (14, 15), (0, 15), (14, 0)], ids=str)
def test_dense_equals_patchwise_at_every_phase(cell: tuple[int, int]) -> None:
    segmenter, space = random_segmenter(PLANE), (117, 125)  # cell (7, 7) is the one that sees no reflection
    dense = dense_logits(segmenter, random_image(2, space))
    anchors = list(product(*(range(8 * c, min(8 * c + 8, n)) for c, n in zip(cell, space, strict=True))))
    patchwise = patch_logits(segmenter, random_image(2, space), anchors)
    whole = torch.stack([dense[:, y, x] for y, x in anchors])
    assert whole.std(0).min() > 0.1  # the pixels differ, so that a misplaced one would show
    torch.testing.assert_close(patchwise, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", [VOLUME, ANISOTROPIC], ids=["isotropic", "anisotropic"])
def test_dense_equals_patchwise_in_volumes(architecture: dict[str, Any]) -> None:
    segmenter, space = random_segmenter(architecture), (9, 53, 55)
    dense = dense_logits(segmenter, random_image(1, space))
    corners = list(product((0, 8), (0, 52), (0, 54)))
    middle = list(product((4, 5, 7), (24, 26, 27), (24, 25, 27)))
    patchwise = patch_logits(segmenter, random_image(1, space), corners + middle)
    whole = torch.stack([dense[:, z, y, x] for z, y, x in corners + middle])
    assert whole.std(0).min() > 0.1
    torch.testing.assert_close(patchwise, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BY_VOXEL_SIZE)
def test_dense_equals_patchwise_at_every_phase_of_every_voxel_size(name: str) -> None:
    segmenter = random_segmenter(BY_VOXEL_SIZE[name])
    stride, margin = segmenter.geometry.stride, segmenter.geometry.margin
    # Along y the middle cell sees no reflection; along z and x, shorter than the margin, all that it sees is reflected.
    space = (max(margin[0] - 1, 3), 2 * margin[1] + stride[1], margin[2] - 3)
    start = (stride[0], margin[1] // stride[1] * stride[1], stride[2])
    dense = dense_logits(segmenter, random_image(1, space))
    anchors = list(product(*(range(s, min(s + step, n)) for s, step, n in zip(start, stride, space, strict=True))))
    assert len(anchors) == np.prod(stride)
    patchwise = torch.cat(
        [patch_logits(segmenter, random_image(1, space), anchors[i : i + 16]) for i in range(0, len(anchors), 16)]
    )
    whole = torch.stack([dense[:, z, y, x] for z, y, x in anchors])
    assert whole.std(0).min() > 0.02
    torch.testing.assert_close(patchwise, whole, rtol=0, atol=1e-5)


MARGIN_CASES = {
    "three levels": ([[2, 2]] * 3, [[3, 3]] * 3),
    "one level": ([[2, 2]], [[3, 3]]),
    "wide first kernel": ([[2, 2]] * 2, [[5, 5], [3, 3]]),
    "full-resolution level": ([[1, 1], [2, 2]], [[3, 3]] * 2),
    "axes that differ": ([[2, 1], [1, 2], [2, 2]], [[3, 1], [1, 3], [3, 3]]),
    "pointwise": ([[2, 2], [1, 1]], [[1, 1], [1, 1]]),
    **{name: (shape["strides"], shape["kernels"]) for name, shape in BY_VOXEL_SIZE.items()},
}


@pytest.mark.parametrize("case", MARGIN_CASES)
def test_margin_is_exactly_what_a_cell_depends_on(case: str) -> None:
    strides, kernels = MARGIN_CASES[case]
    levels, dims = len(strides), len(strides[0])
    shape = {"dims": dims, "channels": 1, "filters": [16 if dims == 2 else 8] * levels}
    architecture = PLANE | shape | {"strides": strides, "kernels": kernels}
    segmenter = random_segmenter(architecture).double()
    stride, margin = segmenter.geometry.stride, segmenter.geometry.margin
    size = [3 * s + 2 * m for s, m in zip(stride, margin, strict=True)]
    image = torch.from_numpy(random_image(1, tuple(size))[None]).double()
    # What the middle one of 3 x 3 cells may see of the padded image: itself and the margin on either side.
    sees = [slice(s, 2 * s + 2 * m) for s, m in zip(stride, margin, strict=True)]
    cell = (..., *(slice(s, 2 * s) for s in stride))
    noise = torch.from_numpy(random_image(1, tuple(size), seed=1)[None]).double()

    def change(changed: Tensor) -> float:
        with torch.no_grad():
            before = segmenter.classifier(segmenter.normalise(image))
            after = segmenter.classifier(segmenter.normalise(torch.where(changed, noise, image)))
        assert not torch.equal(before, after), "the cells around see it"
        return float((after - before)[cell].abs().max())

    outside = torch.ones_like(image, dtype=torch.bool)
    index: Any = (..., *sees)
    outside[index] = False
    assert change(outside) < 1e-9
    for axis, seen in enumerate(sees):
        for edge in (seen.start, seen.stop - 1):
            line = torch.zeros_like(image, dtype=torch.bool)
            index = (..., *(slice(edge, edge + 1) if other == axis else s for other, s in enumerate(sees)))
            line[index] = True
            assert change(line) > 1e-9, f"axis {axis}: the margin is wider than needed at {edge}"


def test_a_shift_by_whole_cells_shifts_the_result() -> None:
    segmenter = random_segmenter(PLANE)
    (margin, _), (stride, _) = segmenter.geometry.margin, segmenter.geometry.stride
    image = random_image(2, (2 * margin + 5 * stride, 2 * margin + 5 * stride))
    with torch.no_grad():
        logits, shifted = (
            segmenter.classifier(segmenter.normalise(torch.from_numpy(moved.copy())[None]))
            for moved in (image, np.roll(image, (-2 * stride, -stride), axis=(1, 2)))
        )
    torch.testing.assert_close(shifted[..., : 3 * stride, : 4 * stride], logits[..., 2 * stride :, stride:])
    assert not torch.allclose(shifted[..., : 3 * stride, : 4 * stride], logits[..., : 3 * stride, : 4 * stride])


@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 60))
def test_reflection_index_equals_numpy_symmetric_padding(length: int, before: int, after: int) -> None:
    index = reflection_index(torch.zeros(1, length), 1, before, after).numpy()
    np.testing.assert_array_equal(index, np.pad(np.arange(length), (before, after), "symmetric"))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 2), (40, 40)], ids=str)
def test_probabilities_have_the_size_of_any_image_and_sum_to_one(size: tuple[int, int]) -> None:
    segmenter = random_segmenter(PLANE)
    with torch.no_grad():
        probabilities = segmenter(torch.from_numpy(random_image(2, size))[None])
    assert probabilities.shape == (1, 3, *size)
    assert probabilities.min() > 0
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, *size))


def test_probabilities_of_a_volume_have_its_size() -> None:
    segmenter = random_segmenter(ANISOTROPIC)
    with torch.no_grad():
        probabilities = segmenter(torch.from_numpy(random_image(1, (1, 6, 3)))[None])
    assert probabilities.shape == (1, 3, 1, 6, 3)


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    segmenter = random_segmenter(PLANE)
    images = torch.from_numpy(np.stack([random_image(2, (9, 11), seed) for seed in range(3)]))
    with torch.no_grad():
        together, alone = segmenter(images), torch.cat([segmenter(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_normalisation_temperature_and_prior_shift_are_inside_the_segmenter() -> None:
    segmenter, image = random_segmenter(PLANE), random_image(2, (16, 24))
    mean, std = segmenter.mean.numpy()[0], segmenter.std.numpy()[0]
    reflected = np.pad((image - mean) / std, [(0, 0), (52, 52), (52, 52)], "symmetric")
    with torch.no_grad():
        logits = segmenter.classifier(torch.from_numpy(reflected)[None])[0].numpy()
        found = segmenter(torch.from_numpy(image)[None])[0].numpy()
    shifted = np.exp(logits / 1.6 + segmenter.log_prior_shift.numpy()[0])
    np.testing.assert_allclose(found, shifted / shifted.sum(0), atol=1e-5)


def test_logits_know_neither_temperature_nor_shift_and_corrected_are_what_probabilities_are_made_of() -> None:
    segmenter, padded = random_segmenter(PLANE), torch.from_numpy(random_image(2, (112, 120)))[None]
    with torch.no_grad():
        logits, probabilities = segmenter.logits(padded), segmenter.probabilities(padded)
        corrected = segmenter.corrected(logits)
        by_hand = logits.double() / 1.6 + segmenter.log_prior_shift.double()
        segmenter.temperature.fill_(3)
        segmenter.log_prior_shift.fill_(1)
        assert torch.equal(segmenter.logits(padded), logits)
    torch.testing.assert_close(corrected.double(), by_hand, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(probabilities.double(), by_hand.softmax(1), rtol=1e-5, atol=1e-6)


def test_log_prior_shift_multiplies_the_odds() -> None:
    segmenter, image = random_segmenter(PLANE), torch.from_numpy(random_image(2, (8, 8)))[None]
    with torch.no_grad():
        before = segmenter(image)
        segmenter.log_prior_shift[:, 1] += np.log(4.0)
        after = segmenter(image)
    torch.testing.assert_close(after[:, 1] / after[:, 0], 4 * before[:, 1] / before[:, 0])
    torch.testing.assert_close(after[:, 2] / after[:, 0], before[:, 2] / before[:, 0])


def test_twice_the_temperature_takes_the_root_of_the_odds() -> None:
    segmenter, image = random_segmenter(PLANE), torch.from_numpy(random_image(2, (8, 8)))[None]
    segmenter.log_prior_shift.zero_()
    with torch.no_grad():
        before = segmenter(image)
        segmenter.temperature.mul_(2)
        after = segmenter(image)
    torch.testing.assert_close(after[:, 1] / after[:, 0], (before[:, 1] / before[:, 0]).sqrt())


@pytest.mark.parametrize("architecture", [PLANE, ANISOTROPIC], ids=["2D", "3D"])
def test_folding_the_standardisation_changes_nothing(architecture: dict[str, Any]) -> None:
    segmenter = random_segmenter(architecture).double()
    image = torch.from_numpy(random_image(architecture["channels"], (20, 12, 9)[-architecture["dims"] :]))[None]
    with torch.no_grad():
        before = segmenter(image)
        fold_standardisation(segmenter)
        after = segmenter(image)
    assert not any(isinstance(module, StandardisedConvolution) for module in segmenter.modules())
    torch.testing.assert_close(after, before, rtol=0, atol=1e-12)


def test_a_standardised_convolution_has_kernels_of_mean_0_and_variance_1_over_fan_in() -> None:
    layer = StandardisedConvolution(2, 3, 5, (3, 1)).double()
    nn.init.normal_(layer.weight, 7, 0.1)
    nn.init.uniform_(layer.bias, -1, 1)
    layer.gain.data[4] = 0.25
    weight = layer.weight.detach().numpy()
    gain = np.array([2**0.5] * 4 + [0.25])
    expected = np.zeros((1, 5, 4, 6))
    image = np.random.default_rng(0).normal(size=(1, 3, 6, 6))
    for c in range(5):
        kernel = gain[c] * (weight[c] - weight[c].mean()) / (weight[c].std() * 3)  # the root of the fan-in, 9
        for y, x in np.ndindex(4, 6):
            expected[0, c, y, x] = (kernel * image[0, :, y : y + 3, x : x + 1]).sum() + layer.bias[c].item()
    found = layer(torch.from_numpy(image))
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_network_sees_how_bright_a_flat_image_is(channels: int) -> None:
    segmenter = DenseSegmenter(**PLANE | {"channels": channels}).eval()
    flat = torch.ones(1, channels, 4, 4)
    with torch.no_grad():
        dark, bright = (segmenter.classifier(segmenter.reflect(brightness * flat)) for brightness in (-1, 1))
    assert (dark - bright).abs().min() > 1e-3


def test_training_logits_do_not_depend_on_the_rest_of_the_batch() -> None:
    classifier = random_segmenter(PLANE).classifier.train()
    patches = torch.randn(3, PLANE["channels"], 112, 112)
    others = torch.cat([patches[:1], 5 + 3 * torch.randn(2, PLANE["channels"], 112, 112)])
    torch.testing.assert_close(classifier(others)[:1], classifier(patches)[:1], rtol=0, atol=1e-5)


def test_blur_pool_is_the_binomial_average_of_four_pixels() -> None:
    x = torch.tensor([[[[8.0, 16.0, 24.0, 64.0, 0.0, 80.0]]]])
    pooled = BlurPool(2, 1, (1, 2))(x)
    torch.testing.assert_close(pooled, torch.tensor([[[[24.0, 37.0]]]]))  # (8 + 3*16 + 3*24 + 64) / 8, ...


def test_upsampling_is_linear_and_aligned_with_the_cells() -> None:
    ramp = torch.arange(6.0)[None, None, None].expand(1, 1, 3, 6).contiguous()
    fine = Upsample(2, (1, 2))(ramp)
    assert fine.shape == (1, 1, 3, 12)
    # Pixel centres in units of coarse pixels; outside of the outermost ones there is nothing to interpolate.
    centres = torch.arange(12) / 2 - 0.25
    torch.testing.assert_close(fine[0, 0, 0], centres.clamp(0, 5))


def test_a_residual_block_with_dead_convolutions_is_its_cropped_input() -> None:
    block = ResidualBlock(2, 1, 1, (3, 1)).eval()
    nn.init.zeros_(block.second.gain)
    x = torch.arange(30.0).reshape(1, 1, 6, 5)
    with torch.no_grad():
        torch.testing.assert_close(block(x), x[:, :, 2:-2], rtol=0, atol=0)


def test_the_class_posterior_scales_and_shifts_the_features() -> None:
    torch.manual_seed(0)
    top = TopLevel(2, 4, 3, 2)
    features = torch.randn(1, 4, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        class_logits, evidence, mean = top(features)
    layers: Any = (top.film, top.hidden, top.mean)
    (w_film, b_film), (w_hidden, b_hidden), (w_mean, b_mean) = (
        (layer.weight.detach().numpy()[:, :, 0, 0], layer.bias.detach().numpy()) for layer in layers
    )
    x, q = features.numpy().ravel(), np.exp(class_logits.numpy().ravel())
    scale, shift = np.split(w_film @ (q / q.sum()) + b_film, 2)
    expected = np.maximum(w_hidden @ (x * (1 + scale) + shift) + b_hidden, 0)
    np.testing.assert_allclose(evidence.numpy().ravel(), expected, atol=1e-6)
    np.testing.assert_allclose(mean.numpy().ravel(), w_mean @ expected + b_mean, atol=1e-6)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 3, 5])), min_size=1, max_size=4),
    st.integers(1, 3),
)
def test_every_geometry_gives_whole_cells(levels: list[tuple[int, int]], cells: int) -> None:
    architecture = PLANE | {
        "filters": [4] * len(levels),
        "strides": [[stride, 1] for stride, _ in levels],
        "kernels": [[kernel, 1] for _, kernel in levels],
    }
    segmenter = DenseSegmenter(**architecture)
    (stride, _), (margin, _) = segmenter.geometry.stride, segmenter.geometry.margin
    logits = segmenter.classifier(torch.zeros(1, 2, cells * stride + 2 * margin, 2))
    assert logits.shape == (1, 3, cells * stride, 2)
