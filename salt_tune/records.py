"""What is known of each trial, and who is better."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from salt_tune.searcher import Proposal
from salt_tune.space import METRIC_MODES, SearchSpace

NO_SCORE = math.inf

USER_ERROR = re.compile(r"^trainable\.errors\.\w+: ")


@dataclass
class TrialRecord:
    """A trial and its last report.

    Attributes:
        proposal: id and hyperparameters.
        student_parameters: trainable parameters of the student.
        predictor_parameters: trainable parameters of the predictor.
        state: "waiting", "running", then "finished", "pruned", "diverged", "out_of_memory", "failed" or "interrupted".
        last: the last report; empty before the first.
        features: the last report of probe and effective rank, which come at whole epochs only.
        error: one line, where the trial failed.
    """

    proposal: Proposal
    student_parameters: int
    predictor_parameters: int
    state: str = "waiting"
    last: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def id(self) -> str:
        """The trial's name in the run."""
        return self.proposal.id

    @property
    def epochs(self) -> float:
        """Epochs trained."""
        return float(self.last.get("epoch", 0.0))

    def add(self, report: dict[str, Any]) -> None:
        """Takes a report."""
        self.last = report
        if report.get("effective_rank") is not None:
            self.features = {name: report.get(name) for name in ("probe_top1", "effective_rank")}

    def value(self, name: str) -> float | None:
        """The last finite value of a measure; None where there is none."""
        value = self.last.get(name, self.features.get(name))
        return value if value is not None and math.isfinite(value) else None

    def score(self, space: SearchSpace) -> float:
        """The objective with its sign turned so that lower is better; infinite where there is none."""
        value = self.value(space.objective)
        if value is None:
            return NO_SCORE
        return value if METRIC_MODES[space.objective] == "min" else -value


def ranking(records: list[TrialRecord], space: SearchSpace) -> list[TrialRecord]:
    """Best first: trials are compared with those that trained as long; who trained longer stands above.

    Equal scores, as of probes on few clips, are settled by val_loss.
    Trials without a score (diverged, failed) are left out.
    """
    scored = [record for record in records if record.score(space) < NO_SCORE]
    return sorted(
        scored, key=lambda record: (-record.epochs, record.score(space), record.value("val_loss") or NO_SCORE)
    )


class Listener(Protocol):
    """Whoever wants to know what happens to trials: the live table, wandb."""

    def on_start(self, record: TrialRecord) -> None:
        """A trial starts."""

    def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has reported."""

    def on_end(self, record: TrialRecord) -> None:
        """A trial has ended."""


def last_line(error: object) -> str:
    """The last line of an error's text, which names the cause; without the class, where it is meant for users."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return USER_ERROR.sub("", lines[-1].strip()) if lines else type(error).__name__


def append_report(path: Path, report: dict[str, Any]) -> None:
    """Appends one line to a reports.jsonl; NaN becomes null."""
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in report.items()
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(plain) + "\n")
