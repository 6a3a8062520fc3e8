"""Runs the trials of a search: asks the controller what is next, has it trained, and tells what came of it."""

import math
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.controller.controller import Controller
from salt_tune.controller.decision import Decision
from salt_tune.controller.limits import NO_LIMITS, Limits
from salt_tune.ray_backend.worker_pool import Lost, WorkerPool
from salt_tune.resources.allocation import Resources
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line
from salt_tune.ui.signals import asked_to_stop
from trainable.budget import Budget
from trainable.errors import UserError
from trainable.files import atomic_write
from trainable.heartbeat import SILENT_SECONDS
from trainable.worker import Dataset, Report, RunSpec, TrialSpec

MOST_RESTARTS: Final = 3  # of a trial whose worker was lost
CHEAP_SECONDS: Final = 30  # how long a first Ctrl-C waits for reports under way
LOOKS_UP: Final = 0.5  # seconds; a signal is heard no later
SILENT_STEPS: Final = 20  # or the time of so many steps, where that is longer

End = Literal["over", "limited", "stopped"]


class Pool(Protocol):
    """What trains trials; see `WorkerPool`."""

    @property
    def free(self) -> int:
        """See `WorkerPool.free`."""
        ...

    @property
    def busy(self) -> int:
        """See `WorkerPool.busy`."""
        ...

    def submit(self, trial: TrialSpec, patience: float) -> None:
        """See `WorkerPool.submit`."""
        ...

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, int, Report | Lost]]:
        """See `WorkerPool.wait`."""
        ...


class TrialLoop:
    """Keeps every worker of a pool at a trial, as long as the controller has any.

    Args:
        controller: of the search.
        pool: trains its trials.
        limits: where the search ends early.
        silence: seconds that a worker may give no sign of life.

    Attributes:
        limited: the limit that has been reached, as it was given; None: none has.
    """

    def __init__(
        self, controller: Controller, pool: Pool, limits: Limits = NO_LIMITS, silence: float = SILENT_SECONDS
    ) -> None:
        self._controller, self._pool, self._limits, self._silence = controller, pool, limits, silence
        self.limited: str | None = None
        self._restarts: Counter[str] = Counter()
        self._submitted: dict[str, str] = {}  # when each trial was last given to a worker
        self._started, self._leave_at = time.monotonic(), math.inf

    def drain(self, seconds: float) -> None:
        """Starts nothing more; the loop is left when no trial runs, or after so many seconds."""
        self._controller.draining = True
        self._leave_at = time.monotonic() + seconds

    def run(self) -> None:
        """Runs trials until nothing is left to do, or nothing more is to be started.

        Raises:
            UserError: a disk was full; the search can be resumed.
        """
        self._started = time.monotonic()
        while time.monotonic() < self._leave_at:
            self._heed_limits()
            while self._pool.free and (trial := self._controller.next()) is not None:
                self._submit(trial)
            if not self._pool.busy:
                return
            for spec, slot, came in self._pool.wait(LOOKS_UP):
                trial = self._controller.trials[spec.id]
                if isinstance(came, Lost):
                    self._try_again(trial, came)
                else:
                    self._take(trial, {**came, "slot": slot, "submitted": self._submitted[spec.id]})

    def _submit(self, trial: Trial) -> None:
        patience = max(self._silence, SILENT_STEPS * (trial.value("step_seconds") or 0))
        self._submitted[trial.id] = datetime.now(UTC).isoformat()
        self._pool.submit(TrialSpec(trial.id, trial.config, trial.resource), patience)

    def _heed_limits(self) -> None:
        if not self._controller.draining:
            seconds = time.monotonic() - self._started
            self.limited = self._limits.reached(seconds, self._controller.trials.values())
            if self.limited:
                console.print(f"{self.limited} is reached: waits for the reports under way")
                self.drain(math.inf)

    def _take(self, trial: Trial, report: dict[str, Any]) -> None:
        """Tells the controller of a report, and does what it decides."""
        if report["status"] == TrialState.FAILED:
            self._leave_full_disk(report["error"])
            self._controller.end(trial.id, TrialState.FAILED, report["error"])
            return
        decision = self._controller.report(trial.id, report)
        self._heed_limits()
        if decision is Decision.CONTINUE and not self._controller.draining:
            self._submit(trial)
        elif decision is Decision.PAUSE and not self._controller.is_next(trial.id):
            self._controller.pause(trial.id)

    def _try_again(self, trial: Trial, lost: Lost) -> None:
        """Has a trial go on from its checkpoint in another worker, unless that has happened too often."""
        self._leave_full_disk(lost.traceback or lost.why)
        why, file = lost.why, self._controller.run.error(trial.id)
        if lost.memory and (used := trial.value("peak_rss_gb")):
            why = f"{why}; it had used {used:.1f} GB"
        if lost.traceback:
            file.parent.mkdir(exist_ok=True)
            with atomic_write(file) as temporary:
                temporary.write_text(lost.traceback, encoding="utf-8")
            why = f"{why} (traceback: {file.relative_to(self._controller.run.path)})"
        self._restarts[trial.id] += 1
        if self._restarts[trial.id] > MOST_RESTARTS:
            self._controller.end(trial.id, TrialState.FAILED, why)
        elif not self._controller.draining:
            self._controller.restart(trial.id, why)
            self._submit(trial)

    def _leave_full_disk(self, error: str) -> None:
        """Leaves the search where an error comes from a full disk, for no trial could write.

        Raises:
            UserError: it does.
        """
        folder = self._controller.run.path
        if comes_from_full_disk(error, folder):
            told = error.endswith(f"then {RESUME}")  # by our worker, which names the file
            raise UserError(error if told else full_disk_line(folder, RESUME))


