"""Values to check before a search: of each parameter, and of those that must fit together; and the largest models.

Before a search, each value of each parameter is tried, and so are all combinations of those that are checked against
each other. All combinations of all parameters would be too many: seven choices of eight values are two million.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from salt_tune.space.conditions import Values
from salt_tune.space.search_space import SearchSpace

MOST_TOGETHER = 2000  # combinations of parameters that are checked against each other; beyond that, the first


def corners(space: SearchSpace) -> Iterator[tuple[str, Values]]:
    """Yields values to try as configurations before a search, as far as conditions hold.

    Each value of each parameter is among them; of wide ranges some are, and the ends. So is each combination of values
    that are checked against each other. So is each point to start from, with all that could be drawn beside it.

    Yields:
        Where the values stand ("parameters" or "start_from[2]"), and the values.
    """
    alone = [(name,) for name in space.parameters]
    for place, point in _places(space):
        yield place, _fill(space, point)
        for names in (*space.task.checked_together, *(() if point else alone)):
            needed = _needed(space, names)
            if needed and (not point or _touches(space, point, [*needed, *names])):
                options = {name: _options(space, point, name, needed, whole=name in names) for name in needed}
                walk = space.conditions.walk(options.__getitem__, space.conditions.unsearched(point), needed)
                for values in itertools.islice(walk, MOST_TOGETHER):
                    yield place, _fill(space, {**point, **values})


def largest(space: SearchSpace) -> Iterator[Values]:
    """Yields values that make a search's models largest: of each that is named, and wherever conditions part them.

    A hyperparameter that decides on sizes by a text names a model, and all of its values are tried.
    """
    names = space.task.sized_by
    for _, point in _places(space):
        needed = _needed(space, names)
        if point and not _touches(space, point, [*needed, *names]):
            continue
        options = {name: _options(space, point, name, needed, whole=_is_named(space, name)) for name in needed}
        walk = space.conditions.walk(options.__getitem__, space.conditions.unsearched(point), needed)
        for values in itertools.islice(walk, MOST_TOGETHER):
            yield _fill(space, {**point, **values})


def _places(space: SearchSpace) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "parameters", {}
    for number, point in enumerate(space.start_from):
        yield f"start_from[{number}]", point


def _fill(space: SearchSpace, point: Mapping[str, Any]) -> Values:
    return space.conditions.fill(point, lambda name: space.parameters[name].corners()[0])


def _touches(space: SearchSpace, point: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Returns whether a point has to do with some parameters: names one of them, or what their conditions name."""
    conditions = (space.parameters[name].when for name in names if name in space.parameters)
    return not point.keys().isdisjoint([*names, *itertools.chain(*conditions)])


def _needed(space: SearchSpace, names: Sequence[str]) -> list[str]:
    """Returns the parameters among `names`, and those that their conditions need, in order."""
    needed = {name for name in names if name in space.parameters}
    for name in reversed(space.parameters):  # conditions name parameters that stand before
        if name in needed:
            needed |= space.parameters[name].when.keys() & space.parameters.keys()
    return [name for name in space.parameters if name in needed]


def _options(
    space: SearchSpace, point: Mapping[str, Any], name: str, needed: Iterable[str], *, whole: bool
) -> list[Any]:
    """Returns a parameter's values to walk over: all, or the largest of those that conditions do not tell apart."""
    if name in point:
        return [point[name]]
    conditions = [allowed for other in needed if (allowed := space.parameters[other].when.get(name))]
    named = [value for allowed in conditions for value in allowed]
    values = dict.fromkeys([*space.parameters[name].corners(), *named])
    if whole:
        return [*values]
    alike: dict[tuple[Any, ...], Any] = {}
    for value in sorted(values, key=_size):
        alike[value is None, *(value in allowed for allowed in conditions)] = value
    return [*alike.values()]


def _is_named(space: SearchSpace, name: str) -> bool:
    """Returns whether a hyperparameter that sizes depend on is a text."""
    return name in space.task.sized_by and any(isinstance(value, str) for value in space.parameters[name].corners())


def _size(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
