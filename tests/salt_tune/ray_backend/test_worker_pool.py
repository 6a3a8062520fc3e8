"""Workers as Ray's actors: they start together, share the work, and one that dies takes nothing with it."""

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.salt_tune.conftest import MINUTES, environment, read_json, read_reports, search
from tests.toy_task import SPACE

POOL = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from salt_tune.ray_backend.session import ray_session
from salt_tune.ray_backend.worker_pool import Lost, WorkerPool
from salt_tune.resources.allocation import Resources
from tests.salt_tune.ray_backend.test_trial_loop import RunSpec, Budget, TOY
from trainable.worker import TrialSpec

folder = Path(sys.argv[1])
run = RunSpec(TOY, str(folder), {"clips": 24}, Budget("epoch", 1.0, [0.5, 1.0], [1.0]), str(folder / "checkpoints"),
    str(folder / "{trial}-{resource}.parquet"), 1, "cpu")
resources = Resources(2, 1, 0.0)
told = []
with ray_session(resources):
    pool = WorkerPool(run, resources)
    def came(seconds=60):
        for trial, slot, report in pool.wait(seconds):
            lost = {"lost": report.why, "traceback": report.traceback} if isinstance(report, Lost) else report
            told.append({"trial": trial.id, "slot": slot, **lost})
    pool.submit(TrialSpec("T0", {"fate": "killed"}))
    pool.submit(TrialSpec("T1", {"fate": "crash"}))
    assert (pool.free, pool.busy) == (0, 2)
    assert list(pool.wait(0.0)) == []
    while pool.busy:
        came()
    for name in ("T0", "T1"):
        pool.submit(TrialSpec(name, {"seconds": 1.0}))
    while pool.busy:
        came()
    pool.submit(TrialSpec("T1", {}, 0.5))
    came()
    pool.close()
print(json.dumps(told))
"""


def test_workers_that_are_lost_are_replaced_in_their_slots(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", POOL, str(tmp_path)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=MINUTES, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    *lost, first, second, last = json.loads(done.stdout.splitlines()[-1])
    killed, crashed = sorted(lost, key=lambda each: str(each["trial"]))
    assert (killed["lost"], killed["traceback"]) == ("its process died", "")
    assert crashed["lost"] == "it crashed" and "RuntimeError: it crashed" in crashed["traceback"]
    assert {killed["slot"], crashed["slot"]} == {first["slot"], second["slot"]} == {0, 1}
    assert {first["resource"], second["resource"]} == {0.5}
    holder = next(each["slot"] for each in (first, second) if each["trial"] == "T1")
    assert (last["trial"], last["slot"], last["resource"], last["status"]) == ("T1", holder, 1.0, "complete")


def test_both_workers_do_their_share(tmp_path: Path) -> None:
    """Both start at once, so that neither waits while the other trains everything."""
    space = {**SPACE, "fixed": {"seconds": 6.0}, "trials": 6}
    (tmp_path / "shared.json").write_text(json.dumps(space), encoding="utf-8")
    words = ("--space", tmp_path / "shared.json", "--store", tmp_path, "--concurrent", 2)
    ended = search(tmp_path, *words, name="shared")
    assert (ended.exit_code, ended.errors) == (0, ""), ended.output
    slots = [report["slot"] for report in read_reports(ended.path / "reports.jsonl")]
    assert min(slots.count(slot) for slot in (0, 1)) >= 0.8 / 2 * len(slots)
    assert read_json(ended.path / "run.json")["resources"]["concurrent"] == 2
