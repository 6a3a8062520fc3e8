"""What a searched hyperparameter may be: a range, whole numbers, a choice; each with or without a condition."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

Scalar = bool | int | float | str | None

MOST_VALUES = 64  # of an int parameter that a grid goes through; beyond that, it spaces them
MOST_TRIED = 256  # of an int parameter that are tried before the search
LARGEST = 2**53  # whole numbers beyond it are not all told apart by the samplers, which count in floats


def _number(entry: Any) -> Any:
    """Refuses what pydantic would take for a number: true for 1, "3e-4" for 0.0003."""
    if isinstance(entry, bool | str):
        raise ValueError("must be a number")
    return entry


def _listed(allowed: Any) -> Any:
    return allowed if isinstance(allowed, list | tuple) else [allowed]


def _some(conditions: Any) -> Any:
    """Takes `when:` with nothing behind it as if it were not there."""
    return {} if conditions is None else conditions


Number = Annotated[float, BeforeValidator(_number)]
Whole = Annotated[int, BeforeValidator(_number)]
Bounded = Annotated[Whole, Field(ge=-LARGEST, le=LARGEST)]

Allowed = Annotated[tuple[Scalar, ...], Field(min_length=1), BeforeValidator(_listed)]
When = Annotated[dict[str, Allowed], BeforeValidator(_some)]


class _Parameter(BaseModel):
    """What all kinds of parameters have.

    Attributes:
        when: values that other hyperparameters must have for this one to be set; otherwise it stays at its fixed or
            default value.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: When = {}


class Range(_Parameter):
    """A range of numbers, drawn uniformly or uniformly in the logarithm; both ends belong to it."""

    type: Literal["uniform", "log_uniform"]
    low: Number = Field(allow_inf_nan=False)
    high: Number = Field(allow_inf_nan=False)

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

    @property
    def countable(self) -> bool:
        """Whether it has a number of values."""
        return False

    def every_value(self) -> Sequence[Scalar]:
        """Returns its values; as they have no end, the two ends."""
        return self.corners()

    def distribution(self) -> BaseDistribution:
        """Returns it as Optuna knows it."""
        return FloatDistribution(self.low, self.high, log=self.type == "log_uniform")

    def corners(self) -> list[Scalar]:
        """Returns the values to try before the search."""
        return [self.low, self.high]

    def extent(self) -> dict[str, Any]:
        """Returns its ends, as the files of a run have them."""
        return {"low": self.low, "high": self.high}


class Int(_Parameter):
    """Whole numbers from low upwards, `step` apart, to high or the last one below it."""

    type: Literal["int"]
    low: Bounded
    high: Bounded
    step: Bounded = Field(default=1, ge=1)
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
        """Returns it as Optuna knows it."""
        return IntDistribution(self.low, self.every_value()[-1], log=self.log, step=self.step)

    @property
    def countable(self) -> bool:
        """Whether it has a number of values."""
        return True

    def every_value(self) -> range:
        """Returns its values."""
        return range(self.low, self.high + 1, self.step)

    def can_be(self, value: Scalar) -> bool:
        """Returns whether a condition on it may ask for this value."""
        return value in self.every_value()

    def corners(self) -> list[Scalar]:
        """Returns the values to try before the search."""
        values = self.every_value()
        apart = -(-(len(values) - 1) // (MOST_TRIED - 1))
        return [*values] if len(values) <= MOST_TRIED else [*values[:-1:apart], values[-1]]

    def extent(self) -> dict[str, Any]:
        """Returns its ends, as the files of a run have them: both can be drawn."""
        return {"low": self.low, "high": self.every_value()[-1]}


class Choice(_Parameter):
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
        """Returns it as Optuna knows it."""
        return CategoricalDistribution(self.values)

    @property
    def countable(self) -> bool:
        """Whether it has a number of values."""
        return True

    def every_value(self) -> Sequence[Scalar]:
        """Returns its values."""
        return self.values

    def can_be(self, value: Scalar) -> bool:
        """Returns whether a condition on it may ask for this value."""
        return value in self.values

    def corners(self) -> list[Scalar]:
        """Returns the values to try before the search."""
        return [*self.values]

    def extent(self) -> dict[str, Any]:
        """Returns its values, as the files of a run have them."""
        return {"values": [*self.values]}


Parameter = Annotated[Range | Int | Choice, Field(discriminator="type")]


def _above_low(high: float, info: ValidationInfo) -> float:
    if high <= info.data.get("low", float("-inf")):
        raise ValueError(f"must be above low = {info.data['low']}")
    return high
