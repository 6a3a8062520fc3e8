"""Writes what run directories keep of training steps and of time slots, for the tests of the analysis."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from analysis.run_directory.paths import RunDirectory

WINDOWS = 400  # of each trial
SPIKE = 200  # the window in which the loss is far off
LATER = 1.1  # times the loss of the first time slot is that of the second


def write_steps(run: RunDirectory, trials: Iterable[str]) -> None:
    """Writes the same 400 windows of three steps for each trial, over four epochs, with a spike of the loss."""
    run.steps_root.mkdir()
    window = np.arange(1, WINDOWS + 1)
    loss = 0.4 + 1 / (10 + window)
    loss[SPIKE] = 1e6
    table = {"step": 3 * window, "steps": 3, "epoch": window / 100, "train_loss": loss,
             "grad_norm": 1 + 0.1 * np.sin(window), "clipped_share": 0.25, "lr": 1e-3}  # fmt: skip
    frame = pd.DataFrame(table)
    for trial in trials:
        frame.to_parquet(run.steps(trial))


def write_time_slots(run: RunDirectory, trials: Iterable[str], points: Iterable[float]) -> None:
    """Writes the losses of two time slots into the files of clip losses that are there."""
    for file in (run.clip_losses(trial, point) for trial in trials for point in points):
        if file.exists():
            losses = pd.read_parquet(file)
            losses["time_slot_losses"] = [[loss, LATER * loss] for loss in losses["loss"]]
            losses.to_parquet(file)
