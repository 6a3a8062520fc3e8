"""What all commands share: the console, one-line errors with exit code 2, and progress bars."""

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from analysis.errors import RunError
from analysis.text import printable
from salt_tune.ui.signals import WORDS, Stopped, obeyed
from trainable.errors import UserError

PIPED_WIDTH = 160  # rich takes 80 columns where there is no terminal, which squeezes tables for no reason


class Deserted(KeyboardInterrupt):
    """Whoever read the output has left: the command ends as after Ctrl-C."""


class PlainConsole(Console):
    """A console that shows the texts it is given letter by letter: their control characters become visible.

    Its reader may leave; what is said last then goes to the standard error.

    Attributes:
        deserted: whether the reader has left.
    """

    deserted = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=True, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Makes a text of ours of what is printed, stands in a table or names a stage; see `Console.render_str`."""
        return super().render_str(printable(text), **settings)

    def on_broken_pipe(self) -> None:
        """See `rich.console.Console`, which exits at once.

        Raises:
            Deserted: in the main thread; from another, the main one is interrupted.
        """
        self.deserted = self.quiet = True
        _to_nowhere()
        if threading.current_thread() is threading.main_thread():
            raise Deserted
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it where it waits

    def last_words(self, text: str) -> None:
        """Prints how to go on, for whoever is still there to read it."""
        if self.deserted:
            print(text, file=sys.stderr)
        else:
            self.print(text)


def _to_nowhere() -> None:
    """Lets the standard output go nowhere, so that Python can flush it as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _closed_streams() -> tuple[str, ...]:
    """The standard streams that the command was started without; in their place, what is written goes nowhere.

    Otherwise the next file that is opened would be the standard output of all that the command starts.
    """
    closed = tuple(name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None)
    for name in closed:
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
    return closed


CLOSED = _closed_streams()

console = PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)

LINE_EVERY = 60  # seconds between the lines of a long stage, when piped

USER_ERROR = 2
INTERRUPTED = 130


def fail(message: str) -> NoReturn:
    """Prints one line on the standard error and exits with code 2."""
    print(f"error: {printable(message.strip())}", file=sys.stderr)
    sys.exit(USER_ERROR)


def _parting(number: int) -> str:
    """What is said when a signal, or a reader that has left, ends a command."""
    deserted = ", as its output is read no more; the same command goes on" if console.deserted else ""
    return f"{WORDS[signal.Signals(number)]}{deserted}"


def _leave(number: int) -> NoReturn:
    """Ends the command at once, without the interpreter's own end."""
    print(_parting(number), file=sys.stderr, flush=True)
    os._exit(128 + number)


class OneLineErrors(click.Command):
    """A click command whose errors are one line, without usage or traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command; exits with 2 after a user error, 130 after Ctrl-C, 143 after SIGTERM."""
        if "stdout" in CLOSED:
            fail("the standard output is closed; send it to a file, or to /dev/null")
        try:
            with obeyed(_leave):
                result = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            print(error.format_message(), file=sys.stderr)
            sys.exit(USER_ERROR)
        except click.ClickException as error:
            fail(" ".join(error.format_message().split()))  # click breaks lines of its own
        except (UserError, RunError) as error:
            fail(str(error))
        except (click.Abort, KeyboardInterrupt) as error:
            stopped = error.__cause__ if isinstance(error, click.Abort) else error
            if isinstance(stopped, Stopped):
                _leave(stopped.number)  # without the interpreter's own end, which may wait for threads
            print(_parting(signal.SIGINT), file=sys.stderr)
            sys.exit(INTERRUPTED)
        except OSError as error:
            hint = "; free some space, then run the same command again" if error.errno == errno.ENOSPC else ""
            where = f"{error.filename}: " if error.filename else ""
            fail(f"{where}{error.strerror or error}{hint}")
        sys.exit(result if isinstance(result, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the body of the command; see `click.Command`, whose `main` adds an empty line to a KeyboardInterrupt."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error


class OneLineErrorsGroup(OneLineErrors, click.Group):
    """A group of such commands."""


class _Rate(ProgressColumn):
    """Clips a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} clips/s" if speed else "")


@contextmanager
def progress(what: str, total: int, done: int = 0, unit: str = "clips") -> Iterator[Callable[[int], None]]:
    """A bar with clips/s and time left on a terminal; when piped, a line a minute and one at the end.

    Args:
        what: what is being done, in a word.
        total: of how many clips.
        done: how many an earlier run has done already.
        unit: what is counted; bytes are shown as MB.

    Yields:
        A function to call with the number of clips done since the last call.
    """
    bar = Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TransferSpeedColumn() if unit == "bytes" else _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    started = said = time.monotonic()
    before = done

    def state() -> str:
        rate = (done - before) / max(time.monotonic() - started, 1e-9)
        if unit == "bytes":
            return f"{what:<9} {done / 1e6:,.0f}/{total / 1e6:,.0f} MB, {rate / 1e6:,.0f} MB/s"
        return f"{what:<9} {done}/{total} {unit}, {rate:,.{0 if rate >= 10 else 1}f} {unit}/s"

    with bar:
        task = bar.add_task(what, total=total, completed=done)

        def advance(count: int) -> None:
            nonlocal done, said
            done += count
            bar.update(task, advance=count)
            if bar.disable and time.monotonic() - said > LINE_EVERY and before < done < total:
                said = time.monotonic()
                left = (said - started) * (total - done) / (done - before)
                console.print(f"{state()}, {duration(left)} left")

        yield advance
    if bar.disable:
        console.print(state())


def duration(seconds: float) -> str:
    """Seconds in words: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
