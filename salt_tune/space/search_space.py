"""`SearchSpace`: what a search varies, holds fixed, and spends; `salt_tune.space.space_file` reads one from YAML."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from salt_tune.registry import SCHEDULERS, SEARCHERS, name_in
from salt_tune.space.conditions import Conditions
from salt_tune.space.objective import Objective
from salt_tune.space.parameters import Bounded, Choice, Int, Parameter, Scalar
from salt_tune.space.schedule import Schedule
from trainable.config import TrialConfig
from trainable.errors import ConfigError, UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.metrics import METRICS, costs
from trainable.registry import Registry, nearest

MOST_TRIALS = 1_000_000
SECTIONS = ("fixed", "parameters", "start_from", "schedule", "evaluation", "promotion")

DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TrialConfig)}


class SpaceError(UserError):
    """A search-space file that cannot be searched."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _evaluation(entry: Any) -> EvaluationConfig:
    """From the entry `evaluation` of a search-space file."""
    if isinstance(entry, EvaluationConfig):
        return entry
    if not isinstance(entry, Mapping):
        raise ValueError("must be a mapping with entries such as `clips` and `masking`")
    try:
        return EvaluationConfig.from_dict(entry)
    except ConfigError as error:
        raise PydanticCustomError("config_error", "{message}", {"message": f".{error}"}) from error


class Promotion(_Model):
    """The final run of the winner."""

    epochs: Bounded = Field(default=10, ge=1)


class SearchSpace(_Model):
    """What a search varies, what it holds fixed, and what it spends.

    Attributes:
        name: goes into the names of runs.
        description: a sentence for people.
        fixed: hyperparameters that all trials share; what stands nowhere has `TrialConfig`'s default.
        parameters: hyperparameters that are searched, each after those that its `when` names.
        start_from: points to try first; what a point leaves out is drawn.
        objective: what the trials are ranked by.
        searcher: what suggests the next configuration, a name in `salt_tune.registry.SEARCHERS`.
        schedule: how long trials train, and which go on.
        against: a cost that is to be low as well; the result is then the Pareto front of the two.
        evaluation: what the trials are judged on.
        trials: number of trials.
        promotion: the final run.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    fixed: dict[str, Scalar] = {}
    parameters: dict[str, Parameter] = {}
    start_from: tuple[dict[str, Scalar], ...] = ()
    objective: Annotated[
        InstanceOf[Objective], BeforeValidator(Objective.parse), PlainSerializer(lambda objective: objective.plain())
    ] = Objective.parse("val_loss")
    searcher: Annotated[str, BeforeValidator(name_in(SEARCHERS))] = "tpe"
    schedule: Schedule = Schedule()
    against: str | None = None
    evaluation: Annotated[
        InstanceOf[EvaluationConfig],
        BeforeValidator(_evaluation),
        PlainSerializer(EvaluationConfig.to_dict),
    ] = EvaluationConfig()
    trials: Bounded = Field(ge=1, le=MOST_TRIALS)
    promotion: Promotion = Promotion()

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, entries: Any) -> Any:
        """A section with nothing in it is as if it were not there."""
        if not isinstance(entries, dict):
            return entries
        return {name: entry for name, entry in entries.items() if entry is not None or name not in SECTIONS}

    @field_validator("objective")
    @classmethod
    def _means_the_same_in_all_trials(cls, objective: Objective, info: ValidationInfo) -> Objective:
        searched = {*info.data.get("parameters", {}), *itertools.chain(*info.data.get("start_from", ()))}
        for metric in objective.metrics:
            if varied := [name for name in METRICS[metric].equal_in_all_trials if name in searched]:
                raise ValueError(
                    f"{metric} cannot be compared between trials that differ in {', '.join(varied)}; use val_loss"
                )
        return objective

    @field_validator("against")
    @classmethod
    def _can_rank_by_two(cls, against: str | None, info: ValidationInfo) -> str | None:
        if against is not None and against not in costs():
            raise ValueError(nearest(against, tuple(costs())))
        schedule = info.data.get("schedule")
        chosen: list[tuple[str, Registry[Any], str | None]] = [
            ("searcher", SEARCHERS, info.data.get("searcher")),
            ("scheduler", SCHEDULERS, schedule and schedule.scheduler),
        ]
        for kind, registry, name in chosen:
            if against is not None and name is not None and not registry[name].ranks_by_cost:
                able = ", ".join(known for known, each in registry.items() if each.ranks_by_cost)
                raise ValueError(f"needs a {kind} that can rank by two numbers ({able}), not {name}")
        return against

    def config(self, values: Mapping[str, Any], seed: int) -> TrialConfig:
        """The configuration of a trial with these values; those whose conditions do not hold are left out.

        Epochs are the schedule's where it counts in epochs. Otherwise they follow from what a step of the trial costs,
        which its process knows, and stay at their default here.

        Raises:
            ConfigError: they do not fit.
        """
        return TrialConfig.from_dict(self._hyperparameters(values, seed))

    def hyperparameters(self, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """All fields of `config`, even where they do not fit: then as they stand in the space."""
        try:
            return self.config(values, seed).to_dict()
        except ConfigError:
            return {**DEFAULTS, **self._hyperparameters(values, seed)}

    def _hyperparameters(self, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
        active = self.conditions.active(values)
        given = {name: value for name, value in values.items() if name in active or name not in self.parameters}
        epochs = {} if self.schedule.epochs is None else {"epochs": self.schedule.epochs}
        return {**self.fixed, **given, **epochs, "seed": seed}

    @property
    def conditions(self) -> Conditions:
        """The parameters, and where they are set."""
        return Conditions(self.parameters, {**DEFAULTS, **self.fixed})

    def constant(self, name: str) -> Any:
        """The value of a hyperparameter that is not searched: fixed, or the default."""
        return self.conditions.constants.get(name)

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
