"""What the flags of several commands share: kinds of values, and flags that stand in more than one command.

A decorator such as `decoding_flags` adds flags to a command and hands them over as one object. So what is read from the
command line has a type from there on.
"""

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import click

from salt_tune.ui.commands import WORDS, Choice, Flag
from salt_tune.ui.detached import detach, is_detached, settling, stay
from trainable.errors import UnknownNameError
from trainable.heartbeat import SILENT_SECONDS
from trainable.registry import Registry

# Imported by every command and decoding worker: what needs torch is imported where it is used.

Body = TypeVar("Body", bound=Callable[..., Any])

VIDEOS: Final = "Videos and split"
VIEW: Final = "View of a clip"
TEACHER: Final = "Teacher and latents"
MACHINE: Final = "This machine"
CLUSTER: Final = "A cluster"
RUN: Final = "The run"
LOGGING: Final = "Logging"


class Folder(click.Path):
    """A folder, there or not, whose whole path is UTF-8: JSON, Ray and W&B can name no other."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        whole = str(Path(value).absolute())
        if not whole.isascii() and (shown := _shown(whole)) != whole:
            self.fail(f"{shown}: is not UTF-8; rename the folder, or take another", param, ctx)
        return super().convert(value, param, ctx)


def _shown(text: str) -> str:
    """Writes an escape for each byte of the text that is not UTF-8."""
    return os.fsencode(text).decode(errors="backslashreplace")


class Finite(click.FloatRange):
    """A number in a range, neither infinite nor NaN, which compares with nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value}: must be a finite number", param, ctx)
        return number


class Named(click.ParamType[str]):
    """A name of a registry; unlike `click.Choice`, it reads what other packages add only when a name is given."""

    name = "name"

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See `click.ParamType`."""
        try:
            self.registry.check(value)
        except UnknownNameError as error:
            self.fail(f"{value!r} is unknown; {error.reason}", param, ctx)
        return value


class CountOrAuto(click.ParamType[Any]):
    """A number of things, or "auto".

    Args:
        of: what they are, in the plural.
        least: of them.
    """

    name = "N|auto"

    def __init__(self, of: str, least: int) -> None:
        self._of, self._least = of, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        """See `click.ParamType`."""
        try:
            return "auto" if value == "auto" else click.IntRange(min=self._least).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r}: must be a number of {self._of}, at least {self._least}, or auto", param, ctx)


def flag(heading: str, *names: str, **settings: Any) -> Callable[[Body], Body]:
    """Adds a flag that stands under `heading` in the help; see `click.option`."""
    return click.option(*names, cls=Flag, heading=heading, **settings)


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """Reads the entries of --set, by their dotted names.

    Raises:
        click.UsageError: one of them is not KEY=VALUE.
    """
    from salt_tune.space.space_file import parse_value

    parsed = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--set {setting}: must be KEY=VALUE, such as --set batch_size=16")
        parsed[key] = parse_value(value)
    return parsed


def split_flags(body: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --val-fraction, --group-by and --seed; hands over a `Split` as `split`."""

    @flag(
        VIDEOS, "--val-fraction", type=float, default=0.1, show_default=True,
        help="Share of each class to hold out, where the videos come without a split.",
    )  # fmt: skip
    @flag(
        VIDEOS, "--group-by", metavar="PATTERN",
        help="Hold out whole groups: a regular expression on clips' ids, whose first group (or match) names that of "
        "the clip; or FILE.csv:COLUMN, with the ids in `id`, `video` or the first column.",
    )  # fmt: skip
    @seed_flag(VIDEOS, "Seed of the split, of synthetic videos and of the teacher.")
    @functools.wraps(body)
    def command(*args: Any, val_fraction: float, group_by: str | None, seed: int, **flags: Any) -> Any:
        from salt_tune.stores.splits import Split

        return body(*args, split=Split(val_fraction, group_by, seed), **flags)

    return command


def seed_flag(heading: str, help: str, most: int | None = None) -> Callable[[Body], Body]:
    """Adds --seed, which is 0 by default."""
    return flag(heading, "--seed", type=click.IntRange(0, most), default=0, show_default=True, help=help)


def decoding_flags(body: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --workers, --clip-timeout and --clip-memory; hands over `Decoders` as `decoders`."""

    @flag(
        MACHINE, "--workers", type=click.IntRange(min=1), default=os.cpu_count(), show_default="cores",
        help="Processes that decode.",
    )  # fmt: skip
    @flag(
        MACHINE, "--clip-timeout", type=Finite(min=0, min_open=True), metavar="SECONDS",
        help="Skip a clip that takes longer to decode [default: as its length and size need].",
    )  # fmt: skip
    @flag(
        MACHINE, "--clip-memory", type=Finite(min=0.05), default=4.0, show_default=True, metavar="GB",
        help="Skip a clip that takes more memory to decode.",
    )  # fmt: skip
    @functools.wraps(body)
    def command(*args: Any, workers: int, clip_timeout: float | None, clip_memory: float, **flags: Any) -> Any:
        from trainable.data.build.decoding import Decoders

        return body(*args, decoders=Decoders(workers, clip_timeout, round(clip_memory * 1e9)), **flags)

    return command


def detach_flag(module: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds --detach to the command of `module`; hands over as `settled` what it calls when it has begun."""

    def decorate(body: Callable[..., Any]) -> Callable[..., Any]:
        @flag(
            MACHINE, "--detach", "detached", is_flag=True,
            help="Go on without this terminal, also after logging out; output goes to log.txt in the run.",
        )  # fmt: skip
        @click.pass_context
        @functools.wraps(body)
        def command(context: click.Context, /, *args: Any, detached: bool, **flags: Any) -> Any:
            if detached and not is_detached():
                return detach(module, context.meta[WORDS])
            return body(*args, settled=settling() if detached else stay, **flags)

        return command

    return decorate


weights_flag = flag(
    TEACHER, "--teacher-weights", type=Folder(), metavar="FILE",
    help="Released weights (.pth, .safetensors), or the store or folder of a pixel teacher that is trained.",
)  # fmt: skip
latents_flag = flag(
    TEACHER,
    "--latents-from",
    type=Folder(),
    metavar="DIR",
    help="Import latents: a folder with ID.pt for each clip.",
)
address_flag = flag(
    CLUSTER, "--address", metavar="HOST:PORT",
    help="Train on the nodes of this Ray cluster; auto: of RAY_ADDRESS, or of the Ray that runs here.",
)  # fmt: skip


def heartbeat_flag(says: str) -> Callable[[Body], Body]:
    """Adds --heartbeat, whose help says what becomes of those that hang."""
    return flag(
        MACHINE, "--heartbeat", type=Finite(min=1), default=SILENT_SECONDS, show_default=True, metavar="SECONDS",
        help=says,
    )  # fmt: skip


overwrite_flag = flag(MACHINE, "--overwrite", is_flag=True, help="Replace what was begun or prepared otherwise.")


def wandb_flag(modes: tuple[str, ...], default: str | None = None) -> Callable[[Body], Body]:
    """Adds --wandb, one of `modes`; handed over as `wandb_mode`."""
    return flag(
        LOGGING, "--wandb", "wandb_mode", type=Choice(modes), default=default, show_default=default or "off",
        help="Log to Weights & Biases.",
    )  # fmt: skip
