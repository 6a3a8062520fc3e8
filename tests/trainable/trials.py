"""What a search hands to a trial, for tests of the worker's side."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.torch import load_file

from tests.trainable.small import SMALL, assert_equal_tensors, content
from trainable.budget import Budget
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.evaluator import Evaluator
from trainable.evaluate.judged import Judgeable, Judged
from trainable.trial.trial_run import SaltTrial
from trainable.worker import RunSpec, TrialSpec

POINTS = [0.5, 1.0, 1.75, 2.0]  # epochs: steps 2, 4, 7 and 8 of 8

# What depends on the clock or on the process.
CLOCKED = {"clips_per_second", "waiting_share", "computing_share", "evaluating_share", "training_seconds",
           "step_seconds", "peak_rss_gb", "time", "began"}  # fmt: skip


def make_run(folder: Path, store: ClipStore, **budget: Any) -> RunSpec:
    """A run whose trials leave their files in `folder`; `budget` changes fields of theirs."""
    return RunSpec(
        task="salt",
        data=str(store.path),
        evaluation={"clips": 8, "panel_clips": 16},
        budget=Budget(**{"kind": "epoch", "full": 2.0, "points": POINTS, "probe_points": [1.0, 2.0], **budget}),
        checkpoints=str(folder / "checkpoints"),
        clip_losses=str(folder / "clip_losses" / "{trial}" / "resource-{resource:.4f}.parquet"),
        threads=1,
        device="cpu",
        panel_answers=str(folder / "answers" / "{trial}" / "resource-{resource:.4f}.parquet"),
        baselines=str(folder / "baselines"),
        steps=str(folder / "steps" / "{trial}.parquet"),
    )


def make_trial(name: str = "T0", known: float = 0.0, **changes: Any) -> TrialSpec:
    """A trial of the small configuration with some `changes`."""
    return TrialSpec(name, SMALL.replace(**changes).to_dict(), known)


def told(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what a clock says, NaN as text so that reports can be compared."""
    kept = {name: value for name, value in report.items() if name not in CLOCKED}
    return {name: str(value) if value != value else value for name, value in kept.items()}


def steps_of(folder: Path, trial: str = "T0") -> dict[str, list[Any]]:
    """What the steps of a trial came to, by column."""
    columns: dict[str, list[Any]] = pq.read_table(folder / "steps" / f"{trial}.parquet").to_pydict()
    return columns


def clip_losses(folder: Path, trial: str = "T0") -> dict[str, list[float]]:
    """The clip losses of a trial, by the names of their files."""
    files = sorted((folder / "clip_losses" / trial).iterdir())
    return {file.name: pq.read_table(file)["loss"].to_pylist() for file in files}


class Fragile(Evaluator):
    """Judges as always, until it is told to raise an error once."""

    error: BaseException | None = None

    def judge(self, model: Judgeable) -> Judged:
        """See `Evaluator`."""
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return super().judge(model)


def checkpoint_of(folder: Path) -> Path:
    """The checkpoint of T0."""
    return folder / "checkpoints" / "T0.safetensors"


def to_the_end(trial: SaltTrial) -> list[dict[str, Any]]:
    """All reports that are left."""
    reports = [trial.next_report()]
    while reports[-1]["status"] == "running":
        reports.append(trial.next_report())
    return reports


def assert_same_files(one: Path, other: Path) -> None:
    """Weights, optimiser, random numbers, the loss of each clip and step and what probes answered, to the last bit."""
    assert_equal_tensors(load_file(checkpoint_of(one)), load_file(checkpoint_of(other)))
    assert clip_losses(one) == clip_losses(other)
    assert content(one / "answers") == content(other / "answers")
    assert steps_of(one) == steps_of(other)
