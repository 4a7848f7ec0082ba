"""What the generative half of a model makes of a hidden region: its reconstruction, and draws of each class there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.patches.geometry import PatchGeometry
from eseg_zoo.patches.sections import Section


@dataclass(frozen=True)
class Imagined:
    """A part of an image; arrays (c, *region) in raw intensities, equal to the image where nothing was hidden."""

    image: NDArray[np.float32]
    hidden: NDArray[np.bool_]  # (*region), what the network did not see
    reconstruction: NDArray[np.float32]
    draws: dict[str, NDArray[np.float32]]  # class name -> the hidden part as the prior of this class makes it


def imagine(
    checkpoint: Checkpoint,
    section: Section,
    centre: tuple[int, ...],
    *,
    side: int,
    cells: int,
    seed: int = 0,
) -> Imagined:
    """Hide a square of `side` pixels (odd) around `centre` in a section and return what the model paints.

    The region around it has `cells` cells of the coarsest level along each axis, odd, with `centre` in its middle.
    """
    hvae, segmenter = checkpoint.hvae(), checkpoint.segmenter()
    stride, margin = checkpoint.geometry.stride, checkpoint.geometry.margin
    geometry = PatchGeometry(tuple(cells * s for s in stride), margin)
    phase = tuple(length // 2 for length in geometry.region)
    patch = section.read(geometry.window(centre, phase)).astype(np.float32)
    mask = geometry.centre_mask(section.space, centre, phase, side)
    inner = tuple(slice(m, m + r) for m, r in zip(margin, geometry.region, strict=True))
    image, hidden = patch[(slice(None), *inner)], mask[inner]
    generator = torch.Generator().manual_seed(seed)

    def painted(normalised: torch.Tensor) -> NDArray[np.float32]:
        raw = (normalised * segmenter.std + segmenter.mean)[0].numpy()
        return np.where(hidden, raw, image).astype(np.float32)

    with torch.inference_mode():
        seen = segmenter.normalise(torch.from_numpy(patch)[None]) * torch.from_numpy(~mask)
        reconstruction = painted(hvae(seen, generator).reconstruction)
        names = enumerate(checkpoint.class_names)
        draws = {name: painted(hvae.imagine(seen, index, generator)) for index, name in names}
    return Imagined(image, hidden, reconstruction, draws)
