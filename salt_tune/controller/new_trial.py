"""A trial of a space, from the values that a searcher suggests; and what it costs."""

from collections.abc import Mapping
from typing import Any

from analysis.run_directory.events import TrialAdded
from analysis.run_directory.trials import START, Trial
from salt_tune.space.search_space import SearchSpace
from trainable.metrics import fields_of


def new_trial(
    space: SearchSpace, name: str, parameters: Mapping[str, Any], seed: int, *, from_start: bool = False
) -> TrialAdded:
    """Returns a trial of `space` with these values of what is searched; `from_start`: the space itself names them.

    Its configuration may not fit: then its worker says so, and it fails.
    """
    config = space.hyperparameters(parameters, seed)
    active = space.conditions.active(parameters)
    named = {name: config[name] for name in space.searched() if name in active or name not in space.parameters}
    return TrialAdded(name, named, config, seed, START if from_start else space.searcher)


def cost_of(trial: Trial, space: SearchSpace) -> float | None:
    """Returns the second objective, where there is one: lower is better."""
    if space.against is None:
        return None
    return float(sum(trial.metrics[field] for field in fields_of(space.against, space.task.metrics)))
