"""`python -m benchmarks.demo [--searches N]`: the cost of `make search` after installation, and its winner's worth.

Runs the two commands behind it in an empty folder and watches their processes. Measures wall time, the share of it
spent in training, and peak resident memory of prepare, driver and trials. Then sets the winner's probe beside its
baselines.

With `--searches 3` two more searches follow, of other seeds. Each finalist, a trial that trained to its end, is then
promoted to 12 epochs: the winner should be among the best two of them by the linear probe.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory, read_summary
from analysis.run_directory.trials import TrialState
from benchmarks import machine
from salt_tune.stores.demo import DEMO_CLIPS
from trainable.metrics import interval_fields

LONG = 12  # epochs that finalists are promoted to


def main() -> None:
    """Measures and writes results/demo-*.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=1, help="seeds to search with; more than 1 promotes finalists")
    searches = parser.parse_args().searches
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        figures = _costs(root)
        for seed in range(searches if searches > 1 else 0):
            figures[f"search {seed}"] = _worth(root, seed)
    machine.write("demo", figures)


def _costs(root: Path) -> dict[str, Any]:
    prepare, prepare_peaks = _watch(["salt_tune.prepare", "--synthetic", str(DEMO_CLIPS)], root)
    search, search_peaks = _watch(["salt_tune.search", "--name", "search-0"], root)
    run = RunDirectory(root / "runs/search-0")
    summary = read_summary(run)
    workers = json.loads(run.manifest.read_text())["resources"]["concurrent"]
    best = next(trial for trial in summary["trials"] if trial["id"] == summary["recommended"])
    finished = [trial for trial in summary["trials"] if trial["val_loss"] is not None]
    worst = max(finished, key=lambda trial: trial["val_loss"])
    (beside,) = (each["baselines"] for each in summary["panel_baselines"])
    probes = best["probe_top1"], *(beside[name]["probe_top1"] for name in ("untrained", "pixels", "teacher", "chance"))
    return {
        "prepare, wall seconds": round(prepare),
        "search, wall seconds": round(search),
        "share of worker time in training": round(summary["training_seconds"] / workers / search, 2),
        "epochs trained": summary["resource_trained"],
        "epochs without pruning": summary["resource_without_pruning"],
        "peak GB, prepare": prepare_peaks["main"],
        "peak GB, driver": search_peaks["main"],
        "peak GB, a trial": search_peaks["trial"],
        "peak GB, largest of Ray's own": search_peaks["ray"],
        "winner, val_loss and val_r2": f"{best['val_loss']:.4f}, {best['val_r2']:.3f}",
        "worst trial, val_loss and epochs": f"{worst['val_loss']:.4f}, {worst['epochs']:g}",
        "probe_top1: winner, untrained, pixels, teacher, chance": ", ".join(f"{value:.3f}" for value in probes),
        "winner, verdict": best["verdict"],
    }


def _worth(root: Path, seed: int) -> dict[str, Any]:
    """Says what came of a search's winner, and of all its finalists after `LONG` epochs."""
    run = RunDirectory(root / f"runs/search-{seed}")
    if not run.path.exists():
        _watch(["salt_tune.search", "--name", run.path.name, "--seed", str(seed)], root)
    summary = read_summary(run)
    winner, promoted = summary["recommended"], {}
    trials = {trial["id"]: trial for trial in summary["trials"] if trial["state"] == TrialState.COMPLETE}
    for name in trials:
        _watch(["salt_tune.promote", str(run.path), "--trial", name, "--epochs", str(LONG), "--anyway"], root)
        promoted[name] = [*read_lines(run.final(name, LONG).reports)][-1]["probe_top1"]
    ranked = sorted(promoted, key=promoted.__getitem__, reverse=True)
    low, high = (trials[winner][end] for end in interval_fields("above_untrained"))
    return {
        "winner": winner,
        "verdict": trials[winner]["verdict"],
        "above untrained": f"{trials[winner]['above_untrained']:.3f} [{low:.3f}, {high:.3f}]",
        f"probe_top1 of finalists at {LONG} epochs": {name: round(promoted[name], 3) for name in ranked},
        "rank of the winner": f"{1 + ranked.index(winner)} of {len(ranked)}",
    }


def _watch(module: list[str], folder: Path) -> tuple[float, dict[str, float]]:
    """Runs a command and samples the resident memory of its processes, by what they are."""
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen([sys.executable, "-m", *module], cwd=folder, env=environment)
    peaks: dict[str, float] = defaultdict(float)
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.25):
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                try:
                    name, size = " ".join(one.cmdline()), one.memory_info().rss / 1e9
                except psutil.Error:
                    continue
                peaks[_kind(one, name, process.pid)] = max(peaks[_kind(one, name, process.pid)], round(size, 2))

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    code = process.wait()
    done.set()
    if code:
        sys.exit(code)
    return time.perf_counter() - started, peaks


def _kind(process: Any, name: str, main: int) -> str:
    if process.pid == main:
        return "main"
    return "trial" if name.startswith("ray::") else "ray" if "ray" in name else "decoder"


if __name__ == "__main__":
    main()
