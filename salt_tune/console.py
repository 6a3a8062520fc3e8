"""What all commands share: the console, one-line errors with exit code 2, and progress bars."""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from trainable.errors import UserError

PIPED_WIDTH = 160  # rich takes 80 columns where there is no terminal, which squeezes tables for no reason

console = Console(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)

USER_ERROR = 2
INTERRUPTED = 130


def fail(message: str) -> NoReturn:
    """Prints one line on the standard error and exits with code 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(USER_ERROR)


class OneLineErrors(click.Command):
    """A click command whose errors are one line, without usage or traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command; exits with 2 after an error of the user's, with 130 after Ctrl-C."""
        try:
            result = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.ClickException as error:
            fail(error.format_message())
        except UserError as error:
            fail(str(error))
        except (click.Abort, KeyboardInterrupt):
            print("interrupted", file=sys.stderr)
            sys.exit(INTERRUPTED)
        except OSError as error:
            hint = "; free some space, then run the same command again" if error.errno == errno.ENOSPC else ""
            fail(f"{error.filename or 'system'}: {error.strerror or error}{hint}")
        sys.exit(result if isinstance(result, int) else 0)


class OneLineErrorsGroup(OneLineErrors, click.Group):
    """A group of such commands."""


class _Rate(ProgressColumn):
    """Clips a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} clips/s" if speed else "")


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with clips/s and time left on a terminal; one line at the end when piped.

    Yields:
        A function to call with the number of clips done since the last call.
    """
    bar = Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    done = 0
    with bar:
        task = bar.add_task(what, total=total)

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(task, advance=count)

        yield advance
    if bar.disable:
        elapsed = bar.tasks[0].elapsed or 1e-9
        console.print(f"{what:<9} {done}/{total} clips, {done / elapsed:,.0f} clips/s")
