"""`python -m benchmarks.demo`: what `make search` costs after installation, and what its winner is worth.

Runs the two commands behind it in an empty folder and watches their processes. Measures wall time, the share of it
spent in training, and peak resident memory of prepare, driver and trials. Then sets the winner's probe beside its
baselines.
"""

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

from benchmarks import machine
from salt_tune.stores.demo import DEMO_CLIPS


def main() -> None:
    """Measures and writes results/demo-*.json."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        prepare, prepare_peaks = _watch(["salt_tune.prepare", "--synthetic", str(DEMO_CLIPS)], root)
        search, search_peaks = _watch(["salt_tune.search", "--name", "demo"], root)
        summary = json.loads((root / "runs/demo/summary.json").read_text())
        workers = json.loads((root / "runs/demo/run.json").read_text())["resources"]["concurrent"]
        best = next(trial for trial in summary["trials"] if trial["id"] == summary["best"])
        finished = [trial for trial in summary["trials"] if trial["val_loss"] is not None]
        worst = max(finished, key=lambda trial: trial["val_loss"])
        (beside,) = [
            json.loads(file.read_text())["baselines"] for file in (root / "runs/demo/baselines").glob("*.json")
        ]
    probes = best["probe_top1"], *(beside[name]["probe_top1"] for name in ("untrained", "pixels", "teacher", "chance"))
    machine.write(
        "demo",
        {
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
        },
    )


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
