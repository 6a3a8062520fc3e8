"""What is said of a run: while it runs, after it was killed, at its end, and of a folder that is none."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.paths import FORMAT_VERSION, FinalDirectory, RunDirectory
from salt_tune.report.summary import write_summary
from salt_tune.space.description import describe
from tests.conftest import ROOT, Command
from tests.salt_tune.controlled import World
from tests.salt_tune.made_trials import BASELINES, make_report, make_space
from tests.salt_tune.watching import held, rewrite

STORE = {"path": "/stores/s"}
WORLD = World(
    make_space(trials=6, schedule={"scheduler": "asha", "epochs": 3, "rungs": [0.5, 1], "reports": 6}),
    lost={("T1", 0.5): "failed", ("T2", 0.5): "diverged"},
)
COUNTS = ("waiting", "running", "paused", "complete", "pruned", "failed", "diverged", "out_of_memory")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A search that is half done."""
    begun = RunDirectory(tmp_path / "run")
    begun.path.mkdir()
    asked = {"format_version": FORMAT_VERSION, "baselines": BASELINES, "seed": 0, "store": STORE, "asked": 6}
    begun.manifest.write_text(json.dumps({**asked, **describe(WORLD.space)}))
    controller = WORLD.run(WORLD.controller(begun.path), reports=5)
    assert controller.next() is not None
    return begun


@pytest.fixture
def final(run: RunDirectory) -> FinalDirectory:
    """A promoted run, 4.5 of 20 epochs on its way."""
    begun = run.final("T3", 20)
    begun.path.mkdir(parents=True)
    ago = datetime.now(UTC) - timedelta(seconds=30)
    reports = [make_report(epoch, 0.5 - epoch / 100, trial="T3", time=ago.isoformat()) for epoch in (1.5, 3.0, 4.5)]
    for report in reports:
        del report["resource"]
    begun.reports.write_text("".join(json.dumps(report) + "\n" for report in reports) + '{"trial": "T3", "ep')
    return begun


def status(here: Command, path: Path) -> tuple[dict[str, Any], str]:
    """What --json prints, and what is printed without it."""
    done, told = here("status", path, "--json"), here("status", path)
    assert (done.returncode, done.stderr, told.returncode, told.stderr) == (0, "", 0, "")
    return json.loads(done.stdout), told.stdout


def end(run: RunDirectory, over: bool) -> None:
    """What the process of a search leaves, at its end or before."""
    controller = WORLD.controller(run.path)
    if over:
        WORLD.run(controller)
    controller.close(9.0, over=over)
    write_summary(
        run, WORLD.space, list(controller.trials.values()),
        store=STORE, baselines=BASELINES, seed=0, wall_seconds=9.0, over=over,
    )  # fmt: skip


def test_a_search_that_runs(run: RunDirectory, here: Command) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file() and path != run.lock}
    with held(run.lock) as process:
        rewrite(run.lock, since=(datetime.now().astimezone() - timedelta(minutes=30)).isoformat())
        facts, told = status(here, run.path)
    assert {path: path.read_bytes() for path in before} == before
    assert set(facts) == {"kind", "run", "name", "running", "holder", "state", "trials", "best", "spent",
                          "clips_per_second", "time_left", "ranking", "last_report", "finals",
                          "goes_on"}  # fmt: skip
    assert (facts["kind"], facts["run"], facts["name"]) == ("search", str(run.path), "run")
    assert (facts["state"], facts["running"], facts["goes_on"], facts["finals"]) == ("running", True, None, [])
    assert set(facts["holder"]) == {"pid", "host", "alive", "since", "until"}
    assert (facts["holder"]["pid"], facts["holder"]["alive"], facts["holder"]["until"]) == (process.pid, True, None)
    trials = facts["trials"]
    assert set(trials) == {"asked", "begun", "replicates", *COUNTS}
    assert (trials["asked"], trials["replicates"], trials["failed"], trials["diverged"]) == (6, 0, 1, 1)
    assert trials["running"] == 1 and sum(trials[state] for state in COUNTS) == trials["begun"]
    assert set(facts["best"]) == {
        "trial", "state", "score", "metric", "value", "resource", "epochs", "verdict"
    }  # fmt: skip
    assert (facts["best"]["metric"], facts["best"]["score"]) == ("val_loss", facts["best"]["value"])
    assert set(facts["spent"]) == {"resource", "trained", "without_pruning", "training_seconds", "wall_seconds",
                                   "budget"}  # fmt: skip
    assert facts["spent"]["without_pruning"] == 3 * trials["begun"] > facts["spent"]["trained"] > 0
    assert 1800 <= facts["spent"]["wall_seconds"] < 3600
    assert f"{run.path}: running for 30 min, since " in told and f" as process {process.pid}\n" in told
    assert f"{trials['begun']} of 6 begun: 1 running, " in told and "2 lost" in told
    assert f"{facts['best']['trial']}  val_loss " in told and "go on" not in told
    assert facts["ranking"][0]["trial"] not in ("T1", "T2")
    assert sorted(row["trial"] for row in facts["ranking"]) == sorted(f"T{number}" for number in range(trials["begun"]))
    assert facts["clips_per_second"] is None or facts["clips_per_second"] > 0


