"""TorchScript that runs a network for planes tile by tile, as `eseg predict` does, however large the image is.

A file cannot ask the program that runs it to keep the memory that it frees (`eseg_zoo/allocator.py`). By itself glibc
hands every tensor of 32 MiB and more back to the system, and on a plane of 1024 x 1024 pixels that cost as much time as
the network. So tiles are as small as keeps every tensor below that, and as large as that allows, because each is
computed with the margin around it. The network depends on nothing beyond the margin, so the result is that of the whole
plane to rounding.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from eseg_zoo.model.architecture import Architecture

# Bytes of the largest tensor of a tile; its margin comes to it.
_LARGEST_TENSOR = 24 << 20
# Of any tile, so that every export can be compared in more than one.
_MOST_PIXELS = 400_000


def tile_pixels(shape: Architecture) -> int:
    """Return how many pixels a tile has at most: its largest tensor is the head's, with twice the stem's width."""
    fitting = _LARGEST_TENSOR // (4 * 2 * shape.stem_filters)
    return max(min(fitting, _MOST_PIXELS), prod(shape.geometry.stride))


class InTiles(nn.Module):
    """Raw intensities (b, channels, y, x) of any size to probabilities (b, classes, y, x); made to be scripted.

    `reflect` and `probabilities` are those of the segmenter, traced: of a whole image, and of pixels with their margin.
    """

    def __init__(self, reflect: nn.Module, probabilities: nn.Module, shape: Architecture):
        super().__init__()
        self.reflect, self.probabilities = reflect, probabilities
        self.margin, self.stride = shape.geometry.margin, shape.geometry.stride
        self.classes, self.largest = shape.classes, tile_pixels(shape)

    def forward(self, image: Tensor) -> Tensor:
        padded = self.reflect(image)
        height, width = padded.size(2) - 2 * self.margin[0], padded.size(3) - 2 * self.margin[1]
        tall, wide, rows, columns = height, width, 1, 1
        while tall * wide > self.largest:
            if tall > wide:
                rows += 1
                tall = (height // self.stride[0] + rows - 1) // rows * self.stride[0]
            else:
                columns += 1
                wide = (width // self.stride[1] + columns - 1) // columns * self.stride[1]
        result = torch.empty([padded.size(0), self.classes, height, width], dtype=padded.dtype, device=padded.device)
        for y in range(0, height, tall):
            for x in range(0, width, wide):
                # All are of one size, so the last ones begin earlier and compute some pixels once more.
                top, left = min(y, height - tall), min(x, width - wide)
                tile = padded.narrow(2, top, tall + 2 * self.margin[0]).narrow(3, left, wide + 2 * self.margin[1])
                result.narrow(2, top, tall).narrow(3, left, wide).copy_(self.probabilities(tile))
        return result.narrow(2, 0, image.size(2)).narrow(3, 0, image.size(3))
