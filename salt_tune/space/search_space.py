"""`SearchSpace`: what a search varies, holds fixed, and spends; `salt_tune.space.space_file` reads one from YAML."""

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
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from salt_tune.registry import SCHEDULERS, SEARCHERS, name_in
from salt_tune.space.conditions import Conditions
from salt_tune.space.objective import Objective
from salt_tune.space.parameters import Bounded, Choice, Int, Parameter, Scalar
from salt_tune.space.schedule import UNITS, Schedule
from trainable.errors import ConfigError, UserError
from trainable.metrics import METRICS, Metric, costs
from trainable.registry import Registry, nearest
from trainable.task import Task, find_task
from trainable.worker import Config

MOST_TRIALS = 1_000_000
SECTIONS = ("fixed", "parameters", "start_from", "schedule", "evaluation", "promotion")
DEFAULT_TASK = "salt"


class SpaceError(UserError):
    """A search-space file that cannot be searched."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _task(entry: Any) -> Task:
    """Reads the entry `task` of a search-space file."""
    if isinstance(entry, Task):
        return entry
    try:
        return find_task(entry)
    except ConfigError as error:
        raise ValueError(error.reason) from error


def _objective(entry: Any, info: ValidationInfo) -> Objective:
    """Reads the entry `objective` of a search-space file."""
    return Objective.parse(entry, _metrics(info))


def _evaluation(entry: Any, info: ValidationInfo) -> dict[str, Any]:
    """Reads the entry `evaluation` of a search-space file."""
    if not isinstance(entry, Mapping):
        raise ValueError("must be a mapping with entries such as `clips` and `masking`")
    task = info.data.get("task")
    try:
        return task.evaluation(entry) if task else {}
    except ConfigError as error:
        raise PydanticCustomError("config_error", "{message}", {"message": f".{error}"}) from error


def _metrics(info: ValidationInfo) -> Mapping[str, Metric]:
    """Returns those of the task; where it is none, that is what the user is told of."""
    task = info.data.get("task")
    return task.metrics if task else METRICS


class Promotion(_Model):
    """The final run of the winner."""

    epochs: Bounded = Field(default=10, ge=1)


class SearchSpace(_Model):
    """What a search varies, what it holds fixed, and what it spends.

    Attributes:
        name: goes into the names of runs.
        description: a sentence for people.
        task: what is trained: a name in `trainable.registry.TASKS`, or "package.module:Class".
        fixed: hyperparameters that all trials share; what stands nowhere has the task's default.
        parameters: hyperparameters that are searched, each after those that its `when` names.
        start_from: points to try first; what a point leaves out is drawn.
        objective: what the trials are ranked by.
        searcher: what suggests the next configuration, a name in `salt_tune.registry.SEARCHERS`.
        schedule: how long trials train, and which go on.
        against: a cost that is to be low as well; the result is then the Pareto front of the two.
        evaluation: what the trials are judged on, see `Task.evaluation`.
        trials: number of trials.
        promotion: the final run.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    task: Annotated[InstanceOf[Task], BeforeValidator(_task), PlainSerializer(lambda task: task.name)] = Field(
        default=DEFAULT_TASK, validate_default=True
    )
    fixed: dict[str, Scalar] = {}
    parameters: dict[str, Parameter] = {}
    start_from: tuple[dict[str, Scalar], ...] = ()
    objective: Annotated[
        InstanceOf[Objective], BeforeValidator(_objective), PlainSerializer(lambda objective: objective.plain())
    ] = Field(default="val_loss", validate_default=True)
    searcher: Annotated[str, BeforeValidator(name_in(SEARCHERS))] = "tpe"
    schedule: Schedule = Schedule()
    against: str | None = None
    evaluation: Annotated[dict[str, Any], BeforeValidator(_evaluation)] = Field(
        default_factory=dict, validate_default=True
    )
    trials: Bounded = Field(ge=1, le=MOST_TRIALS)
    promotion: Promotion = Promotion()

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, entries: Any) -> Any:
        """Drops a section with nothing in it, as if it were not there."""
        if not isinstance(entries, dict):
            return entries
        return {name: entry for name, entry in entries.items() if entry is not None or name not in SECTIONS}

    @field_validator("schedule")
    @classmethod
    def _counts_in_what_the_task_knows(cls, schedule: Schedule, info: ValidationInfo) -> Schedule:
        task = info.data.get("task")
        if task and schedule.resource not in task.resources:
            known = [unit for unit, resource in UNITS.items() if resource in task.resources]
            unit = next(unit for unit, resource in UNITS.items() if resource == schedule.resource)
            words = f".{unit} = {schedule.full:g}: trials of {task.name} are counted in {' or '.join(known)}"
            raise PydanticCustomError("config_error", "{message}", {"message": words})
        return schedule

    @field_validator("objective")
    @classmethod
    def _means_the_same_in_all_trials(cls, objective: Objective, info: ValidationInfo) -> Objective:
        searched = {*info.data.get("parameters", {}), *itertools.chain(*info.data.get("start_from", ()))}
        for metric in objective.metrics:
            if varied := [name for name in objective.among[metric].equal_in_all_trials if name in searched]:
                raise ValueError(
                    f"{metric} cannot be compared between trials that differ in {', '.join(varied)}; use val_loss"
                )
        return objective

    @field_validator("against")
    @classmethod
    def _can_rank_by_two(cls, against: str | None, info: ValidationInfo) -> str | None:
        known = costs(_metrics(info))
        if against is not None and against not in known:
            raise ValueError(nearest(against, tuple(known)))
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

    @model_serializer(mode="wrap")
    def _without_the_default_task(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves the task out of a space that names none, so that its hash stays what it was."""
        entries: dict[str, Any] = serialize(self)
        return {name: entry for name, entry in entries.items() if (name, entry) != ("task", DEFAULT_TASK)}

    def config(self, values: Mapping[str, Any], seed: int) -> Config:
        """Returns the configuration of a trial with these values, without those where a condition does not hold.

        Epochs are the schedule's where it counts in epochs. Otherwise they follow from what a step of the trial costs,
        which its process knows, and stay at their default here.

        Raises:
            ConfigError: they do not fit.
        """
        return self.task.config(self._hyperparameters(values, seed))

    def hyperparameters(self, values: Mapping[str, Any], seed: int) -> Config:
        """Returns all fields of `config`, even where they do not fit: then as they stand in the space."""
        try:
            return self.config(values, seed)
        except ConfigError:
            return {**self.task.defaults, **self._hyperparameters(values, seed)}

    def _hyperparameters(self, values: Mapping[str, Any], seed: int) -> dict[str, Any]:
        active = self.conditions.active(values)
        given = {name: value for name, value in values.items() if name in active or name not in self.parameters}
        epochs = {} if self.schedule.epochs is None else {"epochs": self.schedule.epochs}
        return {**self.fixed, **given, **epochs, "seed": seed}

    def probe_points(self) -> tuple[float, ...]:
        """Returns where the features of trials are probed, ascending: at every rung where that decides."""
        return self.schedule.rung_points() if self.objective.needs_probe else self.schedule.probe_points()

    @property
    def conditions(self) -> Conditions:
        """The parameters, and where they are set."""
        return Conditions(self.parameters, {**self.task.defaults, **self.fixed})

    def constant(self, name: str) -> Any:
        """Returns the value of a hyperparameter that is not searched: fixed, or the default."""
        return self.conditions.constants.get(name)

    def searched(self) -> dict[str, Literal["linear", "log", "category"]]:
        """Returns the hyperparameters that differ between trials, and the scale to plot them on."""
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
