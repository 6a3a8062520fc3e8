"""Trials that never ran, with their reports, and the clip losses that they would have left."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.run_directory.events import ResultReported, TrialAdded, Trials
from analysis.run_directory.paths import FinalDirectory, RunDirectory
from analysis.run_directory.reports import plain_report
from analysis.run_directory.trials import Trial, TrialState, ends_lost
from salt_tune.space.search_space import SearchSpace
from trainable.config import TrialConfig
from trainable.worker import FinalSpec

BASELINES = {"training_mean": 0.652, "position_mean": 0.61, "nearest_visible": 0.702}
CLIPS = 64
LR = {"type": "log_uniform", "low": 1e-5, "high": 1e-1}


def make_space(**entries: Any) -> SearchSpace:
    """A space over lr, with rungs at 0.5, 1 and 3 epochs."""
    schedule = {"epochs": 3, "rungs": [0.5, 1], "reports": 6}
    return SearchSpace.model_validate(
        {"name": "s", "parameters": {"lr": LR}, "trials": 9, "schedule": schedule, **entries}
    )


def make_report(point: float, val_loss: float | None, **changes: Any) -> dict[str, Any]:
    """A report, as far as trials and tables look at it."""
    known = val_loss is not None and math.isfinite(val_loss)
    return {
        "resource": point,
        "epoch": point,
        "tflop": 10 * point,
        "status": "running",
        "val_loss": val_loss,
        "val_loss_se": 0.01 if known else None,
        "val_r2": 1 - val_loss / 0.652 if known and val_loss is not None else None,
        "student_parameters": 1000,
        "predictor_parameters": 500,
        "step_seconds": 0.25,
        "training_seconds": 4 * point,
        "clips_per_second": 210.0,
        **changes,
    }


def add_trial(trials: Trials, name: str, space: SearchSpace, **fields: Any) -> Trial:
    """Adds a trial of `space` that has not run."""
    parameters = {"lr": 1e-3}
    given = {"parameters": parameters, "config": space.hyperparameters(parameters, 0), "seed": 0, **fields}
    trial = trials.apply(TrialAdded(name, **given))
    assert trial is not None
    return trial


def add_report(trials: Trials, name: str, report: dict[str, Any], space: SearchSpace) -> Trial:
    """Lets a trial report."""
    line, status = plain_report(name, report), report["status"]
    score = math.inf if ends_lost(status) else space.objective.score({**trials[name].metrics, **line})
    trials.apply(ResultReported(name, report["resource"], status, score, report=line))
    return trials[name]


def make_trial(
    name: str, *reports: dict[str, Any], space: SearchSpace, state: TrialState = TrialState.COMPLETE, **fields: Any
) -> Trial:
    """A trial after its reports."""
    trials = Trials()
    trial = add_trial(trials, name, space, **fields)
    for report in reports:
        add_report(trials, name, report, space)
    trial.state = state
    return trial


def write_losses(run: RunDirectory, trial: str, point: float, mean: float) -> None:
    """The losses of a trial on each clip: the same clips are hard for all, and a little is its own."""
    hard = np.random.default_rng(0).gamma(9.0, 1 / 9.0, CLIPS)
    own = np.random.default_rng([*trial.encode()]).normal(0, 0.02, CLIPS)
    losses = mean * hard / hard.mean() + own - own.mean()
    path = run.clip_losses(trial, point)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"clip": [f"clip-{number}" for number in range(CLIPS)], "loss": losses}), path)


def trained(
    run: RunDirectory,
    space: SearchSpace,
    name: str,
    losses: dict[float, float],
    state: TrialState = TrialState.COMPLETE,
    **more: Any,
) -> Trial:
    """A trial with these losses by point, in what it reported and in the files of its clips."""
    for point, loss in losses.items():
        write_losses(run, name, point, loss)
    reports = (make_report(point, loss) for point, loss in losses.items())
    return make_trial(name, *reports, space=space, state=state, **more)


def earlier(parameters: dict[str, Any], scores: dict[float, float], state: TrialState = TrialState.COMPLETE) -> Trial:
    """A trial of another search, as far as a searcher learns from it."""
    return Trial("E", parameters, {}, 0, state=state, scores=scores)


def final_spec(final: FinalDirectory, config: TrialConfig, run: str = "run") -> FinalSpec:
    """The final training of T0 of a run, with its results in the folder of `final`."""
    return FinalSpec(
        config.to_dict(), {}, 1, final.path, 1, {"run": run, "trial": "T0", "store": "store", "begun_at_epoch": 0.0}
    )
