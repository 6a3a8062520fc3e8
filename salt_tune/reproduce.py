"""`python -m salt_tune.reproduce`: how to train a trial again, and what differs here from where it was trained."""

import json
import os
from pathlib import Path
from typing import Any

import click

from analysis.errors import RunError
from analysis.run_directory.journal import read_trials
from analysis.run_directory.paths import RunDirectory, read_manifest
from analysis.run_directory.trials import Trial
from salt_tune.options import Folder
from salt_tune.runs.provenance import hardware, provenance
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import amount, shell_command
from salt_tune.ui.listing import JSON, print_json, print_rows
from trainable.errors import UserError
from trainable.registry import nearest
from trainable.task import find_task

MACHINE = ("cpu", "gpus")  # of the hardware, what results may depend on


@click.command(cls=Command, example="python -m salt_tune.reproduce runs/first T3")
@click.argument("path", metavar="RUN", type=Folder())
@click.argument("trial")
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(path: Path, trial: str, *, as_json: bool) -> int:
    """Print the command that trains TRIAL of RUN again, and what differs here: store, code, versions, hardware.

    It is a search of one trial, with the same values, seed, clips and masks, that is trained to the end.
    """
    run = RunDirectory(path)
    manifest, trials = read_manifest(run), read_trials(run, live=True)
    if trial not in trials:
        raise RunError(f"{run.path}: trial {trial!r}: {nearest(trial, tuple(trials))}")
    command, differs = _command(run, manifest, trials[trial]), _differs(run, manifest)
    diff = str(run.diff) if run.diff.exists() else None
    if as_json:
        print_json({"run": str(run.path), "trial": trial, "command": command, "differs": differs, "diff": diff})
        return 0
    console.print(command)
    console.print()
    reached = trials[trial]
    if reached.resource < manifest["full"]:
        unit = manifest["resource"]
        stopped = f"{trial} was left after {amount(reached.resource, unit)} of {amount(manifest['full'], unit)}"
        console.draw(f"{stopped}; its reports until there are those to compare with")
    if diff:
        console.print(f"the code had changes beside its commit: git apply {diff}")
    if differs:
        print_rows(differs, {"what": None, "then": None, "now": None})
    else:
        console.draw("nothing that is known differs here: code, versions, processor, GPUs and store are the same")
    return 0


def _command(run: RunDirectory, manifest: dict[str, Any], trial: Trial) -> str:
    """Returns the search of this one trial: its values are the start, which every searcher begins with."""
    name = f"{run.path.name}-{trial.id}-again"
    return shell_command(
        "salt_tune.search", "--space", run.space, "--store", manifest["store"]["path"], "--name", name,
        "--trials", 1, "--seed", trial.seed, "--replicates", 0, "--set", "schedule.scheduler=none",
        "--set", f"start_from={json.dumps([trial.parameters])}",
    )  # fmt: skip


def _differs(run: RunDirectory, manifest: dict[str, Any]) -> list[dict[str, str | None]]:
    """Returns what is not as it was: `what`, `then` and `now`."""
    found = provenance(run)
    here = found.fields
    rows = _changes("version of ", manifest.get("versions") or {}, here["versions"])
    machine = hardware()
    rows += _changes("", {name: _text((manifest.get("hardware") or {}).get(name)) for name in MACHINE},
                     {name: _text(machine[name]) for name in MACHINE})  # fmt: skip
    then, now = manifest.get("git"), here["git"]
    commits = {"commit": then and then["commit"]}, {"commit": now and now["commit"]}
    rows += _changes("", *commits)
    before = run.diff.read_bytes() if run.diff.exists() else None
    if now and (found.diff != before or (now["dirty"] and found.diff is None)):
        rows.append({"what": "changes beside the commit", "then": _bytes(then), "now": _bytes(now)})
    return rows + _changes("store, ", *_stores(manifest))


def _bytes(commit: dict[str, Any] | None) -> str:
    return "not recorded" if commit is None else f"{commit['diff_bytes']:,} bytes" if commit["dirty"] else "none"


def _stores(manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what tells a store from another, as it was and as it is."""
    then, path = dict(manifest["store"]), Path(manifest["store"]["path"])
    task = find_task(manifest["task"])
    names = [name for name in task.same_data if name in then]
    try:
        now = task.open_data(path).facts()
    except (UserError, OSError) as error:
        return {"path": str(path)}, {"path": " ".join(str(error).split())}
    return {name: then[name] for name in names}, {name: now.get(name) for name in names}


def _changes(prefix: str, then: dict[str, Any], now: dict[str, Any]) -> list[dict[str, str | None]]:
    names = [name for name in now if name in then and then[name] != now[name]]
    return [
        {"what": f"{prefix}{name}", "then": _text(then[name]) or "not recorded", "now": _text(now[name])}
        for name in names
    ]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else os.fspath(str(value))


if __name__ == "__main__":
    main()
