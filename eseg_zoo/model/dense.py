"""The network that is exported: image in, class probabilities out, the same for a patch and for a whole image.

It imports torch and `architecture.py` alone, because both travel in one file inside the exported package, as the
architecture of its `pytorch_state_dict` weights. Read it from top to bottom: blocks, recognition (encoder and latent
means), head, and the dense segmenter around them.

Dense by construction: every convolution is valid (unpadded), every step is local and sits on one global grid of
`stride` pixels, and the only padding is one reflection of the image by `margin`. So the logits of a pixel depend on
the pixels within `margin` around its grid cell and on nothing else, whatever the size of the image.

Nearly shift-equivariant: resolution is lowered behind a low-pass filter and raised by linear interpolation, and the
head sees full-resolution features beside the latents, so no weight belongs to one position within a cell.

Tensors are (b, c, y, x) for `dims` 2 and (b, c, z, y, x) for `dims` 3. Level i has 1/2, 1/4, 1/8 ... of the
resolution along the axes that are downsampled; its margin is counted in its own pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eseg_zoo.model.architecture import Architecture, Geometry


def _crop(x: Tensor, borders: Sequence[int]) -> Tensor:
    """Return x without `borders[axis]` pixels on both sides of each spatial axis."""
    return x[(..., *(slice(border, -border) if border else slice(None) for border in borders))]


def _difference(larger: Sequence[int], smaller: Sequence[int]) -> list[int]:
    return [a - b for a, b in zip(larger, smaller, strict=True)]


def reflection_index(image: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Return the indices of numpy's `pad(mode="symmetric")` along one axis of the image, for any length and any amount.

    The border pixel is repeated, as bioimageio.core does: a consumer that pads an image by itself sees the same result.
    They come from a tensor that is made like the image, so that an exported network makes them on the device of its
    image: a device by name would stay that of the export.
    """
    length = image.shape[axis]
    place = image.new_ones(before + length + after, dtype=torch.int64).cumsum(0) - (1 + before)
    index = torch.remainder(place, 2 * length)
    return torch.minimum(index, 2 * length - 1 - index)


# ------------------------------------------------------------------------------------------------------ blocks

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_CONVOLVE: dict[int, Callable[..., Tensor]] = {2: F.conv2d, 3: F.conv3d}
_INTERPOLATION = {2: "bilinear", 3: "trilinear"}


def pointwise(dims: int, inputs: int, outputs: int) -> nn.Module:
    """Return a 1x1 convolution: a linear layer at every location."""
    return convolution(dims, inputs, outputs, [1] * dims)


def convolution(dims: int, inputs: int, outputs: int, kernel: Sequence[int]) -> nn.Module:
    """Return a valid convolution."""
    size: Any = tuple(kernel)  # torch types it as int or as a tuple of one fixed length
    return _CONVOLUTION[dims](inputs, outputs, size)


# Standard deviation of the initial weights of a standardised convolution. The output does not depend on it, but the
# size of an optimiser's step relative to the weights does; this is what torch gives a 3x3 convolution of 70 channels.
_INITIAL_SPREAD = 0.04
# He's gain: keeps the mean square of the activations through a convolution and the ReLU before it.
_RELU_GAIN = 2**0.5


