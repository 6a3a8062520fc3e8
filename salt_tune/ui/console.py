"""What all commands share: the console, and one-line errors with exit code 2."""

import errno
import os
import signal
import sys
import threading
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.text import Text

from analysis.errors import RunError
from analysis.text import printable
from salt_tune.ui.full_disk import RUN_AGAIN, no_space
from salt_tune.ui.signals import WORDS, Stopped, obeyed
from trainable.errors import UserError

UNLIMITED = 10_000  # columns, of lines that are not to be broken
PIPED_WIDTH = 160  # rich takes 80 columns where there is no terminal, which squeezes tables for no reason


class Deserted(KeyboardInterrupt):
    """Whoever read the output has left: the command ends as after Ctrl-C."""


class PlainConsole(Console):
    """A console that shows the texts it is given letter by letter: their control characters become visible.

    Warnings go to the standard error, beside what may be JSON or is piped on. Its reader may leave; what is said last
    then goes there too.

    Attributes:
        deserted: whether the reader has left.
        hushed: whether only warnings are shown, see `hush`.
    """

    deserted = False
    hushed = False

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

    def draw(self, drawn: Any) -> None:
        """Prints what fits itself to the terminal; what is piped is as wide as its lines are, without blanks behind."""
        if self.is_terminal:
            self.print(drawn, soft_wrap=False)
            return
        for line in self.render_lines(drawn, self.options.update(width=UNLIMITED), pad=False):
            self.out("".join(segment.text for segment in line).rstrip(), highlight=False)

    def hush(self) -> None:
        """Prints nothing more but warnings and last words, and those on the standard error."""
        self.hushed = self.quiet = True

    def warn(self, text: str) -> None:
        """Prints a warning in a line, on the standard error; a terminal that shows both has it above what is drawn."""
        if self.is_terminal and sys.stderr.isatty():
            self.last_words(f"warning: {text}")
        else:
            _say_aside(f"warning: {text}")

    def last_words(self, text: str) -> None:
        """Prints what must be read, such as how to go on; on the standard error where the output has no reader."""
        if self.deserted or self.hushed:
            _say_aside(text)
        else:
            self.print(text)


def _say_aside(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


def _to_nowhere() -> None:
    """Lets the standard output go nowhere, so that Python can flush it as it exits."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _closed_streams() -> tuple[str, ...]:
    """Replaces the standard streams that the command was started without; what is written to them goes nowhere.

    Otherwise the next file that is opened would be the standard output of all that the command starts.
    """
    closed = tuple(name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None)
    for name in closed:
        mode = "r" if name == "stdin" else "w"
        setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
    return closed


CLOSED = _closed_streams()

console = PlainConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH)

USER_ERROR = 2
INTERRUPTED = 130

_LEAVING = threading.Lock()


def fail(message: str) -> NoReturn:
    """Prints one line on the standard error and exits with code 2."""
    print(f"error: {printable(message.strip())}", file=sys.stderr)
    sys.exit(USER_ERROR)


def _parting(number: int) -> str:
    """Returns what is said when a signal, or a reader that has left, ends a command."""
    deserted = ", as its output is read no more; the same command goes on" if console.deserted else ""
    return f"{WORDS[signal.Signals(number)]}{deserted}"


def _leave(number: int) -> NoReturn:
    """Ends the command at once, without the interpreter's own end; says so once, whichever threads come here."""
    with _LEAVING:
        print(_parting(number), file=sys.stderr, flush=True)
        os._exit(128 + number)


class OneLineErrors(click.Command):
    """A click command with errors of one line, without usage or traceback."""

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
            where = f"{error.filename}: " if error.filename else ""
            what = no_space(RUN_AGAIN) if error.errno == errno.ENOSPC else error.strerror or error
            fail(f"{where}{what}")
        sys.exit(result if isinstance(result, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the body of the command; see `click.Command`: its `main` adds an empty line to a KeyboardInterrupt."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.Abort from error
