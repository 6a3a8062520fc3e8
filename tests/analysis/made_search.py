"""Writes run directories of searches with made scores, such as those of a search of many trials."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from analysis.run_directory.paths import RunDirectory
from tests.analysis.fake_run import report, summary, write_lines

START = datetime(2026, 12, 1, 10, tzinfo=UTC)
RUNGS = (0.5, 1.0, 3.0)
Score = Callable[[dict[str, Any]], float]


def write_search(path: Path, tried: Sequence[dict[str, Any]], score: Score, **changes: Any) -> RunDirectory:
    """Writes the run of a search without pruning; `changes` are of its summary.

    Args:
        path: where to.
        tried: the parameters of each trial.
        score: its loss at the end, from its parameters.
        changes: of the summary.
    """
    run = RunDirectory(path)
    losses = [score(values) for values in tried]
    order = np.argsort(losses, kind="stable").tolist()
    known = summary()
    of_trial = next(trial for trial in known["trials"] if trial["id"] == "T2")
    trials = [
        {**of_trial, "id": f"T{number}", "parameters": values, "score": loss, "val_loss": loss,
         "config": {**of_trial["config"], **values}, "rank": order.index(number) + 1, "training_seconds": 12.0}
        for number, (values, loss) in enumerate(zip(tried, losses, strict=True))
    ]  # fmt: skip
    lines = [
        stretch(f"T{number}", point, loss + 0.1 / point, slot=number % 2, turn=3 * (number // 2) + place)
        for number, loss in enumerate(losses)
        for place, point in enumerate(RUNGS)
    ]
    best = f"T{order[0]}"
    found = {"best": best, "recommended": best, "tied": [best], "finalists": [], "rounds": [], "seed_noise": None}
    path.mkdir(parents=True, exist_ok=True)
    write_lines(run.reports, lines)
    run.summary.write_text(json.dumps({**known, "trials": trials, **found, **changes}))
    return run


def stretch(trial: str, point: float, loss: float, *, slot: int, turn: int) -> dict[str, Any]:
    """A report of a worker's n-th turn of 10 s: 1 s waits for the worker, 1 s loads, 8 s are measured."""
    begin = START + timedelta(seconds=10 * turn)
    times = {"submitted": begin, "began": begin + timedelta(seconds=1), "time": begin + timedelta(seconds=10)}
    return report(
        trial, point, loss, slot=slot, status="complete" if point == RUNGS[-1] else "running",
        training_seconds=6.8 * (RUNGS.index(point) + 1), **{name: time.isoformat() for name, time in times.items()},
    )  # fmt: skip


def spread(count: int) -> list[dict[str, Any]]:
    """Parameters of so many trials, spread over the ranges of `fake_run.summary`."""
    random = np.random.default_rng(0)
    return [
        {
            "lr": float(10 ** random.uniform(-5, -2)),
            "mask_ratio": float(random.uniform(0.5, 0.9)),
            "predictor_depth": int(random.integers(2, 7)),
            "predictor_dim": int(random.choice([96, 192, 384])),
        }
        for _ in range(count)
    ]
