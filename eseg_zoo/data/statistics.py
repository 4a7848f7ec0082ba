"""Mean and standard deviation of the training images, measured once and kept in the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eseg_zoo.errors import InputError


@dataclass(frozen=True)
class Statistics:
    """Per channel, in raw intensities: float64 arrays (channels,)."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def measure(images: Sequence[NDArray[np.generic]], *, channels: Sequence[str]) -> Statistics:
    """Return the statistics over all pixels of sections (c, *space), merged by counts; `channels` are their names.

    Raises `InputError` for a constant channel, which nothing can be learnt from.
    """
    pixels = np.array([image[0].size for image in images], np.float64)[:, None]
    means = np.array([[channel.mean(dtype=np.float64) for channel in image] for image in images])
    variances = np.array([[channel.var(dtype=np.float64) for channel in image] for image in images])
    mean = (pixels * means).sum(0) / pixels.sum()
    variance = (pixels * (variances + np.square(means - mean))).sum(0) / pixels.sum()
    for number in np.flatnonzero(variance <= 1e-20 * np.square(mean)).tolist():  # what rounding leaves of a constant
        place = f"channel {number + 1} of {len(channels)} ({channels[number]})" if len(channels) > 1 else "every pixel"
        raise InputError(f"{place} of the images is constant ({mean[number]:g}): there is nothing to learn")
    return Statistics(mean, np.sqrt(variance))