class StandardisedConvolution(nn.Module):
    """A valid convolution whose kernels are standardised to mean 0 and variance 1 / fan-in, times a learnt gain.

    It normalises weights, not activations, so nothing depends on what else is in a batch: labelled patches are
    class-balanced, unlabelled ones and whole images are not. `fold_standardisation` makes it a plain convolution.
    Source: A. Brock, S. De, S. Smith, "Characterizing signal propagation to close the performance gap in unnormalized
    ResNets", ICLR 2021.
    """

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: Sequence[int]):
        super().__init__()
        self.convolve = _CONVOLVE[dims]
        self.weight = nn.Parameter(_INITIAL_SPREAD * torch.randn(outputs, inputs, *kernel))
        self.gain = nn.Parameter(torch.full((outputs, 1, *(1 for _ in kernel)), _RELU_GAIN))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.dilation = (1,) * dims

    def kernel(self) -> Tensor:
        """Return the standardised weights (outputs, inputs, *kernel)."""
        axes = tuple(range(1, self.weight.dim()))
        variance, mean = torch.var_mean(self.weight, axes, correction=0, keepdim=True)
        return self.gain * (self.weight - mean) * torch.rsqrt(self.weight[0].numel() * variance + 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.kernel(), self.bias)

    def folded(self) -> nn.Module:
        """Return the plain convolution that gives the same output."""
        outputs, inputs, *size = self.weight.shape
        plain = convolution(len(size), inputs, outputs, size).to(self.weight)
        with torch.no_grad():
            plain.weight.copy_(self.kernel())  # type: ignore[operator]
            plain.bias.copy_(self.bias)  # type: ignore[operator]
        return plain.requires_grad_(self.weight.requires_grad)


def _kernel(module: nn.Module) -> tuple[Tensor, Tensor]:
    """Return the weights that a convolution, standardised or folded, multiplies with, and its bias."""
    weight = module.kernel() if isinstance(module, StandardisedConvolution) else module.weight
    assert isinstance(weight, Tensor)
    assert isinstance(module.bias, Tensor)
    return weight, module.bias


def _stem(dims: int, channels: int, outputs: int, kernel: Sequence[int]) -> nn.Module:
    """Return the first convolution of the network; a standardised one would hide how bright an image is."""
    stem = convolution(dims, channels, outputs, kernel)
    nn.init.kaiming_normal_(stem.weight, nonlinearity="relu")  # type: ignore[arg-type]
    nn.init.zeros_(stem.bias)  # type: ignore[arg-type]
    return stem


class ResidualBlock(nn.Module):
    """Two valid convolutions beside a cropped skip connection; takes `kernel - 1` pixels off each side."""

    def __init__(self, dims: int, inputs: int, outputs: int, kernel: Sequence[int]):
        super().__init__()
        self.first = StandardisedConvolution(dims, inputs, outputs, kernel)
        self.second = StandardisedConvolution(dims, outputs, outputs, kernel)
        self.skip = nn.Identity() if inputs == outputs else pointwise(dims, inputs, outputs)
        self.shrink = [k - 1 for k in kernel]

    def forward(self, x: Tensor) -> Tensor:
        residual = self.second(F.relu(self.first(x), inplace=True))
        return F.relu(residual.add_(self.skip(_crop(x, self.shrink))), inplace=True)


class BlurPool(nn.Module):
    """Halve the resolution behind a fixed low-pass filter, so that a shift of the image changes little.

    The taps 1, 3, 3, 1 are centred on the 2-pixel cell. Source: R. Zhang, "Making convolutional networks
    shift-invariant again", ICML 2019.
    """

    def __init__(self, dims: int, channels: int, stride: Sequence[int]):
        super().__init__()
        taps = torch.ones(())
        for step in stride:
            taps = taps[..., None] * (torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8 if step == 2 else torch.ones(1))
        self.taps: Tensor
        self.register_buffer("taps", taps.expand(channels, 1, *taps.shape).contiguous(), persistent=False)
        self.stride = tuple(stride)
        self.convolve = _CONVOLVE[dims]

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.taps, stride=self.stride, groups=self.taps.shape[0])


class Upsample(nn.Module):
    """Linear interpolation to the next finer level; the outermost pixels are clamped, and whoever calls it crops them.

    They are cropped as late as can be: from a tensor with fewer channels, or along with what is cropped anyway.
    """

    def __init__(self, dims: int, stride: Sequence[int]):
        super().__init__()
        self.scale = [float(s) for s in stride]
        self.mode = _INTERPOLATION[dims]

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale, mode=self.mode, align_corners=False)


# ------------------------------------------------------------------------------------------------- recognition


