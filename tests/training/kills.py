"""Trainings that are killed at random moments of a stage, and resumed: do they end as if nothing had happened?

    PYTHONPATH=tests python -m training.kills [--kills 25] [--seed 0]

Each training is a forked process, so that it begins at once, and ends by SIGKILL, SIGTERM or Ctrl-C; one in three is
killed once more while it is resumed. The last line is `N of N`, and one line for each that differs comes before.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import torch

from eseg_zoo.checkpoint import Checkpoint
from eseg_zoo.config import Run
from eseg_zoo.errors import EsegError
from eseg_zoo.training.run import train_run
from training.interruptions import rows_but_times
from training.runs import run_in, write_inputs

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STAGES = ("supervised", "semi_supervised")


def run_of(folder: Path, out: str) -> Run:
    return run_in(
        folder,
        network={"filters": [6, 8], "latents": 3},
        training={"steps": 12, "epoch_steps": 3, "batch_size": 4, "accelerator": "cpu", "learning_rate": 0.005},
        semi_supervised={"steps": 12, "labelled": 4, "unlabelled": 2, "cells": 2},
        out=out,
    )


def begin(run: Run, *, resume: bool) -> int:
    """Train in a process of its own; return its number. It ends with 0 when the training did."""
    number = os.fork()
    if number:
        return number
    code = 1
    log = os.open(run.out.with_name("log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        train_run(run, resume=resume)
        code = 0
    except EsegError as error:
        print(error, flush=True)  # noqa: T201
    finally:
        os._exit(code)


def wait_for(path: Path, number: int) -> bool:
    """Wait until the file is there; return whether the process still runs."""
    while not path.exists():
        if os.waitpid(number, os.WNOHANG)[0]:
            return False
        time.sleep(0.001)
    return True


def kill(run: Run, stage: str, seconds: float, which: signal.Signals, *, resume: bool) -> None:
    """Begin a training and end it so many seconds after a stage began; one that is over before is let be."""
    number = begin(run, resume=resume)
    if stage == STAGES[0] or wait_for(run.out / stage, number):
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            os.kill(number, which)
        with suppress(ChildProcessError):
            os.waitpid(number, 0)


def durations(run: Run) -> dict[str, float]:
    """Train to the end; return the seconds of each stage, with what comes before it, and of the second after it."""
    began = time.perf_counter()
    number = begin(run, resume=False)
    wait_for(run.out / STAGES[1], number)
    middle = time.perf_counter()
    assert os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) == 0, "the training itself fails"
    return {STAGES[0]: middle - began, STAGES[1]: time.perf_counter() - middle}


def differences(found: Path, expected: Path) -> list[str]:
    """Return what two finished trainings differ in."""
    one, other = (Checkpoint.load(out / "model.pt") for out in (found, expected))
    lines = [key for key, value in other.segmenter_state.items() if not torch.equal(one.segmenter_state[key], value)]
    if one.training.validation != other.training.validation or one.training.steps != other.training.steps:
        lines.append("figures")
    if rows_but_times(found) != rows_but_times(expected):
        lines.append("log")
    for stage in STAGES:
        ends = [torch.load(out / stage / "last.ckpt", weights_only=True) for out in (found, expected)]
        ours, theirs = (end["state_dict"] for end in ends)
        lines += [f"{stage} {key}" for key, value in theirs.items() if not torch.equal(ours[key], value)]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="in each stage")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng, good, without_checkpoint = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        whole = run_of(folder, "whole")
        length = durations(whole)
        for stage in STAGES:
            for number in range(options.kills):
                run = run_of(folder, "killed")
                shutil.rmtree(run.out, ignore_errors=True)
                which = rng.choice(SIGNALS)
                kill(run, stage, rng.uniform(0, length[stage]), which, resume=False)
                without_checkpoint += not list(run.out.glob("*/last.ckpt"))
                if rng.random() < 1 / 3:
                    kill(run, STAGES[0], rng.uniform(0, length[stage]), rng.choice(SIGNALS), resume=True)
                code = os.waitstatus_to_exitcode(os.waitpid(begin(run, resume=True), 0)[1])
                bad = differences(run.out, whole.out) if code == 0 else [(folder / "log.txt").read_text()[-300:]]
                good += not bad
                if bad:
                    print(f"{stage} {number} {which.name}: {bad}", flush=True)  # noqa: T201
        total = options.kills * len(STAGES)
        print(f"{without_checkpoint} before the first checkpoint")  # noqa: T201
        print(f"{good} of {total}")  # noqa: T201
    return int(good < total)


if __name__ == "__main__":
    sys.exit(main())
