"""Writes small run directories in the documented format, for the tests of the analysis."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from salt_tune.run import FORMAT_VERSION, RunDirectory

CLIPS = [f"clip-{number:03d}" for number in range(64)]
EPOCHS = (0.25, 0.5, 1.0, 2.0, 3.0)
# id -> state, learning rate, mask ratio, predictor depth, predictor dim, deepest epoch, loss at the third epoch
TRIALS: dict[str, tuple[str, float, float, int, int, float, float | None]] = {
    "T0": ("finished", 1.0e-4, 0.75, 4, 192, 3.0, 0.462),
    "T1": ("pruned", 3.1e-5, 0.60, 2, 96, 1.0, 0.60),
    "T2": ("finished", 3.3e-4, 0.80, 6, 192, 3.0, 0.421),
    "T3": ("diverged", 8.0e-3, 0.90, 6, 384, 0.5, None),
    "T4": ("finished", 5.0e-4, 0.72, 3, 384, 3.0, 0.423),
    "T5": ("pruned", 6.0e-5, 0.85, 2, 192, 1.0, 0.56),
    "T6": ("failed", 2.0e-4, 0.65, 2, 96, 0.0, None),
    "T7": ("pruned", 1.5e-3, 0.88, 5, 96, 1.0, 0.53),
    "T10": ("pruned", 9.0e-4, 0.62, 4, 384, 1.0, 0.50),
    "T11": ("pruned", 2.0e-3, 0.78, 3, 192, 1.0, 0.57),
}


def report(trial: str, epoch: float, val_loss: float | None, **changes: Any) -> dict[str, Any]:
    """One line of `reports.jsonl`."""
    whole = float(epoch).is_integer() and val_loss is not None
    fields = {
        "trial": trial,
        "epoch": epoch,
        "step": round(24 * epoch),
        "status": "running" if val_loss is not None else "diverged",
        "val_loss": val_loss,
        "val_loss_se": 0.012 if val_loss is not None else None,
        "val_r2": 1 - val_loss / 0.652 if val_loss is not None else None,
        "train_loss": 0.5,
        "lr": 3e-4,
        "weight_decay": 0.04,
        "grad_norm": 0.3,
        "clipped_share": 0.1,
        "clips_per_second": 210.0,
        "waiting_share": 0.05,
        "computing_share": 0.8,
        "evaluating_share": 0.15,
        "training_seconds": 4.0 * epoch,
        "peak_rss_gb": 1.1,
        "time": "2026-12-01T10:00:00+00:00",
    }
    probe = {"probe_top1": 0.3 + 0.02 * epoch, "effective_rank": 9.0 + epoch} if whole else {}
    return {**fields, **probe, **changes}


def summary(**changes: Any) -> dict[str, Any]:
    """A `summary.json` of the trials `TRIALS`, won by T2."""
    ranked = sorted((name for name in TRIALS if TRIALS[name][6] is not None), key=lambda name: str(TRIALS[name][6]))
    return {
        "format_version": FORMAT_VERSION,
        "name": "demo-1",
        "space": "demo",
        "store": {"path": "/stores/demo", "view_hash": "abc"},
        "references": {"training_mean": 0.652, "position_mean": 0.61, "nearest_visible": 0.702},
        "seed": 0,
        "objective": {"metric": "val_loss", "mode": "min"},
        "parameters": ["lr", "mask_ratio", "predictor_depth", "predictor_dim"],
        "scales": {"lr": "log", "mask_ratio": "linear", "predictor_depth": "linear", "predictor_dim": "category"},
        "epochs": 3,
        "rungs": [1.0, 3.0],
        "trials": [_trial(name, ranked) for name in reversed(TRIALS)],
        "best": "T2",
        "epochs_trained": 14.5,
        "epochs_without_pruning": 30.0,
        "training_seconds": 58.0,
        "wall_seconds": 75.0,
        **changes,
    }


def losses(trial: str, epoch: float) -> "pd.Series[float]":
    """The loss of each clip: the same clips are hard for every trial, so that pairs differ by little."""
    hard = np.random.default_rng(0).gamma(9.0, 1 / 9.0, len(CLIPS))
    own = np.random.default_rng([ord(letter) for letter in trial]).normal(0, 0.02, len(CLIPS))
    mean = (TRIALS[trial][6] or 3.0) * (1 + 0.35 * math.exp(-epoch)) / (1 + 0.35 * math.exp(-3))
    return pd.Series((mean * hard / hard.mean() + own - own.mean()).astype("float32"), CLIPS, name="loss")


def write_run(path: Path, promoted: bool = True) -> RunDirectory:
    """Writes a whole run directory of the trials `TRIALS` to `path`."""
    run = RunDirectory(path)
    reports = [_report(name, epoch) for name in TRIALS for epoch in EPOCHS if epoch <= TRIALS[name][5]]
    for name, epoch in ((line["trial"], line["epoch"]) for line in reports if line["val_loss"] is not None):
        write_losses(run, name, epoch)
    write_lines(run.reports, reports)
    run.summary.write_text(json.dumps(summary()))
    if promoted:
        write_lines(run.final("T2", 10).reports, [report("T2", epoch, 0.45 - 0.01 * epoch) for epoch in range(1, 11)])
    return run


def write_losses(run: RunDirectory, trial: str, epoch: float) -> None:
    """Writes the file of clip losses of one report."""
    file = run.clip_losses(trial, epoch)
    file.parent.mkdir(parents=True, exist_ok=True)
    losses(trial, epoch).rename_axis("clip").reset_index().to_parquet(file)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Writes `lines` as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _report(trial: str, epoch: float) -> dict[str, Any]:
    if TRIALS[trial][6] is None:
        return report(trial, epoch, None if epoch >= TRIALS[trial][5] else 3.0)
    return report(trial, epoch, float(losses(trial, epoch).mean()))


def _trial(name: str, ranked: list[str]) -> dict[str, Any]:
    state, lr, mask_ratio, depth, dim, epochs, loss = TRIALS[name]
    value = None if loss is None else float(losses(name, epochs).mean())
    searched = {"lr": lr, "mask_ratio": mask_ratio, "predictor_depth": depth, "predictor_dim": dim}
    return {
        "id": name,
        "state": state,
        "config": {**searched, "batch_size": 32, "betas": [0.9, 0.95]},
        "parameters": searched,
        "epochs": epochs,
        "val_loss": value,
        "val_r2": None if value is None else 1 - value / 0.652,
        "probe_top1": None if value is None else 0.3,
        "effective_rank": None if value is None else 12.1,
        "rank": ranked.index(name) + 1 if name in ranked else None,
        "student_parameters": 1_200_000,
        "predictor_parameters": 1000 * depth * dim,
        "training_seconds": 4.0 * epochs,
        "error": "OutOfDisk: no space left" if state == "failed" else None,
    }
