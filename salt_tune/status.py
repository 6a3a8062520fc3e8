"""`python -m salt_tune.status`: how far a search or a promoted run is, from its files alone."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from analysis.run_directory.paths import FinalDirectory, RunDirectory, find_directory
from analysis.run_directory.progress import RunState, final_progress, search_progress
from salt_tune.options import Folder
from salt_tune.report.progress import final_lines, search_lines
from salt_tune.runs.watch import Watched, watch
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console


@click.command(cls=Command, example="python -m salt_tune.status runs/first")
@click.argument("path", metavar="RUN", type=Folder())
@click.option("--json", "as_json", cls=Flag, is_flag=True, help="Print one JSON object; docs/run-directory.md has it.")
def main(path: Path, *, as_json: bool) -> int:
    """Show whether RUN is running, and how far it is.

    RUN is the folder of a search, or of a final run such as runs/first/final/T3-20epochs. It is read, and nothing else:
    another process may run it.
    """
    directory = find_directory(path)
    facts = search_facts(directory) if isinstance(directory, RunDirectory) else final_facts(directory)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return 0
    for line in search_lines(facts) if isinstance(directory, RunDirectory) else final_lines(facts):
        console.print(line)
    return 0


def search_facts(run: RunDirectory) -> dict[str, Any]:
    """Returns what is shown of a search, as `--json` prints it.

    Raises:
        RunError: it cannot be read.
    """
    watched = watch(run)
    facts = search_progress(run, running=watched.running, killed=watched.killed)
    if watched.running and watched.holder:  # its time is written when it leaves
        since = datetime.fromisoformat(watched.holder.since)
        facts["spent"]["wall_seconds"] += (datetime.now().astimezone() - since).total_seconds()
    return {
        "kind": "search",
        **_who(watched),
        **facts,
        "finals": [final_facts(final) for final in run.finals()],
        "goes_on": _goes_on(watched, facts),
    }


def final_facts(final: FinalDirectory) -> dict[str, Any]:
    """Returns what is shown of a promoted run, as `--json` prints it.

    Raises:
        RunError: it cannot be read.
    """
    watched = watch(final)
    facts = final_progress(final, running=watched.running, killed=watched.killed)
    return {"kind": "final", **_who(watched), **facts, "goes_on": _goes_on(watched, facts)}


def _goes_on(watched: Watched, facts: dict[str, Any]) -> str | None:
    return watched.goes_on if facts["state"] in (RunState.STOPPED, RunState.KILLED) else None


def _who(watched: Watched) -> dict[str, Any]:
    """Returns which run it is, and which process holds it or was the last to."""
    path, holder = watched.directory.path, watched.holder
    process = None
    if holder:
        alive = (holder.alive or None) if watched.running else False
        process = {"pid": holder.pid, "host": holder.host, "alive": alive, "since": holder.since, "until": holder.until}
    return {"run": str(path), "name": path.name, "running": watched.running, "holder": process}


if __name__ == "__main__":
    main()
