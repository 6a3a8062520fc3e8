"""Who proposes the next configuration: random search, through Optuna's ask."""

from dataclasses import dataclass
from typing import Any

import optuna

from salt_tune.space import SearchSpace, SpaceError
from trainable.config import TrialConfig

MOST_REDRAWS = 1000


@dataclass(frozen=True)
class Proposal:
    """A trial to be.

    Attributes:
        id: its name in this run: T0, T1...
        parameters: values of the hyperparameters that are searched.
        config: all its hyperparameters.
    """

    id: str
    parameters: dict[str, Any]
    config: TrialConfig


def propose(space: SearchSpace, seed: int) -> list[Proposal]:
    """All trials of a random search: the points to start from, then random draws; no configuration twice.

    Raises:
        SpaceError: the space has fewer different configurations than trials are asked for.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    distributions = {name: parameter.distribution() for name, parameter in space.parameters.items()}
    searched = tuple(space.searched())
    proposals: list[Proposal] = []
    known: set[TrialConfig] = set()
    points = iter(space.start_from)
    redraws = 0
    while len(proposals) < space.trials:
        config = space.config({**study.ask(distributions).params, **next(points, {})}, seed)
        if config in known:
            redraws += 1
            if redraws > MOST_REDRAWS:
                raise SpaceError(
                    f"{space.name}: trials = {space.trials}: found only {len(known)} different configurations"
                )
            continue
        known.add(config)
        parameters = {name: getattr(config, name) for name in searched}
        proposals.append(Proposal(f"T{len(proposals)}", parameters, config))
    return proposals
