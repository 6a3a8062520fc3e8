"""What only all entries of a space together can tell: names, conditions, and configurations that do not fit."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from salt_tune.space.corners import corners
from salt_tune.space.parameters import Range, Scalar
from salt_tune.space.search_space import SearchSpace, SpaceError
from trainable.errors import ConfigError
from trainable.registry import nearest
from trainable.worker import Config

# Hyperparameters that a space sets in another place.
ELSEWHERE = {"epochs": "schedule.epochs", "seed": "the flag --seed"}


def check_hyperparameters(path: Path, space: SearchSpace) -> None:
    """Checks the names of hyperparameters and the conditions between them.

    Raises:
        SpaceError: an unknown one, one that is set elsewhere, or a condition that never holds.
    """
    places: list[tuple[str, Mapping[str, Any]]] = [("fixed", space.fixed), ("parameters", space.parameters)]
    places += [(f"start_from[{number}]", point) for number, point in enumerate(space.start_from)]
    known = tuple(space.task.defaults)
    for place, entries in places:
        for name in entries:
            if name in ELSEWHERE:
                raise SpaceError(f"{path}: {place}.{name}: is set by {ELSEWHERE[name]}")
            if name not in known:
                raise SpaceError(f"{path}: {place}.{name}: unknown hyperparameter; {nearest(name, known)}")
    for name, parameter in space.parameters.items():
        if name in space.fixed and not parameter.when:
            raise SpaceError(f"{path}: parameters.{name}: stands under fixed too; keep one of the two")
    _check_conditions(path, space)
    if not space.parameters and len(space.start_from) < space.trials:
        raise SpaceError(
            f"{path}: trials = {space.trials}: there are no parameters to draw and only "
            f"{len(space.start_from)} points in start_from"
        )


def _check_conditions(path: Path, space: SearchSpace) -> None:
    for name, parameter in space.parameters.items():
        for other, allowed in parameter.when.items():
            if complaint := _about_condition(space, name, other, allowed):
                raise SpaceError(f"{path}: parameters.{name}.when.{other}{complaint}")
            for number, point in enumerate(space.start_from):
                known = other in point or other not in space.parameters  # otherwise it is drawn
                value = point.get(other, space.constant(other))
                if name in point and known and value not in allowed:
                    raise SpaceError(
                        f"{path}: start_from[{number}].{name} = {point[name]!r}: is set only where {other} is "
                        f"{_either(allowed)}, and here it is {value!r}"
                    )


def _about_condition(space: SearchSpace, name: str, other: str, allowed: tuple[Scalar, ...]) -> str | None:
    """Says what is wrong with a condition that sets parameter `name` where `other` has one of the `allowed` values."""
    if other not in space.task.defaults:
        return f": unknown hyperparameter; {nearest(other, tuple(space.task.defaults))}"
    if other in ELSEWHERE:
        return f": is set by {ELSEWHERE[other]}, the same in all trials"
    condition = space.parameters.get(other)
    if condition is None:
        values = [space.constant(other), *(point[other] for point in space.start_from if other in point)]
        if not any(value in allowed for value in values):
            return f" = {_either(allowed)}: never holds, {other} is {' or '.join(dict.fromkeys(map(repr, values)))}"
        return None
    names = [*space.parameters]
    if names.index(other) >= names.index(name):
        return f": must stand before {name} under parameters" if other != name else ": is the parameter itself"
    if isinstance(condition, Range):
        return f" = {_either(allowed)}: {other} is drawn from a range; only an int or a choice can be a condition"
    never = [value for value in allowed if not condition.can_be(value)]
    return f" = {never[0]!r}: is no value that parameters.{other} can take" if never else None


def _either(values: tuple[Scalar, ...]) -> str:
    return " or ".join(map(repr, values))


def check_corners(path: Path, space: SearchSpace, check: Callable[[Config], None]) -> None:
    """Runs `check` on the configurations of all values, see `salt_tune.space.corners.corners`.

    Raises:
        SpaceError: one is no valid configuration, or `check` raises a `ConfigError` for it.
    """
    for place, values in corners(space):
        try:
            check(space.config(values, seed=0))
        except ConfigError as error:
            raise SpaceError(f"{path}: {blame(space, place, values, error)}") from error


def blame(space: SearchSpace, place: str, values: Mapping[str, Any], error: ConfigError) -> str:
    """Returns an error of a configuration, with where in the space the value stands that it complains of.

    Args:
        space: what is searched.
        place: where the values stand, "parameters" or "start_from[2]".
        values: those of the configuration.
        error: names a field.
    """
    given: Mapping[str, Any] = {"parameters": space.parameters}.get(place, values)
    where = place if error.field in given else "fixed" if error.field in space.fixed else "default"
    return f"{where}.{error}"
