"""A small stack and a prediction of it into files, as the command makes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.inference.jobs import WantedMaps
from eseg_zoo.inference.network import InMemory, Network, OnDisk, Predictor
from eseg_zoo.inference.predict import ChunksDone, Computing, Reading, open_for, predict_to_files, targets_of

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 75, 90)).astype(np.uint8)
ALL_MAPS = WantedMaps(probabilities=True, uncertainty=True)
SMALL_TILES = Computing(tile=32)


def write_inputs(folder: Path, checkpoint: Checkpoint) -> None:
    """`model.pt` and the stack `v.ome.tif`, with its voxel size."""
    checkpoint.save(folder / "model.pt", force=True)
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (0.04, 0.008, 0.008), strict=True)}
    tifffile.imwrite(folder / "v.ome.tif", PIXELS, ome=True, metadata={"axes": "ZYX", **sizes})


def predict(
    folder: Path, name: str = "out.ome.zarr", *, image: str = "v.ome.tif", wanted: WantedMaps = ALL_MAPS,
    computing: Computing = SMALL_TILES, device: str | None = "cpu", tta: bool = False, force: bool = False,
    slices: str | None = None, report: Callable[[ChunksDone], None] = lambda step: None, **reading: Any,
) -> Path:  # fmt: skip
    """Predict the image into `folder / name` and return that."""
    checkpoint = Checkpoint.load(folder / "model.pt")
    elsewhere = computing.workers is not None or computing.scheduler is not None
    network: Network
    if elsewhere:
        network = OnDisk(folder / "model.pt", checkpoint.digest, device, tta)
    else:
        network = InMemory(Predictor(checkpoint, device=device, tta=tta))
    found = open_for(checkpoint, folder / image, Reading(**reading))
    predict_to_files(
        network, checkpoint, found, targets_of(found, folder / name, wanted), wanted=wanted, slices=slices,
        computing=computing, device=device, force=force, report=report,
    )  # fmt: skip
    return folder / name


def content(path: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, by their names."""
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def array(path: Path, name: str) -> NDArray[Any]:
    """An array in a Zarr."""
    return np.asarray(zarr.open_array(store=str(path), path=name, mode="r")[...])
