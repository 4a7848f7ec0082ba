"""The processes that train one network together (`training.devices`): which of them this one is.

Lightning starts the others by the same command line, so each reads the data and the settings itself. The first one
alone writes files and reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from eseg_zoo.config import TrainingSettings
from eseg_zoo.errors import ConfigError

# What Lightning sets for the processes that it starts.
_OF_LIGHTNING = {"LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def is_first() -> bool:
    """Return whether this is the process that writes files; known before the processes have met."""
    return int(rank_zero_only.rank) == 0  # type: ignore[attr-defined]


@contextmanager
def counted(settings: TrainingSettings) -> Iterator[None]:
    """Let a training of one process be the first one, whatever RANK or SLURM_PROCID around it say of another program.

    Lightning takes its number from them when it is imported.
    """
    before = rank_zero_only.rank  # type: ignore[attr-defined]
    try:
        if not settings.distributed:
            rank_zero_only.rank = 0  # type: ignore[attr-defined]
        yield
    finally:
        rank_zero_only.rank = before  # type: ignore[attr-defined]


def environment_of(settings: TrainingSettings) -> ClusterEnvironment:
    """Return who starts the processes: torchrun, SLURM's srun, or else Lightning."""
    if settings.distributed and TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if settings.distributed and _is_from_slurm():
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def require_environment(settings: TrainingSettings) -> None:
    """Raise `ConfigError` where the variables around the command are of another number of processes.

    It is to be called once: Lightning sets such variables itself.
    """
    if not settings.distributed:
        return
    devices = settings.devices
    if TorchElasticEnvironment.detect():
        _require_count("WORLD_SIZE", devices, f"torchrun --nproc-per-node={devices}")
    elif _is_from_slurm():
        for variable in ("SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"):
            _require_count(variable, devices, f"srun --ntasks={devices} --ntasks-per-node={devices}")
    else:
        strange = [name for name in ("RANK", "LOCAL_RANK") if name in os.environ]
        if strange and not os.environ.keys() >= _OF_LIGHTNING:
            raise ConfigError(
                f"training.devices is {devices}, but {' and '.join(strange)} is set around the command, as if somebody "
                "else started its processes; unset it"
            )


def _is_from_slurm() -> bool:
    """Say whether SLURM starts the processes; a shell that it gave starts them by itself."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def _require_count(variable: str, devices: int, command: str) -> None:
    """Raise `ConfigError` where a variable of who starts the processes does not say how many there are to be."""
    found = os.environ.get(variable)
    if found is None or not found.isdigit() or int(found) != devices:
        raise ConfigError(
            f"training.devices is {devices}, but {variable} is {found or 'not set'}: start the command with {command}"
            + (", or unset SLURM_NTASKS" if variable.startswith("SLURM") else "")
        )
