"""`python -m benchmarks.hands`: whether all workers of a search are busy, and its wall time over the ideal.

Searches the demo's space on its store with one worker and with two; then lets 50 trials that sleep be searched by eight
workers, with the demo's scheduler. The ideal is what workers trained and evaluated, divided by their number. The wall
time is that of the command, less its start: until the first worker has imported what it needs, and trains. What it has
beyond the ideal is said by what workers did then: loading a model or checkpoint, having no trial, the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

import analysis
from analysis.tables.run import Run
from benchmarks import machine
from salt_tune.stores.demo import DEMO_CLIPS

TRAINS = ("training", "waiting", "evaluating")
SECONDS = 4.0  # of a simulated report, as in the demo
SLEEPS: dict[str, Any] = {
    "name": "sleeps",
    "task": "tests.toy_task:ToyTask",
    "fixed": {"seconds": 6 * SECONDS},
    "parameters": {"lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2}},
    "searcher": "random",
    "schedule": {"scheduler": "freeze_thaw", "epochs": 6, "reports": 6},
    "trials": 50,
}


def main() -> None:
    """Measures and writes results/hands-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="the demo's store [default: made anew]")
    parser.add_argument("--only", nargs="*", help="searches to run [default: all]")
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "sleeps.yaml").write_text(json.dumps(SLEEPS), encoding="utf-8")
        demo, sleeps = ("--store", given.store or folder / "demo"), ("--space", "sleeps.yaml", "--store", ".")
        searches: dict[str, tuple[int, tuple[object, ...]]] = {
            "demo, 1 worker": (1, demo),
            "demo, 2 workers": (2, demo),
            "50 trials that sleep, 8 workers": (8, sleeps),
        }
        wanted = given.only or [*searches]
        if given.store is None and any(name.startswith("demo") for name in wanted):
            _run(folder, "salt_tune.prepare", "--synthetic", DEMO_CLIPS, "--store", folder / "demo")
        for number, name in enumerate(wanted):
            workers, words = searches[name]
            words = (*words, "--name", number, "--concurrent", workers, "--replicates", 0)
            started, ended = _run(folder, "salt_tune.search", *words)
            figures[name] = busy(analysis.load(folder / "runs" / str(number)), workers, started, ended)
    machine.write("hands", figures)


def _run(folder: Path, module: str, *words: object) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Runs a command; returns when it began and ended."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    started = time.time()
    command = [sys.executable, "-m", module, *map(str, words)]
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return pd.Timestamp(started, unit="s", tz="UTC"), pd.Timestamp(time.time(), unit="s", tz="UTC")


def busy(run: Run, workers: int, started: pd.Timestamp, ended: pd.Timestamp) -> dict[str, Any]:
    """Says what workers did in a search, and what it took beyond the ideal.

    Args:
        run: the search, in one session.
        workers: that it had.
        started: when its command began.
        ended: when that ended.
    """
    lanes, shares = analysis.timeline(run), Counter(run.reports["slot"])
    lanes = lanes.assign(seconds=(lanes["end"] - lanes["begin"]).dt.total_seconds())
    trains = lanes["activity"].isin(TRAINS)
    begins, ends = lanes[trains].groupby("slot")["begin"].min(), lanes.groupby("slot")["end"].max()
    first, last = begins.min(), ends.max()
    ideal = lanes.loc[trains, "seconds"].sum() / workers
    wall, start = (ended - started).total_seconds(), (first - started).total_seconds()
    later = lanes[lanes["begin"] >= lanes["slot"].map(begins)]  # when a worker has started
    spent = later.groupby("activity")["seconds"].sum()
    lost = {
        "starting, after the first": (begins - first).dt.total_seconds().sum(),
        "loading a model or checkpoint": spent.get("loading", 0.0),
        "handed a trial": spent.get("starting", 0.0),
        "without a trial, at the end": (last - ends).dt.total_seconds().sum(),
        "the end of the command": (ended - last).total_seconds() * workers,
    }
    lost["without a trial, before"] = (wall - start - ideal) * workers - sum(lost.values())
    least = min(shares.values()) * workers / shares.total() if len(shares) == workers else 0.0
    return {
        "wall seconds": round(wall, 1),
        "start of the workers": round(start, 1),
        "training and evaluation, divided by the workers": round(float(ideal), 1),
        "wall over ideal, less the start": round(float((wall - start) / ideal), 3),
        "worker seconds beyond it": {name: round(float(seconds), 1) for name, seconds in lost.items()},
        "reports": shares.total(),
        "least share of the reports, times the workers": round(least, 2),
    }


if __name__ == "__main__":
    main()
