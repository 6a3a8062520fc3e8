"""Runs for the commands that look at runs, and what docs/runs.md says that they print."""

import json
import re
from pathlib import Path
from typing import Any

from analysis.run_directory.events import JobStarted, ResultReported, TrialAdded, TrialEnded
from analysis.run_directory.journal import encode
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from analysis.run_directory.trials import TrialState
from salt_tune.report.summary import write_summary
from salt_tune.space.description import describe
from salt_tune.space.space_file import dump_space
from tests.conftest import ROOT
from tests.salt_tune.controlled import World
from tests.salt_tune.made_trials import BASELINES, make_report, make_space, write_losses

BEST = "T5"  # of `make_run`
STORE = {"path": "/stores/s", "fingerprint": "f" * 64, "train_clips": 96, "val_clips": 64}
WORLD = World(
    make_space(
        trials=6, searcher="random", schedule={"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}
    ),
    lost={("T1", 0.5): "failed"},
)


def begin_run(path: Path, world: World = WORLD, **changes: Any) -> RunDirectory:
    """A run that has been asked for, and nothing more."""
    run = RunDirectory(path)
    run.path.mkdir(parents=True)
    asked = {
        "format_version": FORMAT_VERSION, "created": "2026-12-01T10:00:00+00:00",
        "command": ["search", "--trials", "6"], "asked": world.space.trials, "baselines": BASELINES, "seed": 0,
        "store": STORE,
    }  # fmt: skip
    run.manifest.write_text(json.dumps({**asked, **describe(world.space), **changes}))
    run.space.write_text(dump_space(world.space))
    return run


def make_run(path: Path, world: World = WORLD, **changes: Any) -> RunDirectory:
    """A search that is over, with the losses of its clips."""
    run = begin_run(path, world, **changes)
    controller = world.run(world.controller(run.path))
    for trial in controller.trials.values():
        for point, score in trial.scores.items():
            write_losses(run, trial.id, point, score)
    controller.close(9.0, over=True)
    write_summary(
        run, world.space, list(controller.trials.values()),
        store=STORE, baselines=BASELINES, seed=0, wall_seconds=9.0, over=True,
    )  # fmt: skip
    run.lock.write_text("")
    return run


def write_trials(run: RunDirectory, trials: int, *, failed: bool = False) -> None:
    """Writes the journal of so many trials at their first rung, or of trials that all failed."""
    lines, reports = [], []
    for number in range(trials):
        name, config = f"T{number}", WORLD.space.hyperparameters({"lr": 1e-3}, 0)
        lines += [encode(TrialAdded(name, {"lr": 1e-3}, config, 0)), encode(JobStarted(name, 0.0, 0.5, "a test"))]
        if failed:
            lines.append(encode(TrialEnded(name, TrialState.FAILED, "OSError: gone \x1b[2J")))
        else:
            loss = 0.5 + number / 10000
            lines.append(encode(ResultReported(name, 0.5, "running", loss)))
            reports.append(make_report(0.5, loss, trial=name, probe_top1=None))
    run.decisions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run.reports.write_text("".join(json.dumps(line) + "\n" for line in reports))


def documented(heading: str, title: str = "field") -> set[str]:
    """The fields in the table under a heading of docs/runs.md, whose first column has this title."""
    page = (ROOT / "docs" / "runs.md").read_text()
    section = page.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    table = section.partition(f"| {title} | ")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
    assert rows
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}
