"""Trials of an earlier search, as far as they say something about this one."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.run_directory.journal import read_trials
from analysis.run_directory.paths import RunDirectory, read_manifest
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.space.sampling import fits
from salt_tune.space.schedule import SAME_POINT
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import reload_space
from salt_tune.ui.console import console
from trainable.errors import UserError
from trainable.worker import Dataset

MAY_DIFFER = ("epochs", "seed")  # of a configuration; how long trials train is compared otherwise


@dataclass(frozen=True)
class Earlier:
    """What another run has to say.

    Attributes:
        trials: those that this search could have made itself.
        left_out: how many there are besides, by the reason.
    """

    trials: list[Trial]
    left_out: dict[str, int]


def earlier_trials(run_dir: Path, facts: dict[str, Any], space: SearchSpace) -> Earlier:
    """Reads the trials of another run, which may still be going on; its replicates are passed over.

    Args:
        run_dir: its directory.
        facts: what run.json will say of the store of this search.
        space: what this search varies.

    Raises:
        UserError: no run, or one whose scores mean something else: another store, teacher, objective, evaluation or
            length of a trial.
    """
    check_comparable(run_dir, space, facts)
    trials: list[Trial] = []
    left_out: Counter[str] = Counter()
    for trial in read_trials(RunDirectory(run_dir), live=True).values():
        if trial.replicate_of is not None:
            continue
        scores = _at_rungs(trial.scores, space)
        parameters, complaint = _parameters(trial.config, space)
        if not complaint and not scores and not trial.state.lost:
            complaint = "no score at a rung of this search"
        if complaint:
            left_out[complaint] += 1
        else:
            if trial.collapsed:  # a low loss is no reason to search there
                scores = dict.fromkeys(scores, math.inf)
            trials.append(replace(trial, parameters=parameters, scores=scores, metrics={}))
    return Earlier(trials, dict(left_out))


def check_comparable(run_dir: Path, space: SearchSpace, facts: dict[str, Any] | None = None) -> None:
    """Refuses a run with scores that mean something else; see `earlier_trials`.

    Args:
        run_dir: its directory.
        space: what this search varies.
        facts: of the store of this search; None: not known yet.
    """
    run = RunDirectory(run_dir)
    of_store = read_manifest(run)["store"]
    there = _meaning(of_store, reload_space(run.space))
    for name, here in _meaning(facts or of_store, space).items():
        if there[name] != here:
            raise UserError(
                f"{run.path}: its scores cannot be compared with this search's: "
                f"{name} = {there[name]!r} there, and {here!r} here"
            )


def _meaning(facts: dict[str, Any], space: SearchSpace) -> dict[str, Any]:
    """Returns what the scores of a search depend on, beside the configurations."""
    evaluation = {f"evaluation.{name}": value for name, value in space.evaluation.items()}
    return {
        "task": space.task.name,
        **{f"store.{name}": facts.get(name) for name in space.task.same_data},
        "objective": space.objective.plain(),
        **evaluation,
        "resource": space.schedule.resource,
        "full trial": space.schedule.full,
    }


def _at_rungs(scores: dict[float, float], space: SearchSpace) -> dict[float, float]:
    """Returns the scores at the rungs of this search; an infinite one counts as it does in a search of its own."""
    near = SAME_POINT * space.schedule.full
    return {
        rung: score
        for rung in space.schedule.rung_points()
        for point, score in scores.items()
        if abs(point - rung) <= near
    }


def _parameters(hyperparameters: dict[str, Any], space: SearchSpace) -> tuple[dict[str, Any], str | None]:
    """Returns the values of what `space` varies, and why the configuration is none of its own, where it is not."""
    values = space.conditions.fill({}, hyperparameters.get)
    for name, value in values.items():
        if not fits(space.parameters[name].distribution(), value):
            return values, f"{name} is not in its range"
    for name in space.task.defaults:
        if name not in values and name not in MAY_DIFFER and hyperparameters.get(name) != space.constant(name):
            return values, f"{name} has another value, and is not searched"
    return values, None


def comparable_runs(runs: tuple[Path, ...], space: SearchSpace) -> None:
    """Refuses runs that this search cannot learn from, as far as that is known before there is a store."""
    for path in runs:
        check_comparable(path, space)


def warm_trials(runs: tuple[Path, ...], space: SearchSpace, data: Dataset) -> list[Trial]:
    """Returns the trials of earlier runs that this search may learn from, and a line on the console for each run."""
    trials = []
    for path in runs:
        earlier = earlier_trials(path, data.facts(), space)
        trials += earlier.trials
        left_out = "".join(f"; {count} left out: {why}" for why, count in earlier.left_out.items())
        console.print(f"{path}: suggestions learn from {len(earlier.trials)} of its trials{left_out}")
    return trials


def remember_trial(trial: Trial) -> dict[str, Any]:
    """Returns what run.json keeps of an earlier trial, so that a resumed search learns the same."""
    scores = {str(rung): score if math.isfinite(score) else None for rung, score in trial.scores.items()}
    return {
        "id": trial.id,
        "parameters": trial.parameters,
        "config": trial.config,
        "seed": trial.seed,
        "state": trial.state,
        "scores": scores,
    }


def remembered_trials(manifest: Mapping[str, Any]) -> list[Trial]:
    """Returns the earlier trials that run.json keeps; see `remember_trial`."""
    return [
        Trial(
            entry["id"],
            entry["parameters"],
            entry["config"],
            entry["seed"],
            state=TrialState(entry["state"]),
            scores={float(at): math.inf if score is None else score for at, score in entry["scores"].items()},
        )
        for entry in manifest["warm_start"]
    ]
