"""How commands are written: flags under headings, an example at the end of `--help`, names that must be known."""

import ast
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import click

from salt_tune.ui.console import OneLineErrors
from trainable.registry import Registry, nearest

HELP_WIDTH = 100  # columns
FLAGS = "Options"
WORDS = "words"  # in `click.Context.meta`: what stands behind the command
METAVARS = {"integer": "N", "integer range": "N", "float": "X", "float range": "X"}  # shorter than click's


class Flag(click.Option):
    """An option that stands under a heading of the help.

    Args:
        names: as of `click.Option`.
        heading: of the group of flags that it belongs to.
        settings: further ones of `click.Option`.
    """

    def __init__(self, names: Sequence[str], *, heading: str = FLAGS, **settings: Any) -> None:
        super().__init__(names, **settings)
        self.heading = heading
        if self.metavar is None:
            self.metavar = METAVARS.get(self.type.name)


class Choice(click.Choice[str]):
    """One of some names; an unknown one is an error that names the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        names = tuple(map(str, self.choices))
        if value not in names:
            self.fail(f"{value!r} is unknown; {nearest(str(value), names)}", param, ctx)
        return str(value)


class Command(OneLineErrors):
    """A command with its flags under headings, and an example at the end of its help.

    Args:
        example: command lines, as they are typed.
        settings: of `click.Command`.
    """

    def __init__(self, *args: Any, example: str = "", **settings: Any) -> None:
        settings["context_settings"] = {"max_content_width": HELP_WIDTH, **settings.get("context_settings", {})}
        super().__init__(*args, **settings)
        self.example = example

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        ctx.meta[WORDS] = (*args,)
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        formatter.write_usage(" ".join(ctx.command_path.split()), " ".join(self.collect_usage_pieces(ctx)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        groups: dict[str, list[tuple[str, str]]] = {}
        flags = [parameter for parameter in self.get_params(ctx) if not isinstance(parameter, click.Argument)]
        for parameter in sorted(flags, key=lambda parameter: not isinstance(parameter, Flag)):  # --help comes last
            if (record := parameter.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(parameter, "heading", FLAGS), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
        group = ctx.parent.command if ctx.parent else None
        if ctx.parent and isinstance(group, DefaultGroup) and group.default is self:
            group.format_commands(ctx.parent, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See `click.Command`."""
        if self.example:
            with formatter.section("Example"):
                for line in self.example.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(Command, click.Group):
    """A group of commands; an unknown name is an error that names the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            self._unknown(args[0])
        return super().resolve_command(ctx, args)

    def _unknown(self, name: str) -> NoReturn:
        raise click.UsageError(f"{name}: unknown command; {nearest(name, tuple(self.commands))}")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group`."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


class LazyGroup(Group):
    """A group whose help loads none of its commands: what each does stands in its source.

    Args:
        settings: of `Group`; its commands are a registry of modules with a function `main`.
    """

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See `click.Group`."""
        commands = self.commands
        modules = {name: commands.module(name) if isinstance(commands, Registry) else None for name in commands}
        rows = [(name, _first_sentence(module) if module else "") for name, module in modules.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_sentence(module: str) -> str:
    """Returns the first sentence of what a module's `main` is documented with, without importing the module."""
    found = find_spec(module)
    if found is None or found.origin is None:
        return ""
    for node in ast.parse(Path(found.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            said = " ".join((ast.get_docstring(node) or "").split())
            return said.partition(". ")[0].removesuffix(".")
    return ""


class DefaultGroup(Group):
    """A group with a default command, which is meant where the first word names none of the others.

    Args:
        default: the command.
        settings: of `Group`.
    """

    def __init__(self, *args: Any, default: click.Command, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.default = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`."""
        named = bool(args) and args[0] in self.commands
        return super().parse_args(ctx, args if named else ["", *args])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        return self.default if cmd_name == "" else super().get_command(ctx, cmd_name)
