"""`Conditions`: the one walk over values of parameters, some of which are set only where others have certain values.

A parameter is not set where its `when` does not hold, and stays at its fixed or default value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from salt_tune.space.parameters import Parameter

Values = dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """Parameters, and where they are set.

    Attributes:
        parameters: by name, each after those that its `when` names.
        constants: the values of hyperparameters where they are not searched, by name: fixed, or the default.
    """

    parameters: Mapping[str, Parameter]
    constants: Mapping[str, Any] = field(default_factory=dict)

    def hold(self, name: str, values: Mapping[str, Any]) -> bool:
        """Returns whether a parameter is set.

        Args:
            name: the parameter.
            values: of the parameters before it, without those that are not set.
        """
        for other, allowed in self.parameters[name].when.items():
            if other in self.parameters and other not in values:
                return False
            if values.get(other, self.constants.get(other)) not in allowed:
                return False
        return True

    def walk(
        self,
        options: Callable[[str], Sequence[Any]],
        values: Mapping[str, Any],
        names: Sequence[str] | None = None,
    ) -> Iterator[Values]:
        """Yields all combinations of some values of each parameter, without those that are not set.

        Args:
            options: the values of a parameter to go through; asked in order, and only where it is set. None at all
                leaves it out.
            values: what stands before all of them.
            names: the parameters to go through, in order; None: all.
        """
        names = tuple(self.parameters) if names is None else names
        if not names:
            yield dict(values)
            return
        name, *rest = names
        choices = options(name) if self.hold(name, values) else ()
        if not len(choices):
            yield from self.walk(options, values, rest)
        for value in choices:
            yield from self.walk(options, {**values, name: value}, rest)

    def fill(self, point: Mapping[str, Any], draw: Callable[[str], Any]) -> Values:
        """Returns the values of a trial: those of `point`, and the rest drawn, in order, where they are set.

        Args:
            point: values to keep, but of parameters that are not set.
            draw: gives the value of a parameter.
        """
        return next(self.walk(lambda name: (point[name] if name in point else draw(name),), self.unsearched(point)))

    def configurations(self, point: Mapping[str, Any]) -> Iterator[Values]:
        """Yields all configurations that have what a point names; of ranges, which have no end, the ends."""
        return self.walk(
            lambda name: (point[name],) if name in point else self.parameters[name].every_value(),
            self.unsearched(point),
        )

    def active(self, values: Mapping[str, Any]) -> set[str]:
        """Returns the parameters among `values` that are set."""
        kept = next(self.walk(lambda name: (values[name],) if name in values else (), self.unsearched(values)))
        return self.parameters.keys() & kept.keys()

    def unsearched(self, values: Mapping[str, Any]) -> Values:
        """Returns those of `values` that are of no parameter."""
        return {name: value for name, value in values.items() if name not in self.parameters}

    @property
    def finite(self) -> bool:
        """Whether there is a number of configurations: none of the parameters is a range."""
        return all(parameter.countable for parameter in self.parameters.values())
