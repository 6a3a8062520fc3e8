"""What the flags of several commands share: folders, finite numbers, and commands to be typed again."""

import math
import os
import shlex
from pathlib import Path
from typing import Any

import click

from trainable.errors import UnknownNameError
from trainable.registry import Registry


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
    """The text with an escape for each byte that is not UTF-8."""
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
            self.fail(f"{value!r}: {error.reason}", param, ctx)
        return value


def shell_command(module: str, *arguments: object) -> str:
    """`python -m MODULE ARGUMENTS...`, as a POSIX shell takes it: a space or a quote in a path stays one."""
    return shlex.join(["python", "-m", module, *map(str, arguments)])