class TopLevel(nn.Module):
    """The coarsest latent: q(y|x), features modulated by it (FiLM), then the mean of q(z_L | x, y), per location."""

    def __init__(self, dims: int, filters: int, latents: int, classes: int):
        super().__init__()
        self.classify = nn.Sequential(pointwise(dims, filters, filters), nn.ReLU(), pointwise(dims, filters, classes))
        self.film = pointwise(dims, classes, 2 * filters)
        self.hidden = pointwise(dims, filters, filters)
        self.mean = pointwise(dims, filters, latents)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the class logits, the evidence (the features that the posterior is read from) and the mean."""
        class_logits = self.classify(features)
        scale, shift = self.film(class_logits.softmax(1)).chunk(2, dim=1)
        evidence = F.relu(self.hidden(features * (1 + scale) + shift))
        return class_logits, evidence, self.mean(evidence)


class LadderStep(nn.Module):
    """One level below the coarsest: it merges its skip features with the path down into q(z_i | z_>i, x)."""

    def __init__(self, shape: Architecture, level: int):
        super().__init__()
        dims, filters, kernel = shape.dims, shape.filters[level], shape.kernels[level]
        latents, features, upsampled = (
            shape.geometry.per_level(margins)[level]
            for margins in (lambda axis: axis.latents, lambda axis: axis.features, lambda axis: axis.upsampled[1:])
        )
        self.own, self.convolve = filters, _CONVOLVE[dims]
        self.reduce = StandardisedConvolution(dims, filters + shape.filters[level + 1], filters, [1] * dims)
        self.merge = StandardisedConvolution(dims, filters, filters, kernel)
        self.mean = pointwise(dims, filters, shape.latents)
        self.upsample = Upsample(dims, shape.strides[level + 1])
        self.skip_border = _difference(features, upsampled)
        self.above_border = _difference(upsampled, latents)
        self.border = _difference(self.above_border, [k // 2 for k in kernel])

    def forward(self, features: Tensor, top_down: Tensor) -> tuple[Tensor, Tensor]:
        """Return the evidence and the mean, of this level's features and of the path down at the next coarser level.

        Reducing the path down before it is upsampled, and adding, gives what reducing the concatenation would, as both
        are linear, with less work.
        """
        kernel, bias = _kernel(self.reduce)
        own, other = kernel[:, : self.own], kernel[:, self.own :]
        pointwise = partial(self.convolve, dilation=self.reduce.dilation)
        skip = pointwise(_crop(features, self.skip_border), own, bias)
        reduced = skip.add_(self.upsample(pointwise(top_down, other)))
        evidence = F.relu(self.merge(F.relu(reduced, inplace=True)), inplace=True)
        return _crop(evidence, self.border), _crop(self.mean(evidence), self.border)

    def from_above(self, top_down: Tensor) -> Tensor:
        """Return the path down at this level, with its latent margin: all that p(z_i | z_>i) sees."""
        return _crop(self.upsample(top_down), self.above_border)


class Recognition(nn.Module):
    """The ladder of latents: a bottom-up encoder, and the levels of the path down that refines it.

    `means` is the pass down that predictions are made by. Training goes down by draws instead, over the same levels
    (`encode`, `top`, `step`, `inject`), but not in this file, which prediction alone needs.
    """

    def __init__(self, shape: Architecture):
        super().__init__()
        dims, filters = shape.dims, shape.filters
        widths = [shape.stem_filters, *filters]
        self.stem = _stem(dims, shape.channels, widths[0], shape.kernels[0])
        self.detail_border = [axis.stem - axis.upsampled[0] for axis in shape.geometry.axes]
        self.pools = nn.ModuleList(map(partial(BlurPool, dims), widths[:-1], shape.strides))
        self.blocks = nn.ModuleList(map(partial(ResidualBlock, dims), widths[:-1], widths[1:], shape.kernels))
        self.top = TopLevel(dims, filters[-1], shape.latents, shape.classes)
        self.steps = nn.ModuleList(LadderStep(shape, level) for level in range(len(filters) - 1))  # finest first
        self.injects = nn.ModuleList(pointwise(dims, shape.latents, f) for f in filters)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of each level, finest first.

        x (b, channels, *cells * stride + 2 * margin) is whole cells and their margin, normalised.
        """
        x = F.relu(self.stem(x), inplace=True)
        features = []
        for pool, block in zip(self.pools, self.blocks, strict=True):
            x = block(pool(x))
            features.append(x)
        return features

    def details(self, x: Tensor) -> Tensor:
        """Return the stem's features at full resolution, with the margin that the head wants; x as in `encode`.

        They are computed a second time, of fewer pixels: that is quicker than to keep them, and to copy what is not
        the margin, as a crop of them would have to be.
        """
        return F.relu(self.stem(_crop(x, self.detail_border)), inplace=True)

    def step(self, level: int) -> LadderStep:
        """Return what leads down to a level, 0 for the finest; the coarsest is `top`."""
        step = self.steps[level]
        assert isinstance(step, LadderStep)
        return step

    def inject(self, level: int, evidence: Tensor, latent: Tensor) -> Tensor:
        """Return the path down below a level: its evidence, and what its latent (b, latents, *cells) adds to it."""
        return F.relu(self.injects[level](latent).add_(evidence), inplace=True)

    def means(self, x: Tensor) -> list[Tensor]:
        """Return the means of q(z_i | z_>i, x), finest first; x as in `encode`.

        Each mean (b, latents, *cells of the level with its latent margin) is given those above it: nothing is drawn.
        """
        features = self.encode(x)
        _, evidence, mean = self.top(features[-1])
        means = [mean]
        for level in reversed(range(len(self.steps))):
            top_down = self.inject(level + 1, evidence, mean)
            evidence, mean = self.step(level)(features[level], top_down)
            means.insert(0, mean)
        return means


