"""Random changes of training patches: what the tissue, the optics and the detector might have done differently.

The order is that of the imaging: shape (zoom, elastic), optics (blur), detector (contrast and brightness, then noise).
Flips and rotations are exact, so they come earlier, when a patch is cut (`patches/source.py`).

Volumes are changed plane by plane, all planes alike, as their symmetries are: slices may be thicker than pixels, and
mixing them would show the network what no microscope does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from eseg_zoo.config import AugmentationSettings
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.source import Batch, inner_region

# Pixels between two control points of the elastic field. Neighbours differ by at most `elastic`, so the field's slope
# is at most elastic / 32: with the limits of `elastic` and `zoom` the image is never folded onto itself.
ELASTIC_SPACING = 32
# Standard deviations at which the blur's kernel ends; beyond them lie 0.3 % of it.
BLUR_REACH = 3.0
# Stands for a sigma of 0, which would divide by it: the kernel is a single 1 long before.
SMALLEST_SIGMA = 1e-2


def augment(batch: Batch, geometry: PatchGeometry, settings: AugmentationSettings, generator: torch.Generator) -> Batch:
    """Return the batch changed as the settings say, each patch by its own draw; with all of them 0, the same tensors.

    The anchor stays at its place, and what a hidden pixel held stays unseen: it is hidden before anything mixes pixels,
    and the mask, mirror images included, moves with the image.

    What the decoder must restore (`target`) follows shape, contrast and brightness, which the visible pixels tell. It
    stays free of noise, which nothing can predict, and of blur, which would write visible pixels into hidden ones.
    """
    patches, hidden, target = batch.patches, batch.hidden, batch.target
    if settings.zoom or settings.elastic or settings.blur:
        patches = patches * (1 - hidden)
    if settings.zoom or settings.elastic:
        points = _draw_points(batch, geometry, settings, generator)
        depth, plane = (PatchGeometry(geometry.region[s], geometry.margin[s]) for s in (slice(-2), slice(-2, None)))
        target = resample(inner_region(batch.patches, depth), inner_region(points, plane))
        patches, hidden = resample(patches, points), resample_mask(hidden, points)
    if settings.blur:
        patches = blur(patches, _uniform((len(patches),), 0, settings.blur, generator))
    if settings.contrast or settings.brightness:
        shape = (*patches.shape[:2], *(1 for _ in geometry.region))  # the channels are stains or detectors of their own
        gain = _uniform(shape, 1 - settings.contrast, 1 + settings.contrast, generator)
        offset = _uniform(shape, -settings.brightness, settings.brightness, generator)
        patches, target = ((x * gain).add_(offset) for x in (patches, target))
    if settings.noise:
        spread = _uniform((len(patches), *(1 for _ in patches.shape[1:])), 0, settings.noise, generator)
        patches = torch.randn(patches.shape, generator=generator).mul_(spread).add_(patches)
    return batch._replace(patches=patches, hidden=hidden, target=target)


def source_points(size: tuple[int, int], anchors: Tensor, scale: Tensor, controls: Tensor) -> Tensor:
    """Return where in the patch each pixel's value comes from: (b, 2, h, w), the y and x of pixels, from 0.

    `size` is (h, w), `anchors` (b, 2) are integer pixels, which come from themselves; `scale` (b,) magnifies around
    them. `controls` (b, 2, rows, columns) are displacements in pixels every `ELASTIC_SPACING` pixels, joined by cubic
    B-splines; the whole field is shifted to be 0 at the anchor.
    """
    down, across = (_splines(length, count) for length, count in zip(size, controls.shape[2:], strict=True))
    field = down @ controls @ across.T
    at_anchor = field[torch.arange(len(field)), :, anchors[:, 0], anchors[:, 1]]
    field -= at_anchor[:, :, None, None]
    y, x = ((torch.arange(n) - a[:, None]) / scale[:, None] + a[:, None] for n, a in zip(size, anchors.T, strict=True))
    field[:, 0] += y[:, :, None]
    field[:, 1] += x[:, None, :]
    return field


def resample(x: Tensor, points: Tensor) -> Tensor:
    """Return x (b, c, *planes, h, w) at `points` (b, 2, *size) of each plane, linearly interpolated: (..., *size).

    Points outside the patch are reflected into it, which shows in a few pixels, as far from the anchor as can be:
    cutting larger patches would cost more padding of every section.
    Interpolation smooths, on average as a blur of sigma 0.4 pixels does, and less near the anchor.
    """
    return _sample(x, points, "bilinear")


def resample_mask(mask: Tensor, points: Tensor) -> Tensor:
    """Return `mask` at `points` like `resample`, but by the nearest pixel: it stays 0 and 1."""
    return _sample(mask, points, "nearest")


def blur(x: Tensor, sigmas: Tensor) -> Tensor:
    """Return x (b, c, *planes, h, w) with each plane convolved with its patch's Gaussian, `sigmas` (b,) pixels wide.

    The border pixels are repeated outwards.
    """
    radius = max(round(BLUR_REACH * float(sigmas.max())), 1)
    offsets = torch.arange(-radius, radius + 1)
    kernels = torch.exp(-0.5 * (offsets / sigmas.clamp(min=SMALLEST_SIGMA)[:, None]).square())
    kernels = kernels / kernels.sum(1, keepdim=True)
    planes = x.flatten(1, -3)
    each = kernels.repeat_interleave(planes.shape[1], 0)[:, None]
    padded = F.pad(planes, (radius, radius, radius, radius), mode="replicate").flatten(0, 1)[None]
    down = F.conv2d(padded, each[..., :, None], groups=len(each))
    return F.conv2d(down, each[..., None, :], groups=len(each)).reshape(x.shape)


def _draw_points(
    batch: Batch, geometry: PatchGeometry, settings: AugmentationSettings, generator: torch.Generator
) -> Tensor:
    """Return the source points (b, 2, h, w) of a random zoom and elastic field for each patch."""
    height, width = geometry.size[-2:]
    anchors = batch.position[:, -2:] + torch.tensor(geometry.margin[-2:])
    scale = _uniform((len(anchors),), 1 - settings.zoom, 1 + settings.zoom, generator)
    # A pixel and the anchor can be displaced in opposite directions: half of the limit for each of them.
    largest = settings.elastic / 2
    counts = [(length - 1) // ELASTIC_SPACING + 4 for length in (height, width)]
    controls = _uniform((len(anchors), 2, *counts), -largest, largest, generator)
    return source_points((height, width), anchors, scale, controls)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _splines(length: int, count: int) -> Tensor:
    """Return the weights (length, count) of the control points in each pixel: cubic B-splines, their sum is 1."""
    distance = (torch.arange(length)[:, None] / ELASTIC_SPACING - (torch.arange(count) - 1)).abs()
    near, far = 2 / 3 - distance.square() + distance.pow(3) / 2, (2 - distance).clamp(min=0).pow(3) / 6
    return torch.where(distance < 1, near, far)


def _sample(x: Tensor, points: Tensor, mode: str) -> Tensor:
    pixel = 1 / torch.tensor(x.shape[:-3:-1])[:, None, None]
    # torch wants (x, y) last, from -1 to 1, border to border. In place and a view: copies cost more than the sampling.
    grid = points.flip(1).mul_(2 * pixel).add_(pixel - 1).movedim(1, -1)
    found = F.grid_sample(x.flatten(1, -3), grid, mode=mode, padding_mode="reflection", align_corners=False)
    return found.reshape(*x.shape[:-2], *points.shape[-2:])
