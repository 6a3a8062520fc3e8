"""`Proposal`: a trial to be, and how values of what is searched become one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from salt_tune.space.search_space import SearchSpace


@dataclass(frozen=True)
class Proposal:
    """A trial to be.

    Attributes:
        id: its name in this run: T0, T1...
        parameters: values of the hyperparameters that are searched, without those that are not set in this trial.
        config: all its hyperparameters; where they do not fit, its worker will say so, and it fails.
        seed: of its weights, masks and data order.
        replicate_of: the trial whose configuration it repeats with another seed.
    """

    id: str
    parameters: dict[str, Any]
    config: dict[str, Any]
    seed: int
    replicate_of: str | None = None


def proposal(space: SearchSpace, trial_id: str, parameters: Mapping[str, Any], seed: int) -> Proposal:
    """A trial of `space` with these values of what is searched."""
    config = space.hyperparameters(parameters, seed)
    active = space.conditions.active(parameters)
    named = {name: config[name] for name in space.searched() if name in active or name not in space.parameters}
    return Proposal(trial_id, named, config, seed)
