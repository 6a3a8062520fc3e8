"""`python -m salt_tune.show`: a run, or one of its trials, with all that is known of it."""

import shlex
from pathlib import Path
from typing import Any

import click

from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.options import Folder
from salt_tune.runs.facts import search_facts
from salt_tune.ui.commands import Command, Flag
from salt_tune.ui.console import console
from salt_tune.ui.format import byte_size
from salt_tune.ui.listing import JSON, load_run, print_facts, print_json, print_rows, rows_of

ASKED = ("created", "command", "space", "store", "seed", "git", "hardware", "versions", "session")
RANKING = {"rank": 90.0, "trial": None, "state": 80.0, "epochs": 60.0, "value": 100.0, "low": 20.0, "high": 20.1,
           "behind": 70.0, "conclusion": 50.0, "probe_top1": 65.0, "effective_rank": 15.0, "verdict": 85.0,
           "seeds": 10.0}  # fmt: skip
REPORTS = {"resource": None, "val_loss": 100.0, "val_r2": 80.0, "probe_top1": 90.0, "effective_rank": 50.0,
           "train_loss": 40.0, "grad_norm": 20.0, "clips_per_second": 30.0, "status": 60.0}  # fmt: skip


@click.command(cls=Command, example="python -m salt_tune.show runs/first T3")
@click.argument("path", metavar="RUN", type=Folder())
@click.argument("trial", required=False)
@click.option("--json", "as_json", cls=Flag, is_flag=True, help=JSON)
def main(path: Path, trial: str | None, *, as_json: bool) -> int:
    """Show what RUN was asked, on which code and machine, and its ranking; or one TRIAL: values, reports, decisions."""
    run = RunDirectory(path)
    manifest = read_manifest(run)
    if trial is None:
        _show_run(run, manifest, as_json=as_json)
    else:
        _show_trial(run, trial, as_json=as_json)
    return 0


def _show_run(run: RunDirectory, manifest: dict[str, Any], *, as_json: bool) -> None:
    import analysis

    loaded, facts = load_run(run.path), search_facts(run)
    ranking = analysis.ranking(loaded)
    values = loaded.trials.set_index("trial").reindex(ranking["trial"])[loaded.parameters].reset_index(drop=True)
    rows = rows_of(ranking)
    for row, parameters in zip(rows, rows_of(values), strict=True):
        row["parameters"] = parameters
    asked = {name: manifest.get(name) for name in ASKED}
    known = {"run": str(run.path), "name": run.path.name, "state": str(facts["state"])}
    best = {name: loaded.summary[name] for name in ("best", "recommended", "tied", "nothing_to_promote")}
    if as_json:
        print_json({**known, "asked": asked, **best, "ranking": rows})
        return
    git, hardware, store = asked["git"] or {}, asked["hardware"] or {}, manifest["store"]
    print_facts(
        {
            **known,
            "created": asked["created"],
            "command": shlex.join(asked["command"] or []),
            "space": asked["space"],
            "store": f"{store['path']}, fingerprint {str(store.get('fingerprint', '-'))[:12]}",
            "code": f"{git['commit'][:12]}{', with changes' if git['dirty'] else ''}" if git else None,
            "machine": ", ".join([f"{hardware['cores']} cores of {hardware['cpu']}", *hardware["gpus"]])
            if hardware
            else None,
            "versions": ", ".join(
                f"{name} {version}" for name, version in (asked["versions"] or {}).items() if version
            ),
            "best": best["best"],
            "recommended": best["recommended"],
            "tied": ", ".join(best["tied"]),
        }
    )
    if rows:
        console.print()
        print_rows(
            [{**row, **{f"{name}": value for name, value in row["parameters"].items()}} for row in rows],
            {**RANKING, **{name: 60 - place for place, name in enumerate(loaded.parameters)}},
        )


def _show_trial(run: RunDirectory, trial: str, *, as_json: bool) -> None:
    loaded = load_run(run.path)
    loaded.clip_losses(trial)  # which names the trials there are
    (row,) = rows_of(loaded.trials[loaded.trials["trial"] == trial])
    config = {name.removeprefix("config."): row.pop(name) for name in [*row] if name.startswith("config.")}
    config |= {name: row.pop(name) for name in loaded.parameters}
    reports = rows_of(loaded.reports[loaded.reports["trial"] == trial].drop(columns="trial"))
    decisions = rows_of(loaded.decisions[loaded.decisions["trial"] == trial].drop(columns="trial"))
    decisions = [{name: value for name, value in line.items() if value is not None} for line in decisions]
    traceback, checkpoint = run.error(trial), run.checkpoint(trial)
    files = {
        "traceback": str(traceback) if traceback.exists() else None,
        "checkpoint": str(checkpoint) if checkpoint.exists() else None,
    }
    if as_json:
        print_json({"run": str(run.path), **row, "config": config, "reports": reports, "decisions": decisions, **files})
        return
    size = byte_size(checkpoint.stat().st_size) if files["checkpoint"] else ""
    print_facts({**row, **files, "checkpoint": f"{files['checkpoint']}, {size}" if size else None})
    console.print()
    print_facts({f"{'* ' if name in loaded.parameters else '  '}{name}": value for name, value in config.items()})
    for what, rows, keep in (
        ("reports", reports, REPORTS),
        ("decisions", decisions, {"event": None, "start": 50.0, "milestone": 60.0, "resource": 70.0, "score": 65.0,
                                  "state": 80.0, "reason": 90.0}),
    ):  # fmt: skip
        if rows:
            console.print(f"\n{what}")
            print_rows(rows, keep)


if __name__ == "__main__":
    main()
