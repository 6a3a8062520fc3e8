"""Trials of an earlier search, as far as they say something about this one."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.space.sampling import fits
from salt_tune.space.schedule import SAME_POINT
from salt_tune.space.search_space import SearchSpace
from salt_tune.space.space_file import reload_space
from trainable.config import FIELD_NAMES
from trainable.errors import UserError

MUST_BE_THE_SAME = ("view_hash", "teacher_sha256", "train_clips", "val_clips")  # of a store
MAY_DIFFER = ("epochs", "seed")  # of a configuration; how long trials train is compared otherwise


@dataclass(frozen=True)
class EarlierTrial:
    """A trial of another run.

    Attributes:
        parameters: values of this search's parameters.
        scores: the objective at the rungs of this search where it was reported, lower is better; finite ones only.
        state: "finished", "pruned", "diverged", "out_of_memory", "failed"; "paused" where it had not ended.
    """

    parameters: dict[str, Any]
    scores: dict[float, float]
    state: str


@dataclass(frozen=True)
class Earlier:
    """What another run has to say.

    Attributes:
        trials: those that this search could have made itself.
        left_out: how many there are besides, by the reason.
    """

    trials: list[EarlierTrial]
    left_out: dict[str, int]


def earlier_trials(run_dir: Path, store_facts: dict[str, Any], space: SearchSpace) -> Earlier:
    """Reads the trials of another run, which may still be going on; its replicates are passed over.

    Args:
        run_dir: its directory.
        store_facts: what run.json will say of the store of this search.
        space: what this search varies.

    Raises:
        UserError: no run, or one whose scores mean something else: another store, teacher, objective, evaluation or
            length of a trial.
    """
    check_comparable(run_dir, space, store_facts)
    run = RunDirectory(run_dir)
    trials: list[EarlierTrial] = []
    left_out: Counter[str] = Counter()
    for trial in _read_trials(run.decisions, space.schedule.full):
        scores = _at_rungs(trial.scores, space)
        parameters, complaint = _parameters(trial.hyperparameters, space)
        if not complaint and not scores and trial.state not in ("diverged", "out_of_memory", "failed"):
            complaint = "no score at a rung of this search"
        if complaint:
            left_out[complaint] += 1
        else:
            trials.append(EarlierTrial(parameters, scores, trial.state))
    return Earlier(trials, dict(left_out))


def check_comparable(run_dir: Path, space: SearchSpace, store_facts: dict[str, Any] | None = None) -> None:
    """Refuses a run whose scores mean something else; see `earlier_trials`.

    Args:
        run_dir: its directory.
        space: what this search varies.
        store_facts: of the store of this search; None: not known yet.
    """
    run = RunDirectory(run_dir)
    of_store = read_manifest(run)["store"]
    there = _meaning(of_store, reload_space(run.space))
    for name, here in _meaning(store_facts or of_store, space).items():
        if there[name] != here:
            raise UserError(
                f"{run.path}: its scores cannot be compared with this search's: "
                f"{name} = {there[name]!r} there, and {here!r} here"
            )


def _meaning(store_facts: dict[str, Any], space: SearchSpace) -> dict[str, Any]:
    """What the scores of a search depend on, beside the configurations."""
    evaluation = {f"evaluation.{name}": value for name, value in space.evaluation.model_dump().items()}
    return {
        **{f"store.{name}": store_facts.get(name) for name in MUST_BE_THE_SAME},
        "objective": space.objective.plain(),
        **evaluation,
        "resource": space.schedule.resource,
        "full trial": space.schedule.full,
    }


@dataclass
class _Trial:
    hyperparameters: dict[str, Any]
    scores: dict[float, float] = field(default_factory=dict)
    state: str = "paused"


def _read_trials(path: Path, full: float) -> list[_Trial]:
    """The trials of a journal. Unlike `Journal.read`, it leaves a last line alone that is being written."""
    if not path.exists():
        return []
    trials: dict[str, _Trial] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            name = entry.get("trial")
            if entry["event"] == "start" and entry.get("replicate_of") is None:
                trials[name] = _Trial(entry["hyperparameters"])
            elif name in trials:
                _take(trials[name], entry, full)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: line {number} is damaged ({type(error).__name__}: {error})") from error
    return [*trials.values()]


def _take(trial: _Trial, entry: dict[str, Any], full: float) -> None:
    """What an entry of the journal says of a trial."""
    match entry["event"]:
        case "result":
            status = entry.get("status", "running")
            if status == "running":
                status = "finished" if entry["resource"] >= full else "paused"
            if entry["score"] is not None:
                trial.scores[entry["resource"]] = entry["score"]
            elif status in ("finished", "paused"):
                status = "failed"
            trial.state = status
        case "end":
            trial.state = entry["state"]
        case "drop":
            trial.state = "pruned"


def _at_rungs(scores: dict[float, float], space: SearchSpace) -> dict[float, float]:
    near = SAME_POINT * space.schedule.full
    return {
        rung: score
        for rung in space.schedule.rung_points()
        for point, score in scores.items()
        if abs(point - rung) <= near
    }


def _parameters(hyperparameters: dict[str, Any], space: SearchSpace) -> tuple[dict[str, Any], str | None]:
    """The values of what `space` varies, and why the configuration is none of its own, where it is not."""
    values = space.conditions.fill({}, hyperparameters.get)
    for name, value in values.items():
        if not fits(space.parameters[name].distribution(), value):
            return values, f"{name} is not in its range"
    for name in FIELD_NAMES:
        if name not in values and name not in MAY_DIFFER and hyperparameters.get(name) != space.constant(name):
            return values, f"{name} has another value, and is not searched"
    return values, None
