"""How far a stage of a command is: a bar on a terminal, a line a minute when piped."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size, duration

LINE_EVERY = 60  # seconds between the lines of a long stage, when piped


class _Rate(ProgressColumn):
    """Clips a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} clips/s" if speed else "")


@contextmanager
def progress(what: str, total: int, done: int = 0, unit: str = "clips") -> Iterator[Callable[[int], None]]:
    """Shows a bar with clips/s and time left on a terminal; when piped, a line a minute and one at the end.

    Args:
        what: what is being done, in a word.
        total: of how many clips.
        done: how many an earlier run has done already.
        unit: what is counted; bytes are shown as sizes.

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
            return f"{what:<9} {byte_size(done)} of {byte_size(total)}, {byte_size(rate)}/s"
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