class Head(nn.Module):
    """The MLP on the latent means of all levels and the stem: hidden at half resolution, then at full resolution."""

    def __init__(self, shape: Architecture):
        super().__init__()
        dims, fine = shape.dims, 2 * shape.stem_filters
        latents, upsampled = map(shape.geometry.per_level, (lambda axis: axis.latents, lambda axis: axis.upsampled))
        finest = shape.geometry.per_level(lambda axis: axis.at_the_finest)
        self.upsamples = nn.ModuleList(map(partial(Upsample, dims), shape.strides[1:]))
        self.borders = [_difference(margin, latents[0]) for margin in finest[1:]]
        self.hidden = pointwise(dims, len(shape.filters) * shape.latents, 2 * shape.filters[0])
        self.reduce = pointwise(dims, 2 * shape.filters[0], fine)
        self.border = upsampled[0]
        self.to_pixels = Upsample(dims, shape.strides[0])
        self.sharpen = pointwise(dims, shape.stem_filters, fine)
        self.classify = pointwise(dims, fine, shape.classes)

    def forward(self, means: list[Tensor], details: Tensor) -> Tensor:
        """Return logits (b, classes, *pixels of the cells) from the means, finest first, and the stem's features."""
        return _crop(self.bordered(means, details), self.border)

    def bordered(self, means: list[Tensor], details: Tensor) -> Tensor:
        """Return the logits with `border` pixels around the cells, of which interpolation has clamped the outermost."""
        coarse = self.to_pixels(self.reduce(F.relu(self.hidden(self.column(means)), inplace=True)))
        logits: Tensor = self.classify(F.relu(self.sharpen(details).add_(coarse), inplace=True))
        return logits

    def column(self, means: list[Tensor]) -> Tensor:
        """Return the means of all levels at the finest level's locations, (b, levels * latents, *its cells)."""
        column = [means[0]]
        for level, mean in enumerate(means[1:]):
            for upsample in reversed(self.upsamples[: level + 1]):
                mean = upsample(mean)
            column.append(_crop(mean, self.borders[level]))
        return torch.cat(column, 1)


