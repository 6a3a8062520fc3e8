"""What is known of each trial, and who is better."""

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from salt_tune.controller.proposal import Proposal
from salt_tune.space.search_space import SearchSpace

NO_SCORE = math.inf

ENDED = {"diverged", "out_of_memory"}  # states that a trial reports of itself

USER_ERROR = re.compile(r"^trainable\.errors\.\w+: ")


@dataclass
class TrialRecord:
    """A trial and its reports.

    Attributes:
        proposal: id and hyperparameters.
        state: "waiting", "running", "paused", then "finished", "pruned", "diverged", "out_of_memory", "failed" or
            "interrupted".
        last: the last report; empty before the first.
        features: the last report of probe and effective rank, which do not come with every report.
        scores: the objective at each reported point, lower is better; infinite where it has no value.
        error: one line, where the trial failed.
    """

    proposal: Proposal
    state: str = "waiting"
    last: dict[str, Any] = field(default_factory=dict)
    features: dict[str, Any] = field(default_factory=dict)
    scores: dict[float, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def id(self) -> str:
        """The trial's name in the run."""
        return self.proposal.id

    @property
    def resource(self) -> float:
        """The deepest point reached."""
        return max(self.scores, default=0.0)

    @property
    def epochs(self) -> float:
        """Epochs trained."""
        return float(self.last.get("epoch", 0.0))

    def add(self, report: dict[str, Any], space: SearchSpace) -> float:
        """Takes a report, and returns its score."""
        self.last = report
        if report.get("effective_rank") is not None:
            self.features = {name: report.get(name) for name in ("probe_top1", "effective_rank")}
        score = NO_SCORE if report["status"] in ENDED else space.objective.score({**self.features, **report})
        if report["status"] != "out_of_memory":
            self.scores[float(report["resource"])] = score
        return score

    def value(self, name: str) -> float | None:
        """The last finite value of a measure; None where there is none."""
        value = self.last.get(name, self.features.get(name))
        return value if value is not None and math.isfinite(value) else None

    @property
    def score(self) -> float:
        """The objective at the deepest point, lower is better; infinite where there is none, or the trial was lost."""
        lost = self.last.get("status") in ENDED  # out of memory is reported at a point that has a score
        return NO_SCORE if lost else self.scores.get(self.resource, NO_SCORE)


def ranking(records: list[TrialRecord]) -> list[TrialRecord]:
    """Best first: trials are compared with those that trained as long; who trained longer stands above.

    Equal scores, as of probes on few clips, are settled by val_loss.
    Trials without a score (diverged, failed) and replicates are left out.
    """
    scored = [record for record in records if record.score < NO_SCORE and record.proposal.replicate_of is None]
    return sorted(scored, key=lambda record: (-record.resource, record.score, record.value("val_loss") or NO_SCORE))


class Listener(Protocol):
    """Whoever wants to know what happens to trials: the live table, wandb."""

    def on_start(self, record: TrialRecord) -> None:
        """A trial starts, or goes on after a pause."""

    def on_report(self, record: TrialRecord, report: dict[str, Any]) -> None:
        """A trial has reported."""

    def on_end(self, record: TrialRecord) -> None:
        """A trial has paused or ended: see its state."""


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