def run_trials(
    run: RunDirectory,
    data: Dataset,
    controller: Controller,
    resources: Resources,
    limits: Limits = NO_LIMITS,
    silence: float = SILENT_SECONDS,
) -> End:
    """Runs trials on Ray until the search is over, has reached a limit, or is told to stop.

    Args:
        run: the run directory.
        data: what is trained on.
        controller: of the search.
        resources: what each trial gets.
        limits: where the search ends early.
        silence: seconds that a worker may give no sign of life.

    Returns:
        Which of the three.

    Raises:
        UserError: a disk was full; the search can be resumed.
        KeyboardInterrupt: Ctrl-C was pressed twice; it can be resumed too.
    """
    with _emptied(run.workers):
        pool = WorkerPool(_run_spec(run, controller.space, data, resources), resources, run.workers)
        loop = TrialLoop(controller, pool, limits, silence)

        def drain() -> None:
            loop.drain(CHEAP_SECONDS)
            console.print(
                f"Stopping: waits up to {CHEAP_SECONDS} s for reports under way; Ctrl-C again leaves at once."
            )

        try:
            with asked_to_stop(drain, lambda: controller.draining, gentle=(signal.SIGINT,)):
                loop.run()
        finally:
            pool.close()
    if not controller.draining or (loop.limited and controller.over):
        return "over"
    return "limited" if loop.limited else "stopped"


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """Makes a folder that holds nothing of a process that was killed; gone at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_spec(run: RunDirectory, space: SearchSpace, data: Dataset, resources: Resources) -> RunSpec:
    """Returns what all trials share."""
    schedule = space.schedule
    return RunSpec(
        task=space.task.name,
        data=str(data.path.absolute()),
        evaluation=space.evaluation,
        budget=Budget(schedule.resource, schedule.full, [*schedule.report_points()], [*space.probe_points()]),
        checkpoints=str(run.checkpoints),
        clip_losses=run.clip_losses_pattern,
        panel_answers=run.answers_pattern,
        baselines=str(run.baselines),
        threads=resources.cpus,
        device="cuda" if resources.gpus else "cpu",
        gpu_share=resources.gpus if 0 < resources.gpus < 1 else 1.0,
    )
