"""`python -m benchmarks.overhead`: what a search costs that is not training, beside Ray Tune and Optuna.

The objective sleeps: trials of four reports, half a second each, without pruning. `salt_tune` runs its command on the
toy task of the tests, which also writes a checkpoint and clip losses at each report. Ray Tune runs a class Trainable
with `reuse_actors`, and Optuna as many processes on a study in SQLite. Each runs in a process of its own, one after the
other, with 1, 2, 4 and 8 workers and three trials a worker at least.

The ideal is the sleep divided by the workers. "Start" is from the command to the first report less its sleep. "A
report" is what each takes beyond its sleep from then on, with all workers together.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from analysis.run_directory.lines import read_lines
from benchmarks import machine

WORKERS = (1, 2, 4, 8)
TRIALS = 24
REPORTS, SECONDS = 4, 0.5  # of a trial; of a report

RAY = """
import sys, time
import ray
from ray import tune

class Sleeps(tune.Trainable):
    def setup(self, config):
        pass
    def reset_config(self, config):
        return True
    def step(self):
        time.sleep({seconds})
        with open({out!r}, "a") as file:
            print(time.time(), file=file, flush=True)
        return {{"loss": self.config["x"], "done": self.iteration + 1 == {reports}}}

ray.init(num_cpus={workers}, include_dashboard=False, log_to_driver=False)
tuner = tune.Tuner(Sleeps, param_space={{"x": tune.uniform(0, 1)}},
    tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples={trials}, reuse_actors=True),
    run_config=tune.RunConfig(storage_path={folder!r}, verbose=0))
assert len(tuner.fit()) == {trials}
"""

OPTUNA = """
import sys, time
from multiprocessing import get_context
import optuna

URL = "sqlite:///" + {folder!r} + "/study.db"
def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range({reports}):
        time.sleep({seconds})
        with open({out!r}, "a") as file:
            print(time.time(), file=file, flush=True)
        trial.report(x, step)
    return x
def work(trials):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name="s", storage=URL, sampler=optuna.samplers.RandomSampler())
    study.optimize(objective, n_trials=trials)
if __name__ == "__main__":
    optuna.create_study(study_name="s", storage=URL)
    workers = [get_context("spawn").Process(target=work, args=({trials} // {workers},)) for _ in range({workers})]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""


def main() -> None:
    """Measures and writes results/overhead-*.json."""
    figures: dict[str, Any] = {"trials, reports of each, seconds of each": f"{TRIALS}, {REPORTS}, {SECONDS}"}
    for workers in WORKERS:
        for name, run in (("salt_tune", _ours), ("Ray Tune", partial(_peer, RAY)), ("Optuna", partial(_peer, OPTUNA))):
            with tempfile.TemporaryDirectory() as folder:
                figures[f"{workers} workers, {name}"] = run(Path(folder), workers)
    machine.write("overhead", figures)


def _ours(folder: Path, workers: int) -> dict[str, Any]:
    space = {
        "name": "sleeps",
        "task": "tests.toy_task:ToyTask",
        "fixed": {"seconds": REPORTS * SECONDS},
        "parameters": {"lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2}},
        "searcher": "random",
        "schedule": {"scheduler": "none", "epochs": REPORTS, "reports": REPORTS},
        "trials": TRIALS,
    }
    (folder / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    words = ["--space", "space.yaml", "--store", ".", "--name", "run", "--concurrent", str(workers)]
    words += ["--replicates", "0"]
    started, seconds = _timed([sys.executable, "-m", "salt_tune.search", *words], folder)
    reports = [*read_lines(folder / "runs/run/reports.jsonl")]
    ends = [datetime.fromisoformat(report["time"]).timestamp() for report in reports]
    shares = Counter(report["slot"] for report in reports)
    return {
        **_overhead(started, seconds, ends, workers),
        "least and most reports of a worker": f"{min(shares.values())}, {max(shares.values())}",
    }


def _peer(program: str, folder: Path, workers: int) -> dict[str, Any]:
    values = {"seconds": SECONDS, "reports": REPORTS, "trials": TRIALS, "workers": workers}
    out, file = folder / "times", folder / "program.py"
    file.write_text(program.format(out=str(out), folder=str(folder), **values), encoding="utf-8")
    started, seconds = _timed([sys.executable, str(file)], folder)
    return _overhead(started, seconds, [float(line) for line in out.read_text().splitlines()], workers)


def _timed(words: list[str], folder: Path) -> tuple[float, float]:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_USAGE_STATS_ENABLED": "0"}
    started = time.time()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{json.dumps(words)}: {done.stderr}")
    return started, time.time() - started


def _overhead(started: float, seconds: float, times: list[float], workers: int) -> dict[str, Any]:
    """Says what was not sleep, from the moments at which reports ended."""
    assert len(times) == TRIALS * REPORTS
    ideal = len(times) * SECONDS / workers
    first, last = min(times), max(times)
    steady = (last - first + SECONDS) - ideal
    return {
        "wall seconds": round(seconds, 1),
        "ideal": round(ideal, 1),
        "start": round(first - SECONDS - started, 1),
        "ms a report": round(1000 * steady * workers / len(times)),
        "after the last report": round(started + seconds - last, 1),
    }


if __name__ == "__main__":
    main()
