"""What there is left to propose, where a space has an end."""

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from salt_tune.space.conditions import Active, Values, combinations
from salt_tune.space.parameters import Int, Parameter, Range

Key = Callable[[Mapping[str, Any]], Hashable]


def has_end(parameters: Mapping[str, Parameter]) -> bool:
    """Whether there is a number of configurations: none of the parameters is a range."""
    return not any(isinstance(parameter, Range) for parameter in parameters.values())


def left_open(parameters: Mapping[str, Parameter], active: Active, point: Mapping[str, Any]) -> Iterator[Values]:
    """All configurations that have what a point names, where that has an end.

    Args:
        parameters: by name, each after those that its condition names.
        active: whether a parameter is set, by its name and the values of those before it.
        point: values to keep.
    """
    options = {name: [point[name]] if name in point else _values(parameter) for name, parameter in parameters.items()}
    return combinations(options, active, {name: value for name, value in point.items() if name not in parameters})


def count_untried(
    everything: Iterable[Values], points: Iterable[Iterable[Values]], key: Key, known: Container[Hashable], most: int
) -> int:
    """How many configurations have not been tried yet, counted up to `most`.

    Args:
        everything: all that can be proposed at any time.
        points: what the points to start from that are yet to come leave open; each is proposed once.
        key: what two configurations share where they are the same.
        known: the keys of those that have been tried.
        most: where the counting ends.
    """
    found: set[Hashable] = set()
    for values in everything:
        if len(found) >= most:
            break
        if key(values) not in known:
            found.add(key(values))
    for point in points:
        new = next((one for one in map(key, point) if one not in known and one not in found), None)
        if len(found) < most and new is not None:
            found.add(new)
    return len(found)


def _values(parameter: Parameter) -> Sequence[Any]:
    if isinstance(parameter, Int):
        return range(parameter.low, parameter.high + 1, parameter.step)
    return parameter.corners()
