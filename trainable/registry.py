"""What can be chosen by name: maskings, losses, learning-rate schedules, cooldowns, teachers and tasks.

Each lies in a module that is imported when it is asked for.

To add one: its module, and a line here. Another package adds one by an entry point of the registry's group, without a
change here:

    [project.entry-points."salt_tune.maskings"]
    checkerboard = "my_package.checkerboard:CHECKERBOARD"

Imports no torch, and reads entry points only when a name is asked for that is not in this file, or all names are.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from trainable.errors import ConfigError, UnknownNameError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.metadata import EntryPoint

    import torch

    from trainable.data.build.latent_source import FrozenTeacher
    from trainable.masking.masks import Masking
    from trainable.task import Task
    from trainable.train.lr_schedule import LrSchedule

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one kind by their names; a mapping that loads its values when they are first used.

    Args:
        kind: what they are, in the singular: the field that names one of them, where errors name no other.
        entries: of each name "module:attribute", or the thing itself.
        group: of the entry points by which other packages add names; None: they cannot. They never replace a name of
            `entries`.

    Attributes:
        kind: as given.
        group: as given.
    """

    def __init__(self, kind: str, entries: Mapping[str, str | T], *, group: str | None = None) -> None:
        self.kind, self.group = kind, group
        self._entries = dict(entries)
        self._loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        """Returns what is called `name`.

        Raises:
            UnknownNameError: there is no such name; says which is nearest. It is a `ConfigError` and a `KeyError`.
            ConfigError: the module of another package cannot be loaded.
        """
        self.check(name)
        if name in self._entries:
            entry = self._entries[name]
            if not isinstance(entry, str):
                return entry
            if name not in self._loaded:
                module, _, attribute = entry.partition(":")
                self._loaded[name] = getattr(import_module(module), attribute)
            return self._loaded[name]
        offered = self._offered()[name]
        try:
            return cast(T, offered.load())
        except (ImportError, AttributeError) as error:
            raise ConfigError(self.kind, name, f"cannot be loaded from {offered.value}: {error}") from error

    def module(self, name: str) -> str | None:
        """Returns the module that a name's entry lies in; None where it is no text, or of another package."""
        entry = self._entries.get(name)
        return entry.partition(":")[0] if isinstance(entry, str) else None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._entries or name in self._offered())

    def __iter__(self) -> Iterator[str]:
        return iter((*self._entries, *self._offered()))

    def __len__(self) -> int:
        return len(self._entries) + len(self._offered())

    def check(self, name: Any, field: str | None = None) -> None:
        """Refuses a name that is not known; loads nothing.

        Args:
            name: from a user.
            field: that names it, for the error; None: `kind`.

        Raises:
            UnknownNameError: there is no such name.
        """
        if name not in self:
            raise UnknownNameError(field or self.kind, name, nearest(str(name), tuple(self)))

    def _offered(self) -> "Mapping[str, EntryPoint]":
        """Returns the entries of other packages that can be imported now."""
        if self.group is None:
            return {}
        offered = _offered(self.group, tuple(sys.path))
        return {name: entry for name, entry in offered.items() if name not in self._entries}


@cache
def _offered(group: str, path: tuple[str, ...]) -> "dict[str, EntryPoint]":  # noqa: ARG001  what is found depends on it
    """Returns the entry points of a group by name.

    Raises:
        UserError: two packages offer different things under one name.
    """
    from importlib.metadata import entry_points  # takes as long to import as all else here

    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        first = found.setdefault(entry.name, entry)
        if first.value != entry.value:
            raise UserError(f"{group}: {entry.name!r} is both {first.value} and {entry.value}; uninstall one of them")
    return found


def nearest(name: str, known: Sequence[str]) -> str:
    """Returns the end of a sentence that says which of the `known` names was probably meant."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


MASKINGS: "Final[Registry[Masking]]" = Registry(
    "masking",
    {
        "multiblock": "trainable.masking.multiblock:MULTIBLOCK",
        "multiblock_long": "trainable.masking.multiblock:MULTIBLOCK_LONG",
        "multiblock_both": "trainable.masking.multiblock:MULTIBLOCK_BOTH",
        "tube": "trainable.masking.tube:TUBE",
        "random": "trainable.masking.random_tokens:RANDOM",
    },
    group="salt_tune.maskings",
)

# Of predictions and targets, both float32 and of one shape, to the errors of the single values, in this shape.
LOSSES: "Final[Registry[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]]" = Registry(
    "loss",
    {
        "mse": "trainable.train.losses:mse",
        "l1": "trainable.train.losses:l1",
        "smooth_l1": "trainable.train.losses:smooth_l1",
    },
    group="salt_tune.losses",
)

LR_SCHEDULES: "Final[Registry[LrSchedule]]" = Registry(
    "lr_schedule",
    {
        "cosine": "trainable.train.lr_schedule:COSINE",
        "wsd": "trainable.train.lr_schedule:WSD",
    },
    group="salt_tune.lr_schedules",
)

# Of the share of the cooldown that is over, above 0 and below 1, to the part of the rate that is left.
COOLDOWNS: "Final[Registry[Callable[[float], float]]]" = Registry(
    "cooldown_shape",
    {
        "linear": "trainable.train.lr_schedule:linear",
        "1-sqrt": "trainable.train.lr_schedule:sqrt",
    },
    group="salt_tune.cooldowns",
)

# A class that several names share is told the name.
TEACHERS: "Final[Registry[type[FrozenTeacher]]]" = Registry(
    "teacher",
    {
        "pixel": "trainable.teachers.pixel:PixelTeacher",
        **dict.fromkeys(("hog", "hog+motion"), "trainable.teachers.hog:HogTeacher"),
        **dict.fromkeys(
            (
                *("videomae_small", "videomae_base", "videomae_large", "videomae_huge"),
                *("videomaev2_small", "videomaev2_base", "videomaev2_large", "videomaev2_huge", "videomaev2_giant"),
            ),
            "trainable.teachers.videomae:VideoMaeTeacher",
        ),
    },
    group="salt_tune.teachers",
)

# Each is made by `Class(name)`; a space may also name one as "package.module:Class".
TASKS: "Final[Registry[type[Task]]]" = Registry("task", {"salt": "trainable.salt:SaltTask"}, group="salt_tune.tasks")