class Classifier(nn.Module):
    """Recognition and head: normalised pixels with their margin in, class logits of the whole cells out."""

    def __init__(self, shape: Architecture):
        super().__init__()
        self.geometry = shape.geometry
        self.recognition = Recognition(shape)
        self.head = Head(shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, classes, *cells * stride) of x (b, channels, *cells * stride + 2 * margin)."""
        logits: Tensor = self.head(self.recognition.means(x), self.recognition.details(x))
        return logits

    def bordered(self, x: Tensor) -> Tensor:
        """Return the logits with the head's border: for a caller who crops them anyway."""
        return self.head.bordered(self.recognition.means(x), self.recognition.details(x))


# --------------------------------------------------------------------------------------------- whole images


class DenseSegmenter(nn.Module):
    """Raw intensities (b, channels, *any size) to class probabilities (b, classes, *the same size).

    Normalises with the training statistics, reflects the image by the margin, classifies, divides the logits by the
    fitted temperature, shifts them from the class frequencies of training to those of the data (`log_prior_shift`), and
    applies softmax.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor
    log_prior_shift: Tensor

    def __init__(
        self,
        *,
        dims: int,
        channels: int,
        classes: int,
        filters: Sequence[int],
        latents: int,
        strides: Sequence[Sequence[int]],
        kernels: Sequence[Sequence[int]],
    ):
        super().__init__()
        shape = Architecture(dims, channels, classes, filters, latents, strides, kernels)
        self.classifier = Classifier(shape)
        ones = [1] * dims
        self.register_buffer("mean", torch.zeros(1, channels, *ones))
        self.register_buffer("std", torch.ones(1, channels, *ones))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("log_prior_shift", torch.zeros(1, classes, *ones))

    @classmethod
    def of(cls, architecture: Architecture) -> DenseSegmenter:
        """Return a network of this shape; a package calls the constructor itself, with `architecture.arguments()`."""
        return cls(**architecture.arguments())

    @property
    def geometry(self) -> Geometry:
        """The geometry that halo, tiles and patches follow."""
        return self.classifier.geometry

    def normalise(self, image: Tensor) -> Tensor:
        """Return the image in units of the training images' standard deviation, around their mean."""
        return (image - self.mean) / self.std

    def reflect(self, image: Tensor) -> Tensor:
        """Return the image reflected by the margin, and on the far side to a whole number of cells."""
        for axis, geometry in enumerate(self.geometry.axes, start=2):
            length = image.shape[axis]
            after = geometry.margin + (-length) % geometry.stride
            image = image.index_select(axis, reflection_index(image, axis, geometry.margin, after))
        return image

    def cropped(self, cells: Tensor, image: Tensor) -> Tensor:
        """Return what of whole cells, which `reflect` completed, lies in the image."""
        for axis in range(2, image.dim()):
            cells = cells.narrow(axis, 0, image.shape[axis])
        return cells

    def logits(self, padded: Tensor) -> Tensor:
        """Return class-balanced logits (b, classes, *cells * stride) of a raw image that already has its margin.

        They are the classifier's own: before the temperature, and as if every class were equally frequent.
        """
        logits: Tensor = self.classifier(self.normalise(padded))
        return logits

    def corrected(self, logits: Tensor) -> Tensor:
        """Return the logits (b, classes, ...) divided by the temperature and shifted to the data's frequencies."""
        return logits / self.temperature + self.log_prior_shift

    def probabilities(self, padded: Tensor) -> Tensor:
        """Return probabilities of the whole cells of a raw image that already has its margin."""
        return self.corrected(self.logits(padded)).softmax(1)

    def forward(self, image: Tensor) -> Tensor:
        """Return class probabilities of every pixel of a raw image of any size."""
        return self.cropped(self.probabilities(self.reflect(image)), image)


def fold_standardisation(module: nn.Module) -> None:
    """Replace every standardised convolution in the module by the plain one that gives the same output."""
    for name, child in module.named_children():
        if isinstance(child, StandardisedConvolution):
            setattr(module, name, child.folded())
        else:
            fold_standardisation(child)
