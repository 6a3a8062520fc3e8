"""What is trained, and where it is measured."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from salt_tune.searchers.random import Random
from salt_tune.space.search_space import SearchSpace
from trainable.config import TrialConfig
from trainable.worker import Config

Kind = Literal["constant", "long cosine", "short cosine"]  # the slow ones first, so that no process waits at the end

HORIZON = 0.1  # of the averaged weights, as a share of the steps made
SHORT_COSINE: Config = {"epochs": 3, "lr_schedule": "cosine", "warmup": 0.1, "warmup_steps": None, "ema": 0.0}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        config: number of the configuration.
        seed: of the training.
        kind: its schedule and length.
    """

    config: int
    seed: int
    kind: Kind


@dataclass(frozen=True)
class Point:
    """Where a run is measured.

    Attributes:
        epoch: how far it is trained.
        panel: whether all metrics are measured, or the held-out loss only.
    """

    epoch: float
    panel: bool


@dataclass(frozen=True)
class Plan:
    """The trainings of the experiment.

    Attributes:
        configs: hyperparameters of each configuration; schedule, length and seed follow from the run.
        seeds: trainings of each configuration.
        short: epochs of the short cosine, which stands for a trial of a search.
        long: epochs of the long cosine, and of the run at a constant rate.
        early: epochs at which signals are taken; the last is `short`.
        between: epochs at which learning curves are known besides.
    """

    configs: tuple[Config, ...]
    seeds: int = 2
    short: int = 3
    long: int = 20
    early: tuple[float, ...] = (0.5, 1.0, 2.0, 3.0)
    between: tuple[float, ...] = (0.25, 0.75, 1.5)

    def runs(self) -> list[Run]:
        """Returns all trainings, the long ones first."""
        kinds: tuple[Kind, ...] = ("constant", "long cosine", "short cosine")
        return [
            Run(config, seed, kind)
            for kind in kinds
            for seed in range(self.seeds)
            for config in range(len(self.configs))
        ]

    def epochs(self, kind: Kind) -> int:
        """Returns the length of a run."""
        return self.short if kind == "short cosine" else self.long

    def points(self, kind: Kind) -> list[Point]:
        """Returns where a run is measured, ascending; the last is its end."""
        end = [Point(float(self.long), True)]
        if kind == "long cosine":
            return end
        early = [Point(epoch, epoch in self.early) for epoch in sorted({*self.early, *self.between})]
        return early if kind == "short cosine" else early + end

    def curve(self, epoch: float) -> tuple[float, ...]:
        """Returns where the learning curve up to `epoch` is known, ascending."""
        return tuple(sorted(known for known in {*self.early, *self.between} if known <= epoch))

    def config(self, run: Run, train_clips: int) -> TrialConfig:
        """Returns the hyperparameters of a run.

        The warm-up at a constant rate has as many steps as that of the short cosine.
        """
        config = TrialConfig.from_dict({**self.configs[run.config], "seed": run.seed, "epochs": self.epochs(run.kind)})
        if run.kind != "constant":
            return config
        steps = max(1, round(config.warmup * self.short * (train_clips // config.batch_size)))
        return config.replace(lr_schedule="wsd", cooldown=0.0, warmup_steps=steps, ema=HORIZON)

    def stretched(self, factor: int) -> "Plan":
        """Returns the same trainings with so many times the epochs."""
        early, between = (tuple(factor * epoch for epoch in epochs) for epochs in (self.early, self.between))
        return replace(self, short=factor * self.short, long=factor * self.long, early=early, between=between)

    def describe(self) -> dict[str, Any]:
        """Returns all fields as plain JSON values."""
        fields = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def draw_configs(space: SearchSpace, count: int) -> tuple[Config, ...]:
    """Draws configurations of a search space as random search does: its points to start from first, all different."""
    searcher = Random(space.conditions, seed=0, start_from=space.start_from, trials=count)
    suggested = [searcher.suggest(f"T{number}") for number in range(count)]
    return tuple({**space.config(values, seed=0), **SHORT_COSINE} for values in suggested if values is not None)
