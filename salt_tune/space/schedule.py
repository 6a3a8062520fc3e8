"""`Schedule`: how long a trial trains and in which unit, where it reports, and where trials are compared."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from salt_tune.registry import SCHEDULERS, name_in
from salt_tune.space.parameters import Number, Whole

Resource = Literal["epoch", "tflop", "second"]

UNITS: dict[str, Resource] = {"epochs": "epoch", "tflops": "tflop", "seconds": "second"}
SHORTEST = 1e-6  # first rung, of a full trial
SAME_POINT = 1e-9  # of a full trial: points that are closer are one

FullTrial = Annotated[Number, Field(ge=1e-6, le=1e12, allow_inf_nan=False)]
Point = Annotated[Number, Field(gt=0, allow_inf_nan=False)]


class Schedule(BaseModel):
    """How long trials train, and which go on.

    One of `epochs`, `tflops` and `seconds` is given; points of the schedule are in the same unit.

    Attributes:
        scheduler: what decides which trial trains on, a name in `salt_tune.registry.SCHEDULERS`.
        epochs: passes of a full trial over the training clips (3: seed, where no unit is given).
        tflops: training TFLOP of a full trial, counted from its architecture.
        seconds: training seconds of a full trial, from its measured time of a step.
        first_rung: resource at the first rung; None is one report.
        reduction_factor: one in so many trials goes on from a rung, and between rungs the resource grows by it (3: Li
            et al., 2020), where the scheduler counts so; see `rung_points` of its class.
        rungs: the rungs themselves, instead of `first_rung` and powers of the factor; the full trial need not be named.
        reports: evaluations in a full trial, evenly in the resource.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: Annotated[str, BeforeValidator(name_in(SCHEDULERS))] = "freeze_thaw"
    epochs: FullTrial | None = None
    tflops: FullTrial | None = None
    seconds: FullTrial | None = None
    first_rung: Point | None = None
    reduction_factor: Number = Field(default=3, ge=2, allow_inf_nan=False)
    rungs: tuple[Point, ...] | None = Field(default=None, min_length=1)
    reports: Whole = Field(default=12, ge=1, le=100_000)

    @model_validator(mode="before")
    @classmethod
    def _three_epochs(cls, entries: Any) -> Any:
        if isinstance(entries, dict) and all(entries.get(unit) is None for unit in UNITS):
            return {**entries, "epochs": 3}
        return entries

    @field_validator("tflops", "seconds")
    @classmethod
    def _only_unit(cls, full: float | None, info: ValidationInfo) -> float | None:
        for unit in UNITS:
            if full is not None and (other := info.data.get(unit)) is not None:
                raise ValueError(
                    f"stands beside {unit} = {other:g}, and a trial's length has one unit; "
                    f"set schedule.{info.field_name} instead of schedule.{unit}, or set one of the two to null"
                )
        return full

    @field_validator("first_rung")
    @classmethod
    def _first_within(cls, first: float | None, info: ValidationInfo) -> float | None:
        if first is not None:
            _check_within(first, info)
            for unit in UNITS:
                if (full := info.data.get(unit)) is not None and first < SHORTEST * full:
                    raise ValueError(f"must be at least a millionth of {unit} = {full:g}")
        return first

    @field_validator("rungs")
    @classmethod
    def _rungs_ascend(cls, rungs: tuple[float, ...] | None, info: ValidationInfo) -> tuple[float, ...] | None:
        if rungs is None:
            return None
        if any(later <= earlier for earlier, later in itertools.pairwise(rungs)):
            raise ValueError("must be ascending")
        _check_within(rungs[-1], info)
        if (first := info.data.get("first_rung")) is not None:
            raise ValueError(f"stands beside first_rung = {first:g}; give one of the two, the other null")
        return rungs

    @property
    def resource(self) -> Resource:
        """What a trial's length is measured in."""
        return UNITS[self._unit]

    @property
    def full(self) -> float:
        """The resource of a full trial."""
        return float(getattr(self, self._unit))

    @property
    def _unit(self) -> str:
        return next(unit for unit in UNITS if getattr(self, unit) is not None)

    def rung_points(self) -> tuple[float, ...]:
        """Returns where trials are compared, ascending; the last one is the full trial."""
        scheduler = SCHEDULERS[self.scheduler]
        if self.rungs is None or not scheduler.compares_early:
            first = self.first_rung or self.full / self.reports
            rungs = scheduler.rung_points(first, self.full, self.reduction_factor)
        else:
            rungs = self.rungs
        return (*(rung for rung in rungs if rung < self.full * (1 - SAME_POINT)), self.full)

    def probe_points(self) -> tuple[float, ...]:
        """Returns where features are probed too, ascending: the full trial, and rungs that lie well apart.

        Each is the last rung at most 1 / `reduction_factor` of the next one, as ASHA's are. The panel costs the same
        after a short training as after a long one: at all rungs of freeze-thaw, more than twice as much.
        """
        points = [self.full]
        for rung in reversed(self.rung_points()):
            if rung * self.reduction_factor <= points[0] * (1 + SAME_POINT):
                points.insert(0, rung)
        return tuple(points)

    def report_points(self) -> tuple[float, ...]:
        """Returns where a trial is evaluated, ascending: evenly over the trial, and at the rungs."""
        rungs = self.rung_points()
        even = (number * self.full / self.reports for number in range(1, self.reports + 1))
        return tuple(sorted([*rungs, *_apart(even, rungs, SAME_POINT * self.full)]))


def _check_within(point: float, info: ValidationInfo) -> None:
    for unit in UNITS:
        if (full := info.data.get(unit)) is not None and point > full:
            raise ValueError(f"must not exceed {unit} = {full:g}")


def _apart(points: Iterable[float], others: tuple[float, ...], distance: float) -> Iterator[float]:
    """Yields the `points` that lie further than `distance` from all `others`."""
    return (point for point in points if all(abs(point - other) > distance for other in others))
