"""Searches without Ray: trials whose losses are a formula, on workers that die where a test wants them to."""

import math
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.run_directory.lines import read_lines
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import complete, standing
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.controller.controller import Controller
from salt_tune.controller.decision import Decision
from salt_tune.controller.factory import make_scheduler, make_searcher
from salt_tune.controller.settings import Settings
from salt_tune.report.finalists import MOST_TIED
from salt_tune.runs.journal import Journal
from salt_tune.space.search_space import SearchSpace
from tests.salt_tune.driving import Choose, first
from tests.salt_tune.made_trials import make_report


@dataclass(frozen=True)
class World:
    """How trials behave.

    Attributes:
        space: what is searched.
        settings: how.
        lost: trials that diverge or fail on their way to a point: {("T1", 1.0): "diverged"}.
        memory_errors: how often a trial runs out of memory on its way to a point, before it gets there.
        collapsed: trials whose features collapse.
    """

    space: SearchSpace
    settings: Settings = field(default_factory=Settings)
    lost: Mapping[tuple[str, float], str] = field(default_factory=dict)
    memory_errors: Mapping[tuple[str, float], int] = field(default_factory=dict)
    collapsed: Collection[str] = ()

    def loss(self, trial: Trial, point: float) -> float:
        """A formula of the hyperparameters, the seed and the point."""
        config = trial.config
        quality = abs(math.log10(config["lr"]) + 3) / 10 + config["predictor_depth"] / 100 + (config["seed"] % 7) / 1000
        loss: float = 0.4 + quality + 0.2 * point**-0.5
        return loss

    def controller(self, folder: Path, **more: Any) -> Controller:
        """The search as a folder left it, at its beginning where that is empty."""
        run = RunDirectory(folder)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        controller = Controller(
            space=self.space,
            settings=self.settings,
            scheduler=make_scheduler(self.space.schedule, self.space.trials, self.settings.keep_checkpoints),
            searcher=make_searcher(self.space, self.settings.seed),
            run=run,
            journal=Journal(run.decisions),
            reports=Journal(run.reports),
            **more,
        )
        controller.resume()
        return controller

    def report(self, controller: Controller, trial: Trial) -> dict[str, Any] | None:
        """The next report of a trial, which leaves a checkpoint; None where it fails."""
        points = self.space.schedule.report_points()
        point = next(point for point in points if point > trial.resource)
        fate = self.lost.get((trial.id, point))
        if fate == TrialState.FAILED:
            return None
        errors = sum(
            entry.get("status") == TrialState.OUT_OF_MEMORY
            and (entry["trial"], entry["resource"]) == (trial.id, trial.resource)
            for entry in decisions(controller)
        )
        if errors < self.memory_errors.get((trial.id, point), 0):
            return make_report(trial.resource, None, trial=trial.id, status="out_of_memory")
        controller.run.checkpoint(trial.id).touch()
        status = fate or ("complete" if point == points[-1] else "running")
        loss = math.nan if fate == TrialState.DIVERGED else self.loss(trial, point)
        verdict = "collapsed" if trial.id in self.collapsed else None
        return make_report(point, loss, trial=trial.id, status=status, verdict=verdict)

    def run(self, controller: Controller, workers: int = 1, choose: Choose = first, reports: int = 10**6) -> Controller:
        """Runs trials to the end of the search, or until so many reports have come."""
        running: list[str] = []
        while reports:
            while controller.running < workers and (trial := controller.next()) is not None:
                assert trial.id not in running
                running.append(trial.id)
                assert controller.running == len(running)
            if not running:
                assert controller.over
                break
            name = running[choose(len(running))]
            report = self.report(controller, controller.trials[name])
            reports -= 1
            if report is None:
                controller.end(name, TrialState.FAILED, "OSError: its store has gone")
                running.remove(name)
            elif controller.report(name, report) is not Decision.CONTINUE:
                running.remove(name)
        return controller


def files(controller: Controller) -> set[str]:
    """The trials that have a checkpoint."""
    return {path.stem for path in controller.run.checkpoints.iterdir()}


def decisions(controller: Controller, *events: str) -> list[dict[str, Any]]:
    """The lines of the journal of these kinds, all without any."""
    lines = read_lines(controller.run.decisions, live=True)
    return [entry for entry in lines if not events or entry["event"] in events]


def known(controller: Controller) -> dict[str, Trial]:
    """All that is known of each trial, as it is now."""
    return {name: deepcopy(trial) for name, trial in controller.trials.items()}


def winner(controller: Controller) -> str | None:
    """The complete trial that stands first."""
    ranked = standing(controller.trials.values())
    return ranked[0].id if ranked else None


def best(controller: Controller) -> set[str]:
    """The complete trials that may be tied, and so keep their checkpoints."""
    return {trial.id for trial in complete(controller.trials.values())[:MOST_TIED]}
