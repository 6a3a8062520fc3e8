"""`Registry`: things that are chosen by name, each loaded when it is first asked for."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import TypeVar

from trainable.errors import ConfigError

T = TypeVar("T")


def nearest(name: str, known: tuple[str, ...]) -> str:
    """The end of a sentence that says which of the `known` names was probably meant."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


class Registry(Mapping[str, T]):
    """Names, and the things that they stand for; a thing is imported when its name is first looked up.

    Args:
        kind: what the names choose, such as "masking"; errors name it.
        entries: for each name, where its thing stands: "package.module:name".
        group: entry points of this group, in other packages, add names; ours cannot be taken by them.
    """

    def __init__(self, kind: str, entries: Mapping[str, str], *, group: str | None = None) -> None:
        self._kind = kind
        self._entries = dict(entries)
        self._group = group
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """The thing of that name.

        Raises:
            ConfigError: no such name; the error names the nearest.
        """
        if name not in self:
            raise ConfigError(self._kind, name, nearest(str(name), tuple(self)))
        if name not in self._loaded:
            self._loaded[name] = resolve_name(self._places[name])
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @cached_property
    def _places(self) -> dict[str, str]:
        if self._group is None:
            return self._entries
        others = {entry.name: entry.value for entry in entry_points(group=self._group)}
        return {**self._entries, **{name: place for name, place in others.items() if name not in self._entries}}
