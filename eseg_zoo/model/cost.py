"""What a network costs: multiply-adds and values of a pass through it, worked out from its shape alone.

`benchmarks/multiply_adds.py` counts the same in a network that runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from eseg_zoo.model.architecture import Architecture

# Along a halved axis the low-pass filter before it has four taps.
_TAPS = 4


@dataclass(frozen=True)
class Cost:
    """What a pass forward through the network costs."""

    multiply_adds: int
    values: int  # numbers that its layers return

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.multiply_adds + other.multiply_adds, self.values + other.values)

    def __mul__(self, count: int) -> Cost:
        return Cost(self.multiply_adds * count, self.values * count)


def parameters_of(shape: Architecture) -> int:
    """Return about how many weights a network of this shape learns: those of its convolutions."""
    region = shape.geometry.stride
    return sum(layer.weights for layer in (*_classifier(shape, region), *_learning(shape, region)))


def classifier_cost(shape: Architecture, region: Sequence[int]) -> Cost:
    """Return the cost of a classifier on one patch whose region has this size in pixels, whole cells."""
    return _sum([*_classifier(shape, region), _details(shape, region)])


def training_cost(shape: Architecture, region: Sequence[int]) -> Cost:
    """Return the cost of a pass forward in training, the decoder and all that only learning needs included."""
    return classifier_cost(shape, region) + _sum(list(_learning(shape, region)))


@dataclass(frozen=True)
class _Layer:
    """A convolution: its inputs and outputs are channels."""

    inputs: int
    outputs: int
    kernel: int  # pixels
    places: int  # locations that it returns

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs * self.kernel

    @property
    def cost(self) -> Cost:
        return Cost(self.weights * self.places, self.outputs * self.places)


def _sum(layers: Sequence[_Layer]) -> Cost:
    return sum((layer.cost for layer in layers), Cost(0, 0))


def _places(shape: Architecture, region: Sequence[int], level: int, margins: Sequence[int]) -> int:
    """Return the locations of a tensor of this level, -1 for full resolution, that has margins around the region."""
    strides = shape.geometry.stride_of(level) if level >= 0 else (1,) * shape.dims
    return prod(n // s + 2 * m for n, s, m in zip(region, strides, margins, strict=True))


def _classifier(shape: Architecture, region: Sequence[int]) -> list[_Layer]:
    return [*_encoder(shape, region), *_way_down(shape, region), *_head(shape, region)]


def _encoder(shape: Architecture, region: Sequence[int]) -> Iterator[_Layer]:
    geometry = shape.geometry
    stem = _places(shape, region, -1, [axis.stem for axis in geometry.axes])
    yield _Layer(shape.channels, shape.stem_filters, prod(shape.kernels[0]), stem)
    below = shape.stem_filters
    for level, features in enumerate(geometry.per_level(lambda axis: axis.features)):
        width, kernel, stride = shape.filters[level], shape.kernels[level], shape.strides[level]
        pooled = [m + 2 * (k // 2) for m, k in zip(features, kernel, strict=True)]
        between = [m + k // 2 for m, k in zip(features, kernel, strict=True)]
        taps = prod(_TAPS if step == 2 else 1 for step in stride)
        # Each channel is filtered by itself, which costs as much as one input.
        yield _Layer(1, below, taps, _places(shape, region, level, pooled))
        yield _Layer(below, width, prod(kernel), _places(shape, region, level, between))
        yield _Layer(width, width, prod(kernel), _places(shape, region, level, features))
        if below != width:
            yield _Layer(below, width, 1, _places(shape, region, level, features))
        below = width


def _way_down(shape: Architecture, region: Sequence[int]) -> Iterator[_Layer]:
    """Yield what leads from the coarsest features to the means of all latents."""
    latents, widths = shape.latents, shape.filters
    margins, upsampled = map(shape.geometry.per_level, (lambda axis: axis.latents, lambda axis: axis.upsampled))
    top, places = widths[-1], [_places(shape, region, level, margins[level]) for level in range(len(widths))]
    for inputs, outputs in ((top, top), (top, shape.classes), (shape.classes, 2 * top), (top, top), (top, latents)):
        yield _Layer(inputs, outputs, 1, places[-1])
    for level in reversed(range(len(widths) - 1)):
        width, above, kernel = widths[level], widths[level + 1], shape.kernels[level]
        merged = [m - k // 2 for m, k in zip(upsampled[level + 1], kernel, strict=True)]
        yield _Layer(latents, above, 1, places[level + 1])  # the latent, into the path down
        yield _Layer(above, width, 1, places[level + 1])
        yield _Layer(width, width, 1, _places(shape, region, level, upsampled[level + 1]))
        yield _Layer(width, width, prod(kernel), _places(shape, region, level, merged))
        yield _Layer(width, latents, 1, _places(shape, region, level, merged))


def _head(shape: Architecture, region: Sequence[int]) -> Iterator[_Layer]:
    fine, first = 2 * shape.stem_filters, shape.filters[0]
    coarse = _places(shape, region, 0, shape.geometry.per_level(lambda axis: axis.latents)[0])
    yield _Layer(len(shape.filters) * shape.latents, 2 * first, 1, coarse)
    yield _Layer(2 * first, fine, 1, coarse)
    yield _Layer(shape.stem_filters, fine, 1, _pixels(shape, region))
    yield _Layer(fine, shape.classes, 1, _pixels(shape, region))


def _details(shape: Architecture, region: Sequence[int]) -> _Layer:
    """Return the stem once more, as the head sees it."""
    return _Layer(shape.channels, shape.stem_filters, prod(shape.kernels[0]), _pixels(shape, region))


def _pixels(shape: Architecture, region: Sequence[int]) -> int:
    """Return the locations of the head at full resolution."""
    return _places(shape, region, -1, [axis.upsampled[0] for axis in shape.geometry.axes])


def _learning(shape: Architecture, region: Sequence[int]) -> Iterator[_Layer]:
    """Yield what training adds: variances, the priors of the ladder, and the decoder."""
    latents, widths, none = shape.latents, shape.filters, (0,) * shape.dims
    margins = shape.geometry.per_level(lambda axis: axis.latents)
    for level, width in enumerate(widths):
        yield _Layer(width, latents, 1, _places(shape, region, level, margins[level]))
    for level, above in enumerate(widths[1:]):
        yield _Layer(above, 2 * latents, 1, _places(shape, region, level, none))
    yield _Layer(latents, widths[0], 1, _places(shape, region, 0, margins[0]))
    cells = _places(shape, region, 0, none)
    yield _Layer(widths[0], widths[0], 1, cells)
    yield _Layer(widths[0], shape.channels, prod(shape.strides[0]), cells)
