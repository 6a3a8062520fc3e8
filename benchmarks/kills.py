"""`python -m benchmarks.kills [N]`: searches that are killed at random moments, and what is left of them.

Kills the driver, the worker or every process of a search, N times in all; resumes it, and so on until it ends. The
moments are drawn uniformly over the time of an undisturbed search, from when a worker is there. A search passes if it
then is, to the last digit, that one: the same decisions, losses and winner, and no (trial, resource) trained twice.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks import machine

KILLS = 50
SEED = 0
KINDS = ("driver", "worker", "everything")
CELLS = (("asha", "tpe"), ("freeze_thaw", "random"), ("asha", "random"), ("freeze_thaw", "tpe"))
PATIENCE = 600.0  # seconds that a search may take
SPACE: dict[str, Any] = {
    "name": "kills",
    "fixed": {"student": "vit_tiny_patch16_224", "student_dim": 32, "student_depth": 1, "student_heads": 2,
              "predictor_dim": 32, "predictor_num_heads": 2, "batch_size": 4},
    "parameters": {
        "lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-1},
        "predictor_depth": {"type": "int", "low": 1, "high": 2},
    },
    "schedule": {"epochs": 2, "first_rung": 0.5, "reports": 4, "reduction_factor": 2},
    "evaluation": {"clips": 8, "panel_clips": 16},
    "trials": 6,
}  # fmt: skip
STORE = ("--synthetic", 24, "--size", 32, "--frames", 8, "--patch", 8, "--teacher-epochs", 1, "--store", "store")


def main() -> None:
    """Measures and writes results/kills-*.json, anew after each search: a benchmark cut short leaves one too."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    draw = random.Random(SEED)  # noqa: S311
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start(folder, "prepare", *STORE).communicate(timeout=PATIENCE)
        undisturbed: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}
        tried: Counter[str] = Counter()
        passed: Counter[str] = Counter()
        searches = good = 0
        while tried.total() < wanted:
            cell = CELLS[searches % len(CELLS)]
            undisturbed[cell] = seconds, expected = undisturbed.get(cell) or _undisturbed(folder, cell)
            name = f"{'-'.join(cell)}-{searches}"
            kills = _killed(folder, cell, name, seconds, draw, wanted - tried.total())
            found = course(folder / "runs" / name)
            wrong = [what for what, value in found.items() if value != expected[what]]
            searches, good, tried = searches + 1, good + (not wrong), tried + kills
            passed += Counter() if wrong else kills
            seconds = sum(one for one, _ in undisturbed.values()) / len(undisturbed)
            figures: dict[str, Any] = {"kills": tried.total(), "passed": passed.total()}
            figures |= {f"kills of the {kind}, passed": f"{tried[kind]}, {passed[kind]}" for kind in KINDS}
            figures |= {"searches, passed": f"{searches}, {good}"}
            figures |= {"seconds of an undisturbed search, from when a worker is there": round(seconds)}
            machine.write("kills", figures)
            print(f"{name} differs in {', '.join(wrong)}" if wrong else f"{name} is as undisturbed", flush=True)


def _undisturbed(folder: Path, cell: tuple[str, str]) -> tuple[float, dict[str, Any]]:
    """Measures how long an undisturbed search takes, from when a worker is there, and what it comes to."""
    process = _begin(folder, cell, "-".join(cell))
    while process.poll() is None and not _workers(process):
        time.sleep(0.01)
    up = time.monotonic()
    assert process.wait(PATIENCE) == 0
    return time.monotonic() - up, course(folder / "runs" / "-".join(cell))


def course(run: Path) -> dict[str, Any]:
    """Returns what a search decided, measured and found, and what is left of it."""
    reports = _lines(run / "reports.jsonl")
    times = Counter((trial, resource) for trial, resource, _ in {_key(report) for report in reports})
    summary = json.loads((run / "summary.json").read_text())
    return {
        "decisions": [entry for entry in _lines(run / "decisions.jsonl") if entry["event"] != "session"],
        "losses": {(report["trial"], report["resource"]): report["val_loss"] for report in reports},
        "trained more than once": [point for point, count in times.items() if count > 1],
        "winner": summary["best"],
        "tied": summary["tied"],
        "states": [trial["state"] for trial in summary["trials"]],
        "checkpoints": sorted(path.name for path in (run / "checkpoints").iterdir()),
        "clip losses": sorted(path.name for path in run.glob("clip_losses/*/*")),
    }


def _key(report: dict[str, Any]) -> tuple[str, float, float]:
    """Tells trainings apart: a report that comes again from a checkpoint has the time of its making."""
    return report["trial"], report["resource"], report["time"]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _killed(
    folder: Path, cell: tuple[str, str], name: str, seconds: float, draw: random.Random, most: int
) -> Counter[str]:
    """Runs a search, kills it and resumes it until it has come to its end.

    Returns:
        How often it was killed, by kind.
    """
    kills: Counter[str] = Counter()
    run = folder / "runs" / name
    process = _begin(folder, cell, name)
    while True:
        kind, alive = draw.choice(KINDS), kills.total() < most
        while process.poll() is None and not _workers(process):
            time.sleep(0.01)
        try:
            process.wait(draw.uniform(0, seconds) if alive else PATIENCE)
        except subprocess.TimeoutExpired:
            assert alive, f"{name}: does not end"
            kills[kind] += kill(process, kind)
            if kind == "worker":
                continue
            process.wait(PATIENCE)
            process = start(folder, "search", "--resume", run)
        else:
            assert process.returncode == 0, f"{name}: exit code {process.returncode}"
            return kills


def kill(process: subprocess.Popen[Any], kind: str) -> bool:
    """Kills the driver of a search, its worker, or everything at once; False where it has ended without a worker."""
    while kind == "worker" and process.poll() is None:
        for worker in _workers(process):
            with contextlib.suppress(psutil.Error):
                worker.kill()
                return True
        time.sleep(0.01)
    if process.poll() is not None:
        return False
    children = psutil.Process(process.pid).children(recursive=True) if kind == "everything" else []
    process.kill()
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    return True


def _workers(process: subprocess.Popen[Any]) -> list[psutil.Process]:
    """Returns the processes that train the trials of a search."""
    found = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "TrialProcess" in " ".join(child.cmdline()):
                    found.append(child)
    return found


def _begin(folder: Path, cell: tuple[str, str], name: str) -> subprocess.Popen[str]:
    """Starts a search of a cell; one worker, so that nothing depends on which is faster."""
    scheduler, searcher = cell
    space = {**SPACE, "searcher": searcher, "schedule": {**SPACE["schedule"], "scheduler": scheduler}}
    (folder / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    return start(
        folder, "search", "--space", "space.yaml", "--store", "store", "--name", name, "--concurrent", 1
    )  # fmt: skip


def start(folder: Path, command: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a command of this package in a folder, without its output."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_WAIT_POLICY": "PASSIVE"}
    words = [sys.executable, "-m", f"salt_tune.{command}", *map(str, arguments)]
    return subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, text=True)


if __name__ == "__main__":
    main()
