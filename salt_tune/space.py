"""`SearchSpace`: what a search varies, holds fixed, and spends; `salt_tune.space_file` reads one from YAML."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from trainable.config import Masking, TrialConfig
from trainable.errors import UserError

Scalar = bool | int | float | str | None
Metric = Literal["val_loss", "val_r2", "probe_top1"]
METRIC_MODES: dict[Metric, Literal["min", "max"]] = {"val_loss": "min", "val_r2": "max", "probe_top1": "max"}

MOST_CORNERS = 20_000
MOST_VALUES = 64  # of an int parameter that are all tried; beyond that, its two ends are


class SpaceError(UserError):
    """A search-space file that cannot be searched."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Model):
    """A range of numbers, drawn uniformly or uniformly in the logarithm; both ends belong to it."""

    type: Literal["uniform", "log_uniform"]
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)

    @field_validator("low")
    @classmethod
    def _positive(cls, low: float, info: ValidationInfo) -> float:
        if info.data.get("type") == "log_uniform" and low <= 0:
            raise ValueError("must be above 0 for log_uniform")
        return low

    @field_validator("high")
    @classmethod
    def _ordered(cls, high: float, info: ValidationInfo) -> float:
        return _above_low(high, info)

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        return FloatDistribution(self.low, self.high, log=self.type == "log_uniform")

    def corners(self) -> list[Scalar]:
        """The values to try before the search."""
        return [self.low, self.high]


class Int(_Model):
    """Whole numbers from low upwards, `step` apart, to high or the last one below it."""

    type: Literal["int"]
    low: int
    high: int
    step: int = Field(default=1, ge=1)
    log: bool = False

    @field_validator("high")
    @classmethod
    def _ordered(cls, high: int, info: ValidationInfo) -> float:
        return _above_low(high, info)

    @field_validator("log")
    @classmethod
    def _log_fits(cls, log: bool, info: ValidationInfo) -> bool:
        if log and (info.data.get("step", 1) != 1 or info.data.get("low", 1) < 1):
            raise ValueError("needs step 1 and a low of at least 1")
        return log

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        last = range(self.low, self.high + 1, self.step)[-1]
        return IntDistribution(self.low, last, log=self.log, step=self.step)

    def corners(self) -> list[Scalar]:
        """The values to try before the search."""
        values = range(self.low, self.high + 1, self.step)
        return [*values] if len(values) <= MOST_VALUES else [values[0], values[-1]]


class Choice(_Model):
    """One of some values, in no order."""

    type: Literal["choice"]
    values: tuple[Scalar, ...] = Field(min_length=1)

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[Scalar, ...]) -> tuple[Scalar, ...]:
        if len(set(values)) < len(values):
            raise ValueError("must not name a value twice")
        return values

    def distribution(self) -> BaseDistribution:
        """As Optuna knows it."""
        return CategoricalDistribution(self.values)

    def corners(self) -> list[Scalar]:
        """The values to try before the search."""
        return [*self.values]


Parameter = Annotated[Range | Int | Choice, Field(discriminator="type")]


class Schedule(_Model):
    """How long trials train and which are stopped early.

    Attributes:
        scheduler: "asha" stops all but the best 1/reduction_factor at each rung; "none" trains all to the end.
        epochs: epochs of a full trial, and what the learning-rate schedule stretches over (3: seed).
        grace_epochs: epochs before the first rung.
        reduction_factor: see `scheduler` (3: Li et al., 2020).
        reports_per_epoch: evaluations in each epoch.
    """

    scheduler: Literal["asha", "none"] = "asha"
    epochs: int = Field(default=3, ge=1)
    grace_epochs: int = Field(default=1, ge=1)
    reduction_factor: float = Field(default=3, ge=2, allow_inf_nan=False)
    reports_per_epoch: int = Field(default=4, ge=1)

    @field_validator("grace_epochs")
    @classmethod
    def _within(cls, grace: int, info: ValidationInfo) -> int:
        if grace > info.data.get("epochs", grace):
            raise ValueError(f"must not exceed epochs = {info.data['epochs']}")
        return grace

    def rungs(self) -> list[float]:
        """The epochs at which trials are compared, the last one included."""
        if self.scheduler == "none":
            return [float(self.epochs)]
        below = itertools.takewhile(
            lambda rung: rung < self.epochs, (self.grace_epochs * self.reduction_factor**k for k in itertools.count())
        )
        return [*map(float, below), float(self.epochs)]


class EvaluationSpec(_Model):
    """What all trials are judged on; see `trainable.objective.EvaluationConfig`."""

    clips: int = Field(default=2048, ge=2)
    mask_ratio: float = Field(default=0.75, gt=0, lt=1)
    masking: Masking = "multiblock"
    seed: int = Field(default=0, ge=0)
    probe_clips: int = Field(default=2048, ge=2)
    batch_size: int = Field(default=64, ge=1)


class Promotion(_Model):
    """The final run of the winner."""

    epochs: int = Field(default=10, ge=1)


class SearchSpace(_Model):
    """What a search varies, what it holds fixed, and how it spends its epochs.

    Attributes:
        name: goes into the names of runs.
        description: a sentence for people.
        fixed: hyperparameters that all trials share; what stands nowhere has `TrialConfig`'s default.
        parameters: hyperparameters that are searched.
        start_from: points to try first; what a point leaves out is drawn.
        objective: what the trials are ranked by.
        schedule: how long trials train.
        evaluation: what they are judged on.
        trials: number of trials.
        promotion: the final run.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    fixed: dict[str, Scalar] = {}
    parameters: dict[str, Parameter] = {}
    start_from: tuple[dict[str, Scalar], ...] = ()
    objective: Metric = "val_loss"
    schedule: Schedule = Schedule()
    evaluation: EvaluationSpec = EvaluationSpec()
    trials: int = Field(ge=1)
    promotion: Promotion = Promotion()

    def config(self, values: Mapping[str, Any], seed: int) -> TrialConfig:
        """The configuration of a trial with these values of the searched parameters.

        Raises:
            ConfigError: they do not fit.
        """
        return TrialConfig.from_dict({**self.fixed, **values, "epochs": self.schedule.epochs, "seed": seed})

    def corners(self) -> Iterator[tuple[str, dict[str, Scalar]]]:
        """The ends of all ranges with all choices, and the points to start from.

        Yields:
            Where the values stand ("parameters" or "start_from[2]"), and the values.
        """
        grid = itertools.product(*(parameter.corners() for parameter in self.parameters.values()))
        for values in itertools.islice(grid, MOST_CORNERS):
            yield "parameters", dict(zip(self.parameters, values, strict=True))
        for number, point in enumerate(self.start_from):
            drawn = {name: parameter.corners()[0] for name, parameter in self.parameters.items()}
            yield f"start_from[{number}]", {**drawn, **point}

    def searched(self) -> dict[str, Literal["linear", "log", "category"]]:
        """The hyperparameters that differ between trials, and the scale to plot them on."""
        scales: dict[str, Literal["linear", "log", "category"]] = {}
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Choice):
                scales[name] = "category"
            else:
                log = parameter.log if isinstance(parameter, Int) else parameter.type == "log_uniform"
                scales[name] = "log" if log else "linear"
        for point in self.start_from:
            for name in point:
                scales.setdefault(name, "category")
        return scales


def _above_low(high: float, info: ValidationInfo) -> float:
    if high <= info.data.get("low", float("-inf")):
        raise ValueError(f"must be above low = {info.data['low']}")
    return high
