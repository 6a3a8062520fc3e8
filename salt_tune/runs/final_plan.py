"""What a final run is before it trains: which trial, how it is trained, where it begins and where its results go."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.run_directory.paths import FinalDirectory, RunDirectory
from salt_tune.runs.prolong import Trunk, longest_trunk
from salt_tune.space.search_space import SearchSpace
from trainable.worker import Config, Dataset, FinalSpec

REPORTS_PER_EPOCH = 4  # after a search whose trials were not counted in epochs

Row = dict[str, Any]  # of a trial in a summary


@dataclass(frozen=True)
class Planned:
    """A final run that can be trained.

    Attributes:
        trial: the trial's entry in the summary.
        final: where the results go.
        spec: how it is trained.
        trunk: that it goes on from; None: from scratch.
    """

    trial: Row
    final: FinalDirectory
    spec: FinalSpec
    trunk: Trunk | None

    @property
    def name(self) -> str:
        """The trial's name."""
        return str(self.trial["id"])

    @property
    def epochs(self) -> float:
        """Of the whole run."""
        return float(self.spec.config["epochs"])

    @property
    def ahead(self) -> float:
        """Epochs that are still to be trained when it begins."""
        return self.epochs - (self.trunk.epoch if self.trunk else 0.0)

    @property
    def beginning(self) -> str:
        """Where it begins, for people."""
        if self.trunk:
            return f"from epoch {self.trunk.epoch:g}, {self.trunk.origin}"
        return f"with the weights of {self.spec.init.name}" if self.spec.init else "from scratch"


def plan_final(
    run: RunDirectory,
    space: SearchSpace,
    data: Dataset,
    trial: Row,
    config: Config,
    *,
    from_scratch: bool,
    init: Path | None,
    checkpoint_minutes: float,
) -> Planned:
    """Returns the final run of a trial.

    Args:
        run: of the search.
        space: that was searched.
        data: that it was searched on.
        trial: its entry in the summary.
        config: hyperparameters of the final run.
        from_scratch: it does not go on from a trunk that is there.
        init: folder of another model, with whose weights the student begins.
        checkpoint_minutes: between two checkpoints at most.

    Raises:
        UserError: its student cannot begin with the weights of `init`; it has been trained for longer already.
    """
    task = space.task
    weights = task.check_init(init, config, data) if init else None
    anew = from_scratch and task.trunk_epochs(config) > 0
    final = run.final(trial["id"], config["epochs"], from_scratch=anew, init=weights)
    begins_anew = from_scratch or weights is not None or final.card.exists()
    trunk = None if begins_anew else longest_trunk(run, task, trial, config)
    spec = FinalSpec(
        config=config,
        evaluation=space.evaluation,
        reports_per_epoch=_reports_per_epoch(space),
        folder=final.path,
        threads=len(os.sched_getaffinity(0)),
        provenance={
            "run": run.path.name,
            "trial": trial["id"],
            "store": data.path.resolve().name,
            "begun_at_epoch": trunk.epoch if trunk else 0.0,
            "init": {"name": init.resolve().name, "sha256": weights} if init else None,
        },
        baselines=run.baselines,
        checkpoint_minutes=checkpoint_minutes,
        init=init.absolute() if init else None,
    )
    return Planned(trial, final, spec, trunk)


def _reports_per_epoch(space: SearchSpace) -> int:
    """Returns as many as in the search, where that counted in epochs."""
    schedule = space.schedule
    return max(1, round(schedule.reports / schedule.epochs)) if schedule.epochs else REPORTS_PER_EPOCH
