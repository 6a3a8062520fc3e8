"""What a search hands to the processes that train, and what it gets from them; needs no torch.

`trainable.task.Task` makes these of its own kind.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final, Protocol

from trainable.budget import Budget

FINAL_CHECKPOINTS: Final = 5  # of a final training on the disk at most, of which one is being written

Config = dict[str, Any]  # hyperparameters by name, as plain JSON values
Report = dict[str, Any]  # docs/run-directory.md has the fields
FinalTable = dict[str, Any]  # likewise, of evaluation.json


class Dataset(Protocol):
    """What trials are trained and judged on, open."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def train_size(self) -> int:
        """Clips, or whatever there is, to train on."""
        ...

    @property
    def held_out(self) -> Sequence[str]:
        """Names of the clips that are held out."""
        ...

    @property
    def geometry(self) -> Any:
        """What the size of a model depends on; small, as it is sent to a worker."""
        ...

    def facts(self) -> dict[str, Any]:
        """Returns what a run remembers of it as JSON values; data that differ in `path` alone are the same."""
        ...


CHECKPOINT_MINUTES: Final = 10.0  # between two checkpoints of a final run, at most


@dataclass(frozen=True)
class RunSpec:
    """What all trials of a search share, as a worker is told.

    Attributes:
        task: name of the task.
        data: where the dataset lies.
        evaluation: what trials are judged on, from `Task.evaluation`.
        budget: of a full trial, and where it reports.
        checkpoints: folder of the trials' checkpoints.
        clip_losses: pattern of a path with `trial` and `resource`.
        threads: of a worker.
        device: "cpu" or "cuda".
        gpu_share: of the GPU's memory that a worker may take.
        panel_answers: pattern of a path with `trial` and `resource`; empty: answers of probes are not kept.
        baselines: folder for what the panel's baselines get, which workers share; empty: they are not measured.
        steps: pattern of a path with `trial`; empty: what single steps came to is not kept.
    """

    task: str
    data: str
    evaluation: dict[str, Any]
    budget: Budget
    checkpoints: str
    clip_losses: str
    threads: int
    device: str
    gpu_share: float = 1.0
    panel_answers: str = ""
    baselines: str = ""
    steps: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunSpec":
        """Rebuilds it from what `dataclasses.asdict` gave."""
        return cls(**{**values, "budget": Budget(**values["budget"])})

    def checkpoint(self, trial: str) -> Path:
        """Returns the file that the search keeps as long as a trial may go on, or is the best one."""
        return Path(self.checkpoints) / f"{trial}.safetensors"

    def losses(self, trial: str, resource: float) -> Path:
        """Returns the file of the losses of single clips, by which trials are compared; a task may leave it out."""
        return Path(self.clip_losses.format(trial=trial, resource=resource))

    def answers(self, trial: str, resource: float) -> Path | None:
        """Returns the file of what probes answered of single clips; None where it is not kept."""
        return Path(self.panel_answers.format(trial=trial, resource=resource)) if self.panel_answers else None

    def steps_of(self, trial: str) -> Path | None:
        """Returns the file of what the steps of a trial came to; None where it is not kept, and a task may do so."""
        return Path(self.steps.format(trial=trial)) if self.steps else None


@dataclass(frozen=True)
class TrialSpec:
    """A trial, as a worker is told.

    Attributes:
        id: its name in its run.
        config: its hyperparameters, which may not fit; `epochs` follows from the budget.
        known: the last resource point that the search has the report of, 0.0 where it has none.
    """

    id: str
    config: Config
    known: float = 0.0


class TrialRun(Protocol):
    """One trial in a worker; nothing is read or built before its first report is asked for.

    Attributes:
        id: the trial's name in its run.
        known: the last resource point that the search has the report of.
    """

    id: str
    known: float

    def next_report(self) -> Report:
        """Returns the report of the next point of the budget, after training to it where that is yet to be done.

        It has `resource`, `epoch`, `status` ("running", "complete" at the last point, "diverged", "out_of_memory"),
        the task's metrics, and `training_seconds`. A checkpoint with the report in it is on the disk before the
        report is given. A later process gives it without training where it lies beyond `known`. Whatever takes long
        calls `trainable.heartbeat.beat` between its steps, as a `Loader` does: a silent process counts as hung.

        Raises:
            UserError: the trial cannot go on, and could not in another process; another error starts a new process.
        """
        ...

    def close(self) -> None:
        """Gives its memory back; the checkpoint stays."""
        ...


class Worker(Protocol):
    """A process that trains one trial after the other; it has the dataset open."""

    def start(self, trial: TrialSpec) -> TrialRun:
        """Takes a trial, after the one before has been closed."""
        ...

    def close(self) -> None:
        """Ends its threads."""
        ...


@dataclass(frozen=True)
class FinalSpec:
    """The final training of a trial that is promoted.

    Attributes:
        config: its hyperparameters, with the epochs to train.
        evaluation: what it is judged on.
        reports_per_epoch: evaluations in each epoch.
        folder: where the results go: config.json, with `config` and `provenance`, and the model.
        threads: that it may use.
        provenance: run, trial and data that it comes from, as JSON values.
        baselines: folder of what baselines get that the search measured; None: they are measured anew.
        checkpoint_minutes: between two checkpoints at most, where the task can stop between reports.
        init: folder of another model whose weights it begins with; None: it has its own beginning.
        workers: processes that share it, by torch.distributed; see `trainable.task.Task.data_parallel`.
        rank: which of them this one is; 0 judges, reports and writes.
    """

    config: Config
    evaluation: dict[str, Any]
    reports_per_epoch: int
    folder: Path
    threads: int
    provenance: dict[str, Any]
    baselines: Path | None = None
    checkpoint_minutes: float = 10.0
    init: Path | None = None
    workers: int = 1
    rank: int = 0

    @property
    def checkpoint(self) -> Path:
        """What it goes on from after it was stopped or killed."""
        return self.folder / "checkpoint.safetensors"

    @property
    def steps(self) -> Path:
        """What its steps came to, where the task keeps that."""
        return self.folder / "steps.parquet"


@dataclass(frozen=True)
class Beside:
    """What a promoted model is compared with, beside untrained ones and the teacher.

    Attributes:
        trial: the promoted trial's entry in the search's summary.
        checkpoint: where the search left it; the file may be gone.
        answers: what probes answered of it in the search; the file may be gone.
        against: folder of another promoted model; None: there is none.
    """

    trial: Report
    checkpoint: Path
    answers: Path
    against: Path | None = None


class FinalRun(Protocol):
    """A final training, built."""

    def train(self, on_report: Callable[[Report], None], stop: Event, tell: Callable[[str], None]) -> Report | None:
        """Trains on from its checkpoint to the end, and writes the results.

        Args:
            on_report: called with each report before its checkpoint is written, or again after it.
            stop: set it from a signal handler, and the training ends soon, with a checkpoint.
            tell: called with what people should know, such as a batch that was left out.

        Returns:
            The last report, {} on another rank than 0; None where it was stopped.

        Raises:
            UserError: it diverged, or its checkpoint is damaged.
        """
        ...

    def close(self) -> None:
        """Gives its memory back and ends its threads."""
        ...
