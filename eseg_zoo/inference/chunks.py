"""One chunk of a result, predicted or made from the finer level: the unit of work, wherever it runs.

A chunk is predicted on one thread, because the sums of a network depend, in their last digits, on how many threads
share them: so the result is the same bytes whatever the machine's cores and the number of workers. A process predicts
`Job.at_once` chunks side by side, which bounds its memory; meanwhile other threads read and write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock, Semaphore

import numpy as np
import torch
from numcodecs import blosc
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.data.lazy import Volume
from eseg_zoo.errors import InputError
from eseg_zoo.inference.maps import entropy
from eseg_zoo.inference.ome_zarr import Result
from eseg_zoo.inference.predict import Predictor, WantedMaps
from eseg_zoo.inference.pyramid import mean, most_frequent
from eseg_zoo.inference.volume import margin_index

# Side of a chunk for each spatial rank: as large as 1.5 GB for the whole process allow at 64 filters.
DEFAULT_CHUNK = {2: 1024, 3: 80}
# What the passes of a process may take of them together, unless a single one takes more.
BYTES_FOR_PASSES = 1_000_000_000

_loading = Lock()


@dataclass(frozen=True)
class Job:
    """What a worker must know to make any chunk of a result; small enough to travel with every task."""

    model: Path
    model_sha256: str
    volume: Volume
    result: Result
    wanted: WantedMaps
    device: str | None
    tta: bool = False
    at_once: int = 1

    def make(self, level: int, index: tuple[int, ...]) -> None:
        """Write the chunk `index` of `level`; what is there already is replaced by the same bytes.

        Raises `InputError` for pixels that cannot be read or are not finite, `OutputError` for a disk that is full.
        """
        blosc.use_threads = False  # its threads would order the bytes of a chunk by chance
        if level:
            self._make_coarse(level, index)
        else:
            self._predict(index)

    def _predict(self, index: tuple[int, ...]) -> None:
        predictor = _load(self.model, self.model_sha256, self.device, self.tta)
        region = dict(zip(self.result.pyramid.axes, self.result.pyramid.region(0, index), strict=True))
        padded, inside = self._read(predictor, region)
        with _loading:  # not one for each thread
            turns = _turns(self.at_once)
        with turns:
            torch.set_num_threads(1)
            probabilities = predictor.predict_padded(padded)[inside]
        values = np.array(predictor.checkpoint.class_values, self.result.label_type)
        shape = [part.stop - part.start for part in region.values()]
        labels = values[probabilities.argmax(0)].reshape(shape)
        maps = [probabilities] if self.wanted.probabilities else []
        if self.wanted.uncertainty:
            maps.append(entropy(probabilities)[None])
        self.result.write(0, index, labels, np.concatenate(maps).reshape(-1, *shape) if maps else None)

    def _read(self, predictor: Predictor, region: dict[str, slice]) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
        """Return the pixels of a chunk with their margin, (c, *space), and which part of their prediction is inside."""
        geometry, sizes = predictor.segmenter.geometry, self.volume.sizes
        where, indices, inside = dict(region), [], [slice(None)]
        for axis, margin, stride in zip("zyx"[-len(geometry.axes) :], geometry.margin, geometry.stride, strict=True):
            part = region.get(axis, slice(0, 1))
            cells = slice(part.start, part.start + -(-(part.stop - part.start) // stride) * stride)
            index = margin_index(cells, margin, sizes[axis])
            where[axis] = slice(int(index.min()), int(index.max()) + 1)
            indices.append(index - index.min())
            inside.append(slice(0, part.stop - part.start))
        found = self.volume.read(where)[0]
        section = found if len(geometry.axes) == 3 else found[:, 0]
        self._require_finite(section, where)
        for position, index in enumerate(indices, start=1):
            section = section.take(index, position)
        return section.astype(np.float32), tuple(inside)

    def _require_finite(self, section: NDArray[np.generic], where: dict[str, slice]) -> None:
        if np.issubdtype(section.dtype, np.floating) and not np.isfinite(section).all():
            place = ", ".join(f"{axis} {part.start}-{part.stop - 1}" for axis, part in where.items())
            raise InputError(f"{self.volume.path} has NaN or infinite pixels at {place}")

    def _make_coarse(self, level: int, index: Sequence[int]) -> None:
        pyramid = self.result.pyramid
        finer, steps = pyramid.finer_region(level, index), pyramid.steps(level)
        labels = most_frequent(self.result.read_labels(level - 1, finer), steps)
        maps = None
        if self.result.channels:
            maps = np.stack([mean(one, steps) for one in self.result.read_maps(level - 1, finer)])
        self.result.write(level, index, labels, maps)


def sha256(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=1)
def _turns(at_once: int) -> Semaphore:
    """Return what lets so many chunks of this process be predicted side by side."""
    return Semaphore(at_once)


def _load(model: Path, model_sha256: str, device: str | None, tta: bool) -> Predictor:
    with _loading:  # not once for each thread
        return _load_once(model, model_sha256, device, tta)


@lru_cache(maxsize=1)
def _load_once(model: Path, model_sha256: str, device: str | None, tta: bool) -> Predictor:
    """Return the model; its checksum is the key, so that a long-lived worker loads a changed model anew."""
    predictor = Predictor(Checkpoint.load(model), device=device, tta=tta)
    if sha256(model) != model_sha256:
        raise InputError(f"{model} is another file on this worker, or was changed since the command was started")
    return predictor
