"""Writes small run directories in the documented format, for the tests of the analysis."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import Sample, paired_bootstrap, rank_finalists, rung_correlation, seed_noise
from analysis.run_directory.paths import FORMAT_VERSION, FinalDirectory, RunDirectory
from analysis.statistics.comparison import compare

CLIPS = [f"clip-{number:03d}" for number in range(64)]
POINTS = (0.25, 0.5, 1.0, 2.0, 3.0)
RUNGS = (0.5, 1.0, 3.0)
# id -> state, learning rate, mask ratio, predictor depth, predictor dim, deepest point, loss at the third epoch
TRIALS: dict[str, tuple[str, float, float, int, int, float, float | None]] = {
    "T0": ("complete", 1.0e-4, 0.75, 4, 192, 3.0, 0.462),
    "T1": ("pruned", 3.1e-5, 0.60, 2, 96, 1.0, 0.60),
    "T2": ("complete", 3.3e-4, 0.80, 6, 192, 3.0, 0.421),
    "T3": ("diverged", 8.0e-3, 0.90, 6, 384, 0.5, None),
    "T4": ("complete", 5.0e-4, 0.72, 3, 384, 3.0, 0.423),
    "T5": ("pruned", 6.0e-5, 0.85, 2, 192, 1.0, 0.56),
    "T6": ("failed", 2.0e-4, 0.65, 2, 96, 0.0, None),
    "T7": ("pruned", 1.5e-3, 0.88, 5, 96, 1.0, 0.53),
    "T10": ("pruned", 9.0e-4, 0.62, 4, 384, 1.0, 0.50),
    "T11": ("pruned", 2.0e-3, 0.78, 3, 192, 1.0, 0.57),
}
# id -> whose configuration it has, with another seed
REPLICATES = {"T12": "T2", "T13": "T4"}
TRIALS_BUT_REPLICATES = tuple(TRIALS)
TRIALS |= {name: (*TRIALS[original][:6], (TRIALS[original][6] or 0) + 0.006) for name, original in REPLICATES.items()}


def report(trial: str, point: float, val_loss: float | None, **changes: Any) -> dict[str, Any]:
    """One line of `reports.jsonl`."""
    probed = float(point).is_integer() and val_loss is not None
    _, _, _, depth, dim, *_ = TRIALS.get(trial, TRIALS["T2"])
    fields = {
        "trial": trial,
        "resource": point,
        "epoch": point,
        "step": round(24 * point),
        "tflop": point * (2 + depth * dim / 500),
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
        "training_seconds": 4.0 * point,
        "step_seconds": (1 + depth * dim / 1000) / 6,
        "peak_rss_gb": 1.1,
        "student_parameters": 1_200_000,
        "predictor_parameters": 1000 * depth * dim,
        "time": "2026-12-01T10:00:00+00:00",
    }
    probe = {"probe_top1": 0.3 + 0.02 * point, "effective_rank": 9.0 + point} if probed else {}
    return {**fields, **probe, **changes}


METRICS = {
    **{
        name: {"goal": "min" if "loss" in name else "max", "label": name.replace("_", " "), "fields": [name]}
        for name in ("val_loss", "val_loss_se", "val_r2", "probe_top1", "effective_rank")
    },
    "parameters": {"goal": "min", "label": "parameters", "fields": ["student_parameters", "predictor_parameters"]},
    "step_seconds": {"goal": "min", "label": "seconds a step", "fields": ["step_seconds"]},
}


def summary(**changes: Any) -> dict[str, Any]:
    """A `summary.json` of the trials `TRIALS`, won by T2."""
    scored = (name for name in TRIALS_BUT_REPLICATES if TRIALS[name][6] is not None)
    ranked = sorted(scored, key=lambda name: str(TRIALS[name][6]))
    scores = {
        rung: {name: losses(name, rung).mean() for name in TRIALS_BUT_REPLICATES if judged(name, rung)}
        for rung in RUNGS
    }
    seeds = finalist_scores()
    noise = seed_noise(seeds)
    assert noise is not None
    return {
        "format_version": FORMAT_VERSION,
        "name": "demo-1",
        "space": "demo",
        "task": "salt",
        "store": {"path": "/stores/demo", "view_hash": "abc"},
        "baselines": {"training_mean": 0.652, "position_mean": 0.61, "nearest_visible": 0.702},
        "panel_baselines": [],
        "seed": 0,
        "objective": {"metric": "val_loss", "mode": "min", "weights": {"val_loss": 1.0}, "against": None},
        "metrics": METRICS,
        "parameters": ["lr", "mask_ratio", "predictor_depth", "predictor_dim"],
        "scales": {"lr": "log", "mask_ratio": "linear", "predictor_depth": "linear", "predictor_dim": "category"},
        "ranges": {
            "lr": {"low": 1e-5, "high": 1e-2},
            "mask_ratio": {"low": 0.5, "high": 0.9},
            "predictor_depth": {"low": 2, "high": 6},
            "predictor_dim": {"values": [96, 192, 384]},
        },
        "resource": "epoch",
        "full": 3.0,
        "rungs": list(RUNGS),
        "trials": [_trial(name, ranked) for name in reversed(TRIALS)],
        "best": "T2",
        "tied": ["T2", "T4"],
        "recommended": "T2",
        "nothing_to_promote": False,
        "better_than_start": None,
        "rounds": [{"request": 0, "seeds": {"T2": 2, "T4": 2}, "reason": "the best so far"}],
        "level": 0.05,
        "finalists": [asdict(finalist) for finalist in rank_finalists(seeds)],
        "rung_correlations": [asdict(found) for found in rung_correlation(scores)],
        "seed_noise": {**asdict(noise), "rung": 3.0},
        "pareto": None,
        "resource_trained": 20.5,
        "resource_without_pruning": 36.0,
        "training_seconds": 82.0,
        "wall_seconds": 99.0,
        **changes,
    }


def finalist_scores() -> dict[str, list[float]]:
    """The scores of the seeds of each configuration that trained to the end."""
    seeds = {name: [float(losses(name, 3.0).mean())] for name in ("T0", "T2", "T4")}
    for name, original in REPLICATES.items():
        seeds[original].append(float(losses(name, 3.0).mean()))
    return seeds


def judged(trial: str, point: float) -> bool:
    """Whether a trial has losses there."""
    return point <= TRIALS[trial][5] and TRIALS[trial][6] is not None


def losses(trial: str, point: float) -> "pd.Series[float]":
    """The loss of each clip: the same clips are hard for every trial, so that pairs differ by little."""
    hard = np.random.default_rng(0).gamma(9.0, 1 / 9.0, len(CLIPS))
    random = np.random.default_rng([ord(letter) for letter in trial])
    own = random.normal(0, 0.02, len(CLIPS))
    early = 0.35 * math.exp(-point) + random.normal(0, 0.2) * (math.exp(-2 * point) - math.exp(-6))
    mean = (TRIALS[trial][6] or 3.0) * (1 + early) / (1 + 0.35 * math.exp(-3))
    return pd.Series((mean * hard / hard.mean() + own - own.mean()).astype("float32"), CLIPS, name="loss")


def by_clip(trial: str, point: float) -> dict[str, float]:
    """The same as `losses`, in a dictionary."""
    return {str(clip): float(loss) for clip, loss in losses(trial, point).items()}


def write_run(path: Path, promoted: bool = True, **changes: Any) -> RunDirectory:
    """Writes a whole run directory of the trials `TRIALS` to `path`, with `changes` of its summary."""
    run = RunDirectory(path)
    reports = [_report(name, point) for name in TRIALS for point in POINTS if point <= TRIALS[name][5]]
    for name, point in ((line["trial"], line["resource"]) for line in reports if line["val_loss"] is not None):
        write_losses(run, name, point)
    write_lines(run.reports, reports)
    run.summary.write_text(json.dumps(summary(**changes)))
    if promoted:
        write_final(run)
    return run


def write_final(run: RunDirectory, *, finished: bool = True, **promised: Any) -> FinalDirectory:
    """Writes a promoted run of T2 that goes on from its third epoch to the tenth; `promised` are of promotion.json."""
    final = run.final("T2", 10)
    kept = [line for line in map(json.loads, run.reports.read_text().splitlines()) if line["trial"] == "T2"]
    own = [report("T2", epoch, 0.45 - 0.01 * epoch) for epoch in range(4, 11 if finished else 7)]
    write_lines(final.reports, [_without(line, "resource") for line in (*kept, *own)])
    told = {
        "trial": "T2",
        "epochs": 10.0,
        "beginning": "from epoch 3, where the search left it",
        "begun_at_epoch": 3.0,
        "trunk_epochs": 8.0,
        "predicted": {"loss": 0.36, "low": 0.34, "high": 0.38},
        **promised,
    }
    final.promotion.write_text(json.dumps(told))
    if finished:
        final.evaluation.write_text(json.dumps(evaluation()))
        final.card.write_text("# T2-10epochs")
    return final


def evaluation(**rows: float) -> dict[str, Any]:
    """An `evaluation.json`: the attentive accuracy of each row, of the model and some others unless given."""
    accuracies = rows or {"model": 0.55, "trial": 0.45, "untrained": 0.30, "teacher": 0.40, "chance": 0.125}
    fields = {
        name: {f"attentive_top1{end}": value + by for end, by in (("", 0.0), ("_low", -0.05), ("_high", 0.05))}
        for name, value in accuracies.items()
    }
    better = {"metrics": ["attentive_top1"], "mean": 0.25, "low": 0.15, "high": 0.35}
    return {
        "columns": ["attentive_top1"],
        "rows": fields,
        "left_out": {"speed_top1": "clips have one time slot"},
        "notes": {},
        "against": None,
        "differences": {"untrained": {"attentive_top1": better}},
        "verdict": {"untrained": better},
    }


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {field: value for field, value in fields.items() if field != name}


def write_losses(run: RunDirectory, trial: str, point: float, labels: Sequence[str] = ()) -> None:
    """Writes the file of clip losses of one report; the clips show `labels` in turn, where there are any."""
    file = run.clip_losses(trial, point)
    file.parent.mkdir(parents=True, exist_ok=True)
    table = losses(trial, point).rename_axis("clip").reset_index()
    if labels:
        table.insert(1, "label", [labels[number % len(labels)] for number in range(len(table))])
    table.to_parquet(file)


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Writes `lines` as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _report(trial: str, point: float) -> dict[str, Any]:
    if TRIALS[trial][6] is None:
        return report(trial, point, None if point >= TRIALS[trial][5] else 3.0)
    return report(trial, point, float(losses(trial, point).mean()))


def _trial(name: str, ranked: list[str]) -> dict[str, Any]:
    state, lr, mask_ratio, depth, dim, point, loss = TRIALS[name]
    value = None if loss is None else float(losses(name, point).mean())
    searched = {"lr": lr, "mask_ratio": mask_ratio, "predictor_depth": depth, "predictor_dim": dim}
    last = report(name, point, value)
    return {
        "id": name,
        "state": state,
        "config": {**searched, "batch_size": 32, "betas": [0.9, 0.95]},
        "parameters": searched,
        "seed": int(name in REPLICATES),
        "replicate_of": REPLICATES.get(name),
        "origin": "replicate" if name in REPLICATES else "random",
        "verdict": None,
        "step": last["step"],
        "clipped_share": last["clipped_share"],
        "score": value,
        "resource": point,
        "epochs": point,
        **{field: last.get(field) for field in ("tflop", "val_loss", "val_loss_se", "val_r2", "step_seconds")},
        "probe_top1": None if value is None else 0.3,
        "effective_rank": None if value is None else 12.1,
        "rank": ranked.index(name) + 1 if name in ranked else None,
        "student_parameters": last["student_parameters"],
        "predictor_parameters": last["predictor_parameters"],
        "training_seconds": last["training_seconds"],
        "error": "OutOfDisk: no space left" if state == "failed" else None,
        "against_winner": _against_winner(name),
    }


def _against_winner(name: str) -> dict[str, Any] | None:
    common = [rung for rung in RUNGS if judged(name, rung)]
    if name == "T2" or name in REPLICATES or not common:
        return None
    if common[-1] < RUNGS[-1]:
        found = paired_bootstrap(by_clip(name, common[-1]), by_clip("T2", common[-1]), resamples=1000)
        early = {"clip_error": found.standard_error, "seed_error": None, "conclusion": "compared at an earlier rung"}
        ends = {"standard_error": found.standard_error, "low": found.low, "high": found.high}
        return {"rung": common[-1], "difference": found.mean, **ends, **early}
    seeds = finalist_scores()
    own, best = (Sample(seeds[each], by_clip(each, common[-1])) for each in (name, "T2"))
    compared = compare(own, best, seed_noise(seeds), configurations=3)
    assert compared is not None
    return {"rung": common[-1], **asdict(compared)}
