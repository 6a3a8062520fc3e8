"""`python -m salt_tune.suggest`: what the next search should draw from."""

from pathlib import Path

import click

from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.options import Folder
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import shell_command
from salt_tune.ui.listing import JSON, load_run, print_json, print_rows, rows_of


@click.command(cls=Command, example="python -m salt_tune.suggest runs/first")
@click.argument("path", metavar="RUN", type=Folder())
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(path: Path, *, as_json: bool) -> int:
    """Suggest ranges to widen or narrow after RUN, each with its reason, and the command that does so."""
    import analysis

    run = RunDirectory(path)
    store = read_manifest(run)["store"]["path"]
    rows = rows_of(analysis.suggest(load_run(path)))
    settings = [word for row in rows for word in row["settings"].split()]
    words = [word for setting in settings for word in ("--set", setting)]
    command = shell_command("salt_tune.search", "--space", run.space, "--store", store, *words) if words else None
    if as_json:
        print_json({"run": str(run.path), "parameters": rows, "command": command})
        return 0
    if rows:
        said = [{**row, "now": _extent(row, ""), "next": _extent(row, "new_")} for row in rows]
        print_rows(said, {"parameter": None, "action": None, "now": 90.0, "next": 95.0})
        for row in rows:
            console.draw(f"{row['parameter']}: {row['reason']}")
    else:
        console.print(f"{run.path}: searches nothing that has a range")
    console.print(f"next: {command}" if command else "next: nothing tells that other ranges would be better")
    return 0


def _extent(row: dict[str, object], new: str) -> str:
    if row["action"] == "keep" and new:
        return "-"
    values = row["new_values" if new else "values"]
    return str(values) if values is not None else f"{row[f'{new}low']:g} to {row[f'{new}high']:g}"


if __name__ == "__main__":
    main()
