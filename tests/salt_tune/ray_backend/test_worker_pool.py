"""Workers as Ray's actors: they start together, share the work, and one that dies takes nothing with it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, complaints, environment_of_commands, start_command
from tests.salt_tune.conftest import MINUTES, read_json, read_reports, search, wait_for
from tests.toy_task import SPACE

POOL = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from salt_tune.ray_backend.session import ThisMachine
from salt_tune.ray_backend.worker_pool import Lost, WorkerPool
from salt_tune.resources.allocation import Resources
from tests.salt_tune.ray_backend.test_trial_loop import RunSpec, Budget, TOY
from tests.toy_task import ToyData
from trainable.worker import TrialSpec

folder = Path(sys.argv[1])
run = RunSpec(TOY, str(folder), {"clips": 24}, Budget("epoch", 1.0, [0.5, 1.0], [1.0]), str(folder / "checkpoints"),
    str(folder / "{trial}-{resource}.parquet"), 1, "cpu")
told = []
place = ThisMachine(Resources(2, 1, 0.0))
with place.session(folder, None, ToyData(folder)) as nodes:
    signs = folder / "signs"
    signs.mkdir()
    pool = WorkerPool(nodes, lambda node: run, signs)
    def came(seconds=60):
        for trial, slot, report in pool.wait(seconds):
            lost = {"lost": report.why, "traceback": report.traceback} if isinstance(report, Lost) else report
            told.append({"trial": trial.id, "slot": slot.number, **lost})
    pool.submit(TrialSpec("T0", {"fate": "killed"}), 60.0)
    pool.submit(TrialSpec("T1", {"fate": "crash"}), 60.0)
    assert (pool.free, pool.busy) == (0, 2)
    assert list(pool.wait(0.0)) == []
    while pool.busy:
        came()
    for name in ("T0", "T1"):
        pool.submit(TrialSpec(name, {"seconds": 1.0}), 60.0)
    while pool.busy:
        came()
    pool.submit(TrialSpec("T1", {}, 0.5), 60.0)
    came()
    pool.close()
print(json.dumps(told))
"""


def test_workers_that_are_lost_are_replaced_in_their_slots(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", POOL, str(tmp_path)],
        cwd=ROOT, env=environment_of_commands(), capture_output=True, text=True, timeout=MINUTES, check=False,
    )  # fmt: skip
    assert (done.returncode, complaints(done.stderr)) == (0, ""), done.stderr
    *lost, first, second, last = json.loads(done.stdout.splitlines()[-1])
    killed, crashed = sorted(lost, key=lambda each: str(each["trial"]))
    assert (killed["lost"], killed["traceback"]) == ("its process died", "")
    assert crashed["lost"] == "it crashed" and "RuntimeError: it crashed" in crashed["traceback"]
    assert {killed["slot"], crashed["slot"]} == {first["slot"], second["slot"]} == {0, 1}
    assert {first["resource"], second["resource"]} == {0.5}
    holder = next(each["slot"] for each in (first, second) if each["trial"] == "T1")
    assert (last["trial"], last["slot"], last["resource"], last["status"]) == ("T1", holder, 1.0, "complete")


def test_both_workers_do_their_share(tmp_path: Path) -> None:
    """Both start at once, so that neither waits while the other trains everything; `benchmarks.hands` has figures."""
    space = {**SPACE, "fixed": {"seconds": 3.0}, "trials": 6}
    (tmp_path / "shared.json").write_text(json.dumps(space), encoding="utf-8")
    words = ("--space", tmp_path / "shared.json", "--store", tmp_path, "--concurrent", 2)
    ended = search(tmp_path, *words, name="shared")
    assert (ended.exit_code, complaints(ended.errors)) == (0, ""), ended.output
    reports = read_reports(ended.path / "reports.jsonl")
    slots = [report["slot"] for report in reports]
    first = [slots.index(slot) for slot in (0, 1)]
    assert max(reports[at]["submitted"] for at in first) < reports[0]["time"]
    both = slots[max(first) :]  # on a busy machine, one of them is there some seconds later
    assert min(both.count(slot) for slot in (0, 1)) >= 0.8 / 2 * len(both)
    assert read_json(ended.path / "run.json")["resources"]["concurrent"] == 2


def test_a_worker_that_hangs_is_killed_and_its_trial_goes_on(tmp_path: Path) -> None:
    """One is stopped as SIGSTOP stops it: it does not die, and hears nothing but SIGKILL."""
    space = {
        **SPACE,
        "fixed": {"seconds": 4.0},
        "schedule": {"scheduler": "none", "epochs": 1, "reports": 8},
        "trials": 2,
    }
    (tmp_path / "hung.json").write_text(json.dumps(space), encoding="utf-8")
    words = ("--space", tmp_path / "hung.json", "--store", tmp_path, "--runs", tmp_path, "--name", "run")
    process = start_command(tmp_path, "search", *words, "--concurrent", 2, "--heartbeat", 6, "--replicates", 0)
    signs = tmp_path / "run" / ".workers" / "worker-1.json"
    reports = tmp_path / "run" / "reports.jsonl"
    wait_for(lambda: {report["trial"] for report in read_reports(reports)} == {"T0", "T1"}, process)
    os.kill(read_json(signs)["pid"], signal.SIGSTOP)
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, complaints(errors)) == (0, ""), output
    (told,) = [line for line in output.splitlines() if "gave no sign of life for" in line]
    assert "s, and was killed; goes on from 0." in told and told.endswith(" epochs in a new process")
    summary = read_json(tmp_path / "run" / "summary.json")
    assert [trial["state"] for trial in summary["trials"]] == ["complete"] * 2
    trained = [(report["trial"], report["resource"]) for report in read_reports(reports)]
    assert len(trained) == len(set(trained)) == 16
    assert not signs.parent.exists()


def test_a_limit_ends_a_search_which_can_go_on(tmp_path: Path) -> None:
    """The environment names another Ray, and opens this one: the first is ignored, the second told."""
    env = {"RAY_ADDRESS": "192.0.2.9:6379", "RAY_AUTH_MODE": "disabled"}
    (tmp_path / "limited.json").write_text(json.dumps({**SPACE, "trials": 3}), encoding="utf-8")
    words = ("--space", tmp_path / "limited.json", "--store", tmp_path, "--set", "schedule.scheduler=none")
    ended = search(tmp_path, *words, "--concurrent", 1, "--budget", "4epochs", name="run", env=env)
    assert (ended.exit_code, complaints(ended.errors)) == (0, ""), ended.output
    assert "RAY_ADDRESS = 192.0.2.9:6379: is ignored, as a search starts a Ray of its own\n" in ended.output
    assert "warning: RAY_AUTH_MODE = disabled: all that reach this machine's ports can run code as you" in ended.errors
    assert "--budget 4epochs is reached: waits for the reports under way" in ended.output
    assert "To go on: python -m salt_tune.search --resume" in ended.output
    assert ended.summary["best"] == "T0" and ended.summary["resource_trained"] == 4
    again = start_command(tmp_path, "search", "--resume", ended.path)
    output, errors = again.communicate(timeout=MINUTES)
    assert (again.returncode, complaints(errors)) == (0, ""), output
    assert [trial["state"] for trial in ended.summary["trials"]] == ["complete"] * 3