def test_a_search_that_was_killed_stopped_and_ended(run: RunDirectory, here: Command) -> None:
    with held(run.lock) as process:
        process.send_signal(signal.SIGKILL)
    facts, told = status(here, run.path)
    command = f"python -m salt_tune.search --resume {run.path}"
    assert (facts["state"], facts["running"], facts["goes_on"]) == ("killed", False, command)
    assert (facts["holder"]["pid"], facts["holder"]["alive"]) == (process.pid, False)
    assert f"killed; process {process.pid} ran it from " in told and f"go on   {command}\n" in told
    assert "1 interrupted" in told and "running" not in told
    for over, state in ((False, "stopped"), (True, "finished")):
        with held(run.lock) as process:
            end(run, over=over)
            process.communicate("")
        facts, told = status(here, run.path)
        assert (facts["state"], facts["goes_on"]) == (state, None if over else command)
        assert facts["holder"]["until"] is not None and f"{state}; process {process.pid} ran it from " in told
    assert facts["spent"]["wall_seconds"] == 18.0 and facts["trials"]["complete"] > 0
    assert facts["best"]["state"] == "complete"


def test_a_final_run(run: RunDirectory, final: FinalDirectory, here: Command) -> None:
    with held(final.lock, "--trial", "T3", "--epochs", "20"):
        facts, told = status(here, final.path)
        assert set(facts) == {"kind", "run", "name", "running", "holder", "state", "trial", "epoch", "epochs",
                              "val_loss", "clips_per_second", "seconds_left", "error", "last_report",
                              "goes_on"}  # fmt: skip
        assert (facts["kind"], facts["state"], facts["trial"]) == ("final", "running", "T3")
        assert (facts["epoch"], facts["epochs"], facts["val_loss"], facts["clips_per_second"]) == (4.5, 20, 0.455, 210)
        assert facts["seconds_left"] == pytest.approx(4 * 15.5)
        assert 30 <= facts["last_report"]["age_seconds"] < 300
        assert "epoch 4.5 of 20, val_loss 0.4550, 210 clips/s, about 62 s of training left\n" in told
        (listed,), all_told = status(here, run.path)[0]["finals"], status(here, run.path)[1]
        assert {**listed, "last_report": None} == {**facts, "last_report": None}
        assert "final   T3-20epochs: running " in all_told and "killed" not in all_told
    facts, _ = status(here, final.path)
    command = f"python -m salt_tune.promote {run.path} --trial T3 --epochs 20"
    assert (facts["state"], facts["goes_on"]) == ("killed", command)
    final.error.write_text("Traceback\nOSError: no such disk\n")
    facts, told = status(here, final.path)
    assert facts["error"].endswith("no such disk") and "ended by an error: OSError: no such disk" in told
    final.card.touch()
    facts, told = status(here, final.path)
    assert (facts["state"], facts["goes_on"], facts["seconds_left"]) == ("finished", None, 0.0) and "left" not in told


def test_what_runs_on_another_host_is_named(run: RunDirectory, here: Command) -> None:
    with held(run.lock):
        rewrite(run.lock, host="node7", boot="another")
        facts, told = status(here, run.path)
    assert (facts["running"], facts["holder"]["alive"], facts["holder"]["host"]) == (True, None, "node7")
    assert "on host node7, which cannot be seen from here" in told


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_folder_that_is_no_run(run: RunDirectory, final: FinalDirectory, here: Command, command: str) -> None:
    (run.path.parent / "empty").mkdir()
    (final.path.parent / "notes").mkdir()
    for path, words in (
        (run.path.parent / "nowhere", "no such run"),
        (run.path.parent / "empty", "has no run.json, and must be the folder of a search, or RUN/final/NAME"),
        (final.path.parent / "notes", "has no run.json, and must be"),
        (run.path.parent, "has no run.json, and must be"),
        (final.path.parent / "T3-40epochs", "no such run"),
        (run.manifest, "no such run"),
    ):
        done = here(command, path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(f"error: {path}: {words}")
    manifest = json.loads(run.manifest.read_text())
    run.manifest.write_text(json.dumps({**manifest, "format_version": 1}))
    assert "format_version 1" in here(command, run.path).stderr


def test_a_damaged_line_is_named(run: RunDirectory, here: Command) -> None:
    lines = run.decisions.read_bytes().splitlines(keepends=True)
    run.decisions.write_bytes(b"".join([lines[0], b"{" + lines[1], *lines[2:]]))
    done = here("status", run.path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "decisions.jsonl: line 2 is damaged" in done.stderr


@pytest.mark.parametrize("time", ["yesterday", "2026-12-01T10:00:00"])
def test_a_time_that_is_none_is_named(run: RunDirectory, here: Command, time: str) -> None:
    lines = run.reports.read_text().splitlines()
    last = json.dumps({**json.loads(lines[-1]), "time": time})
    run.reports.write_text("\n".join([*lines[:-1], last]) + "\n")
    done = here("status", run.path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"time is {time!r}, and must be an ISO 8601 time with its zone" in done.stderr


def test_it_loads_neither_ray_nor_torch_nor_pandas(run: RunDirectory) -> None:
    program = (
        "import sys\nfrom salt_tune.cli import main\n"
        "try: main.main(args=['status', sys.argv[1], '--json'])\n"
        "finally: print(*sorted({'ray', 'torch', 'pandas', 'numpy', 'optuna'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(run.path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert (json.loads(done.stdout)["name"], done.stderr.strip()) == ("run", "")
