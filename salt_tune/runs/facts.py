"""What is shown of a run, from its files alone: docs/run-directory.md, "Status", has the fields."""

from datetime import datetime
from pathlib import Path
from typing import Any

from analysis.run_directory.paths import FinalDirectory, RunDirectory, find_directory
from analysis.run_directory.progress import RunState, final_progress, search_progress
from salt_tune.runs.watch import Watched, watch


def facts_at(path: Path) -> dict[str, Any]:
    """Returns what is shown of the search or promoted run at `path`.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    directory = find_directory(path)
    return search_facts(directory) if isinstance(directory, RunDirectory) else final_facts(directory)


def search_facts(run: RunDirectory) -> dict[str, Any]:
    """Returns what is shown of a search.

    Raises:
        RunError: it cannot be read.
    """
    watched = watch(run)
    since = datetime.fromisoformat(watched.holder.since) if watched.running and watched.holder else None
    facts = search_progress(run, running=watched.running, killed=watched.killed, since=since)
    return {
        "kind": "search",
        **_process(watched),
        **facts,
        "finals": [final_facts(final) for final in run.finals()],
        "goes_on": _goes_on(watched, facts),
    }


def final_facts(final: FinalDirectory) -> dict[str, Any]:
    """Returns what is shown of a promoted run.

    Raises:
        RunError: it cannot be read.
    """
    watched = watch(final)
    facts = final_progress(final, running=watched.running, killed=watched.killed)
    return {"kind": "final", **_process(watched), **facts, "goes_on": _goes_on(watched, facts)}


def _goes_on(watched: Watched, facts: dict[str, Any]) -> str | None:
    return watched.goes_on if facts["state"] in (RunState.STOPPED, RunState.KILLED) else None


def _process(watched: Watched) -> dict[str, Any]:
    """Returns which run it is, and which process holds it or was the last to."""
    path, holder = watched.directory.path, watched.holder
    process = None
    if holder:
        alive = (holder.alive or None) if watched.running else False
        process = {"pid": holder.pid, "host": holder.host, "alive": alive, "since": holder.since, "until": holder.until}
    return {"run": str(path), "name": path.name, "running": watched.running, "holder": process}
