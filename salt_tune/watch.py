"""`python -m salt_tune.watch`: keeps up what `salt_tune.status` shows, of a run that any process runs."""

import json
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.live import Live

from salt_tune.options import Finite, Folder
from salt_tune.runs.facts import facts_at
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.progress_lines import change_line
from salt_tune.ui.search_screen import RunScreen

SHARE = 10  # of the time that a look takes, at least, lies between two: a run of many trials is read whole


@click.command(cls=Command, example="python -m salt_tune.watch runs/first")
@click.argument("path", metavar="RUN", type=Folder())
@click.option(
    "--every", cls=Flag, type=Finite(min=0.1), default=2.0, show_default=True, metavar="SECONDS",
    help="Between two looks at the run.",
)  # fmt: skip
@click.option(
    "--json-lines", cls=Flag, is_flag=True, help="Print what `status --json` prints, as a line whenever it changes."
)
def main(path: Path, *, every: float, json_lines: bool) -> int:
    """Keep up what `status` shows of RUN, until no process runs it; Ctrl-C leaves it alone.

    Where the output is no terminal, each change is a line with its time.
    """
    facts, cost = _look(path)
    shown = facts

    def pause() -> bool:
        """Looks again after a while; tells whether there is more to come."""
        nonlocal facts, cost
        running = facts["running"]
        if running:
            time.sleep(max(every, SHARE * cost))
            facts, cost = _look(path)
        return bool(running)

    if console.is_terminal and not json_lines:
        with Live(get_renderable=lambda: RunScreen(lambda: facts), console=console, refresh_per_second=2):
            while pause():
                pass
        return 0
    _print(facts, json_lines=json_lines)
    while pause():
        if _gist(facts) != _gist(shown):
            shown = facts
            _print(facts, json_lines=json_lines)
    return 0


def _look(path: Path) -> tuple[dict[str, Any], float]:
    """Returns what is shown of the run, and how many seconds it took to read it."""
    began = time.monotonic()
    return facts_at(path), time.monotonic() - began


def _gist(facts: Mapping[str, Any]) -> Any:
    """Returns what does not change by the passing of time."""
    return [facts["state"], facts.get("trials"), facts["last_report"] and facts["last_report"]["time"],
            [final["last_report"] and final["last_report"]["time"] for final in facts.get("finals", ())]]  # fmt: skip


def _print(facts: Mapping[str, Any], *, json_lines: bool) -> None:
    if json_lines:
        click.echo(json.dumps(facts))
    else:
        console.print(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {change_line(facts)}")


if __name__ == "__main__":
    main()
