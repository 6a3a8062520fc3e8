"""`python -m benchmarks.promote_kills [N]`: final runs that are killed at random moments, N times in all.

Searches once, promotes the winner undisturbed, then promotes copies of the run. Each gets SIGKILL at moments drawn
uniformly over the time of the undisturbed one, and is started again by the same command until it ends. One passes if
its weights are the undisturbed ones bit for bit, and its reports have the same losses, each epoch once.

Checkpoints are written at each look at the clock, so that kills meet them.
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks import machine
from benchmarks.kills import PATIENCE, SPACE, STORE, start
from trainable.hashing import file_sha256

KILLS = 30
SEED = 0
EPOCHS = 40
FLAGS = ("--epochs", EPOCHS, "--checkpoint-minutes", 0)


def main() -> None:
    """Measures and writes results/promote-kills-*.json."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    draw = random.Random(SEED)  # noqa: S311
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        start(folder, "prepare", *STORE).communicate(timeout=PATIENCE)
        searched = _search(folder)
        undisturbed = Path(shutil.copytree(searched, folder / "undisturbed"))
        begun = time.monotonic()
        assert start(folder, "promote", undisturbed, *FLAGS).wait(PATIENCE) == 0
        seconds, expected = time.monotonic() - begun, _outcome(undisturbed)
        kills = passed = runs = good = 0
        while kills < wanted:
            run = Path(shutil.copytree(searched, folder / f"killed-{runs}"))
            times = _killed(folder, run, seconds, draw, wanted - kills)
            wrong = [what for what, value in _outcome(run).items() if value != expected[what]]
            kills, runs = kills + times, runs + 1
            passed, good = passed + (0 if wrong else times), good + (not wrong)
            print(
                f"{run.name}: {times} kills, {'differs in ' + ', '.join(wrong) if wrong else 'as undisturbed'}",
                flush=True,
            )
    machine.write(
        "promote-kills",
        {
            "kills, passed": f"{kills}, {passed}",
            "final runs, passed": f"{runs}, {good}",
            "epochs": EPOCHS,
            "seconds of an undisturbed run": round(seconds),
        },
    )


def _search(folder: Path) -> Path:
    """Searches under wsd, so that a final run goes on from a trial."""
    space = {
        **SPACE,
        "fixed": {**SPACE["fixed"], "lr_schedule": "wsd", "warmup_steps": 4, "ema": 0.1},
        "trials": 2,
        "evaluation": {**SPACE["evaluation"], "attentive_steps": 5},
    }
    (folder / "space.yaml").write_text(yaml.safe_dump(space), encoding="utf-8")
    flags = ("--space", "space.yaml", "--store", "store", "--name", "searched", "--concurrent", 1)
    assert start(folder, "search", *flags, "--replicates", 0).wait(PATIENCE) == 0
    return folder / "runs" / "searched"


def _killed(folder: Path, run: Path, seconds: float, draw: random.Random, most: int) -> int:
    """Promotes a run, kills that and starts it again until it ends; returns how often it was killed."""
    kills = 0
    while True:
        process = start(folder, "promote", run, *FLAGS)
        try:
            process.wait(draw.uniform(0, seconds) if kills < most else PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0, f"{run.name}: exit code {process.returncode}"
            return kills


def _outcome(run: Path) -> dict[str, Any]:
    """Returns what a final run has come to."""
    (final,) = (run / "final").iterdir()
    reports = [json.loads(line) for line in (final / "reports.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "weights": file_sha256(final / "model.safetensors"),
        "losses": [(report["epoch"], report["val_loss"]) for report in reports],
        "evaluation": json.loads((final / "evaluation.json").read_text(encoding="utf-8"))["rows"],
    }


if __name__ == "__main__":
    main()
