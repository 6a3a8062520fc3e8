"""Searches without Ray: trials whose losses are a formula, on workers that die where a test wants them to."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.run_directory.trials import TrialRecord, ranking
from salt_tune.controller.controller import Steering
from salt_tune.controller.factory import make_scheduler, make_searcher
from salt_tune.controller.state import Options
from salt_tune.runs.journal import Journal
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.driving import Choose, first
from tests.salt_tune.made_records import make_report


@dataclass(frozen=True)
class World:
    """How trials behave.

    Attributes:
        space: what is searched.
        options: how.
        lost: trials that diverge or fail on their way to a point: {("T1", 1.0): "diverged"}.
        memory_errors: how often a trial runs out of memory on its way to a point, before it gets there.
    """

    space: SearchSpace
    options: Options = field(default_factory=Options)
    lost: Mapping[tuple[str, float], str] = field(default_factory=dict)
    memory_errors: Mapping[tuple[str, float], int] = field(default_factory=dict)

    def loss(self, record: TrialRecord, point: float) -> float:
        """A formula of the hyperparameters, the seed and the point."""
        config = record.proposal.config
        quality = abs(math.log10(config["lr"]) + 3) / 10 + config["predictor_depth"] / 100 + (config["seed"] % 7) / 1000
        loss: float = 0.4 + quality + 0.2 * point**-0.5
        return loss

    def steering(self, folder: Path, **more: Any) -> Steering:
        """The search as a folder left it, at its beginning where that is empty."""
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        steering = Steering(
            space=self.space,
            options=self.options,
            scheduler=make_scheduler(self.space.schedule, self.space.trials, self.options.keep_checkpoints),
            searcher=make_searcher(self.space, self.options.seed),
            journal=Journal(folder / "decisions.jsonl"),
            reports=Journal(folder / "reports.jsonl"),
            checkpoints=folder / "checkpoints",
            **more,
        )
        steering.replay()
        return steering

    def report(self, steering: Steering, record: TrialRecord) -> dict[str, Any] | None:
        """The next report of a trial, which leaves a checkpoint; None where it fails."""
        points = self.space.schedule.report_points()
        point = next(point for point in points if point > record.resource)
        fate = self.lost.get((record.id, point))
        if fate == "failed":
            return None
        errors = sum(
            entry.get("status") == "out_of_memory"
            and (entry["trial"], entry["resource"]) == (record.id, record.resource)
            for entry in steering.journal.read()
        )
        if errors < self.memory_errors.get((record.id, point), 0):
            return make_report(record.resource, None, trial=record.id, status="out_of_memory")
        (steering.checkpoints / f"{record.id}.safetensors").touch()
        status = fate or ("finished" if point == points[-1] else "running")
        loss = math.nan if fate == "diverged" else self.loss(record, point)
        return make_report(point, loss, trial=record.id, status=status)

    def run(self, steering: Steering, workers: int = 1, choose: Choose = first, reports: int = 10**6) -> Steering:
        """Runs trials to the end of the search, or until so many reports have come."""
        running: list[str] = []
        while reports:
            while steering.running < workers and (record := steering.next()) is not None:
                assert record.id not in running
                running.append(record.id)
                assert steering.running == len(running)
            if not running:
                assert steering.over
                break
            trial = running[choose(len(running))]
            report = self.report(steering, steering.records[trial])
            reports -= 1
            if report is None:
                steering.end(trial, "failed", "OSError: its store has gone")
                running.remove(trial)
            elif steering.report(trial, report) != "continue" or report["status"] != "running":
                running.remove(trial)
        return steering


def files(steering: Steering) -> set[str]:
    """The trials that have a checkpoint."""
    return {path.stem for path in steering.checkpoints.iterdir()}


def decisions(steering: Steering, *events: str) -> list[dict[str, Any]]:
    """The journal's entries of these kinds, all without any."""
    return [entry for entry in steering.journal.read() if not events or entry["event"] in events]


def known(steering: Steering) -> dict[str, tuple[Any, ...]]:
    """All that is known of each trial; what has no value may be NaN or null."""
    return {
        record.id: (
            record.proposal,
            record.state,
            record.scores,
            record.error,
            {name: value for name, value in record.last.items() if value is not None and value == value},
        )
        for record in steering.records.values()
    }


def winner(steering: Steering) -> str | None:
    """Who is ranked first."""
    ranked = ranking(list(steering.records.values()))
    return ranked[0].id if ranked else None
