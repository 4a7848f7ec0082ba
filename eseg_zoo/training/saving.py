"""The checkpoints of a stage: written whole, checked when they are read, and the last good one found.

`last.ckpt` is the end of the last epoch, `previous.ckpt` that of the one before, and `best.ckpt` has the best weights.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor

from eseg_zoo.errors import CheckpointError, OutputError
from eseg_zoo.training.durable import written_whole

log = logging.getLogger(__name__)

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"
_CHECKSUM = "eseg_zoo checksum"


class WholeCheckpoints(TorchCheckpointIO):
    """How Lightning writes and reads the checkpoints of a stage.

    Lightning's own way writes them elsewhere first and copies them where that is another disk. These are written beside
    their target; the last one becomes `previous.ckpt` when the next one is on the disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint with its checksum; raises `OutputError` where the disk does not take it."""
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            previous = target.with_name(PREVIOUS) if target.name == LAST else None
            with written_whole(target, previous=previous) as temporary:
                content = io.BytesIO()  # torch itself does not say why a file cannot be written
                torch.save({**checkpoint, _CHECKSUM: checksum(checkpoint)}, content)
                temporary.write_bytes(content.getbuffer())
        except OSError as error:
            raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return a checkpoint that was written here, without ever running code of it."""
        return read_stage(Path(path))


def read_stage(path: Path) -> dict[str, Any]:
    """Return a checkpoint of a stage; raises `CheckpointError` for any other or damaged file. No code in it is run."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip():  # torch does not compare the checksums
                raise CheckpointError(f"{path} is damaged: its content does not fit its checksums")
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.pop(_CHECKSUM, None) != checksum(content):
            raise CheckpointError(f"{path} is no checkpoint of a stage, or was altered")
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} is no checkpoint of a stage, or holds code, which is never run") from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read, or is cut") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise CheckpointError(f"{path} is empty, cut or no checkpoint") from error
    return content


def checksum(content: Any) -> str:
    """Return a digest of nested containers, tensors and plain values: names, order, types and every bit."""
    found = hashlib.sha256()
    _feed(found, content)
    return found.hexdigest()


def _feed(found: Any, content: Any) -> None:
    if isinstance(content, Tensor):
        found.update(f"tensor {content.dtype} {tuple(content.shape)};".encode())
        found.update(content.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(content, Mapping):
        found.update(f"mapping {len(content)};".encode())
        for key, value in content.items():
            found.update(f"{key!r};".encode())
            _feed(found, value)
    elif isinstance(content, (list, tuple)):
        found.update(f"list {len(content)};".encode())
        for value in content:
            _feed(found, value)
    else:
        found.update(f"{type(content).__name__} {content!r};".encode())


def weights_in(folder: Path, expected: Mapping[str, Tensor], *, validated: bool) -> dict[str, Tensor]:
    """Return the weights that a finished stage left: its best ones, or, where nothing was held out, its last ones.

    Raises `CheckpointError` where they are missing, damaged or not of this stage.
    """
    path = folder / (BEST if validated else LAST)
    weights: dict[str, Tensor] = _of_this_stage(path, expected)["state_dict"]
    return weights


def resumable(folder: Path, expected: Mapping[str, Tensor], *, validated: bool) -> Path | None:
    """Return the checkpoint that the stage in this folder goes on from; None where it has to start again.

    That is the last good one. A stage whose best weights are gone starts again: they cannot be had from the last ones.
    What is damaged is told.
    """
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            content = _of_this_stage(path, expected)
            if validated:
                _of_this_stage(folder / BEST, expected)
        except CheckpointError as error:
            log.warning("%s", error)
            continue
        if path.name == PREVIOUS:
            log.warning("%s goes on from %s, at step %d.", folder.name, path, content["global_step"])
        return path
    return None


def _of_this_stage(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return a checkpoint; raises `CheckpointError` where its tensors are not like those of the stage."""
    content = read_stage(path)
    state = content.get("state_dict")
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in expected.items()}
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CheckpointError(f"{path} holds no weights")
    if {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()} != shapes:
        raise CheckpointError(f"{path} is of another network or stage")
    if not all(isinstance(content.get(key), int) for key in ("epoch", "global_step")):
        raise CheckpointError(f"{path} does not say at which step it was written")
    return content
