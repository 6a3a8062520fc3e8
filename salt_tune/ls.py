"""`python -m salt_tune.ls`: the runs in a folder, from their files alone."""

from pathlib import Path
from typing import Any

import click

from analysis.errors import RunError
from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.options import Folder
from salt_tune.runs.facts import search_facts
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size
from salt_tune.ui.listing import JSON, print_json, print_rows
from trainable.errors import UserError
from trainable.files import folder_size

COLUMNS = {"name": None, "state": 100.0, "trials": 80.0, "best": 70.0, "metric": 30.0, "value": 90.0, "verdict": 20.0,
           "space": 40.0, "created": 50.0, "size": 60.0, "error": 95.0}  # fmt: skip


@click.command(cls=Command, example="python -m salt_tune.ls --runs /nvme/runs")
@click.option("--runs", cls=Flag, type=Folder(), default=Path("runs"), show_default=True, help="Folder of the runs.")
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(runs: Path, *, as_json: bool) -> int:
    """List the searches in a folder, the oldest first: where each stands, and what is best in it."""
    if not runs.is_dir():
        raise UserError(f"{runs}: no such folder, and must be that of the runs; --runs names another")
    directories = [RunDirectory(path) for path in sorted(runs.iterdir()) if RunDirectory(path).manifest.is_file()]
    rows = sorted((_row(run) for run in directories), key=lambda row: str(row["created"] or ""))
    if as_json:
        print_json(rows)
    elif not rows:
        console.print(f"{runs}: no runs yet")
    else:
        said = [{**row, "trials": _trials(row), "size": byte_size(row["bytes"])} for row in rows]
        print_rows([{**row, "created": str(row["created"] or "-")[:16].replace("T", " ")} for row in said], COLUMNS)
    return 0


def _row(run: RunDirectory) -> dict[str, Any]:
    """Returns what is listed of a run; what cannot be read of it is its error."""
    row: dict[str, Any] = dict.fromkeys(
        ("name", "run", "state", "created", "space", "begun", "asked", "complete", "best", "metric", "value", "verdict")
    )
    row |= {"name": run.path.name, "run": str(run.path), "bytes": folder_size(run.path), "error": None}
    try:
        manifest, facts = read_manifest(run), search_facts(run)
    except RunError as error:
        return {**row, "error": str(error)}
    trials, best = facts["trials"], facts["best"] or {}
    return {
        **row,
        "state": str(facts["state"]),
        "created": manifest.get("created"),
        "space": manifest["space"],
        **{name: trials[name] for name in ("begun", "asked", "complete")},
        "best": best.get("trial"),
        **{name: best.get(name) for name in ("metric", "value", "verdict")},
    }


def _trials(row: dict[str, Any]) -> str | None:
    return None if row["begun"] is None else f"{row['begun']}/{row['asked']}"


if __name__ == "__main__":
    main()
