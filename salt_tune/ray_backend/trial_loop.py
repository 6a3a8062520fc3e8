"""Runs the trials of a search: asks the controller what is next, has it trained, and tells what came of it."""

import math
import shutil
import signal
import time
from collections import Counter, deque
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
from salt_tune.ray_backend.nodes import ALONE, Node, Nodes
from salt_tune.ray_backend.signs_of_life import longest_silence
from salt_tune.ray_backend.worker_pool import Lost, Slot, WorkerPool
from salt_tune.space.search_space import SearchSpace
from salt_tune.ui.console import console
from salt_tune.ui.format import counted
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, full_disk_line
from salt_tune.ui.signals import asked_to_stop
from trainable.budget import Budget
from trainable.errors import UserError
from trainable.files import atomic_write
from trainable.heartbeat import SILENT_SECONDS
from trainable.worker import Report, RunSpec, TrialSpec

MOST_RESTARTS: Final = 3  # of a trial whose worker was lost
CHEAP_SECONDS: Final = 30  # how long a first Ctrl-C waits for reports under way
LOOKS_UP: Final = 0.5  # seconds; a signal is heard no later
NODE_SECONDS: Final = 300.0  # that a search without a node waits for one

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

    @property
    def size(self) -> int:
        """See `WorkerPool.size`."""
        ...

    def has(self, slot: Slot) -> bool:
        """See `WorkerPool.has`."""
        ...

    def submit(self, trial: TrialSpec, patience: float, avoid: Slot | None = None) -> Slot:
        """See `WorkerPool.submit`."""
        ...

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, Slot, Report | Lost]]:
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
        moved: how many times a trial has gone on at another node than before.
    """

    def __init__(
        self, controller: Controller, pool: Pool, limits: Limits = NO_LIMITS, silence: float = SILENT_SECONDS
    ) -> None:
        self._controller, self._pool, self._limits, self._silence = controller, pool, limits, silence
        self.limited: str | None = None
        self.moved = 0
        self._lost: deque[tuple[Trial, Slot, str]] = deque()  # that go on as soon as there is a slot
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
            UserError: a disk was full, or no node is left; the search can be resumed.
        """
        self._started = time.monotonic()
        while time.monotonic() < self._leave_at:
            self._heed_limits()
            self._wait_for_a_node()
            while self._pool.free and self._lost and not self._controller.draining:
                self._go_on(*self._lost.popleft())
            while self._pool.free and (trial := self._controller.next()) is not None:
                self._submit(trial)
            if not self._pool.busy:
                return
            for spec, slot, came in self._pool.wait(LOOKS_UP):
                trial = self._controller.trials[spec.id]
                if isinstance(came, Lost):
                    self._try_again(trial, slot, came)
                else:
                    node = {"node": slot.node} if slot.node != ALONE else {}
                    submitted = self._submitted[spec.id]
                    self._take(trial, slot, {**came, "slot": slot.number, **node, "submitted": submitted})

    def _wait_for_a_node(self) -> None:
        """Waits where no node is left; the search's callbacks hear nothing meanwhile.

        Raises:
            UserError: none has come.
        """
        if self._pool.size or self._controller.draining:
            return
        console.print(f"no node is left: waits {NODE_SECONDS / 60:.0f} minutes for one to come")
        until = min(time.monotonic() + NODE_SECONDS, self._leave_at)
        while not self._pool.size and not self._controller.draining:
            if time.monotonic() > until:
                raise UserError(f"no node is left that can train; {RESUME}")
            for _ in self._pool.wait(LOOKS_UP):
                pass  # nothing trains
            time.sleep(LOOKS_UP)

    def _submit(self, trial: Trial, avoid: Slot | None = None) -> Slot:
        patience = longest_silence(self._silence, trial.value("step_seconds"))
        self._submitted[trial.id] = datetime.now(UTC).isoformat()
        return self._pool.submit(TrialSpec(trial.id, trial.config, trial.resource), patience, avoid)

    def _go_on(self, trial: Trial, before: Slot, why: str) -> None:
        """Has a trial whose worker was lost go on from its checkpoint, rather on another node."""
        slot = self._submit(trial, before)
        if slot.node != before.node:
            self.moved += 1
            why = f"{why}: moved from node {before.node} to node {slot.node}"
        self._controller.restart(trial.id, why)

    def _heed_limits(self) -> None:
        if not self._controller.draining:
            seconds = time.monotonic() - self._started
            self.limited = self._limits.reached(seconds, self._controller.trials.values())
            if self.limited:
                console.print(f"{self.limited} is reached: waits for the reports under way")
                self.drain(math.inf)

    def _take(self, trial: Trial, slot: Slot, report: dict[str, Any]) -> None:
        """Tells the controller of a report, and does what it decides."""
        if report["status"] == TrialState.FAILED:
            self._leave_full_disk(report["error"])
            self._controller.end(trial.id, TrialState.FAILED, report["error"])
            return
        decision = self._controller.report(trial.id, report)
        self._heed_limits()
        if decision is Decision.CONTINUE and not self._controller.draining:
            if self._pool.has(slot):
                self._submit(trial)
            else:
                self._lost.append((trial, slot, f"node {slot.node} was left out"))
        elif decision is Decision.PAUSE and not self._controller.is_next(trial.id):
            self._controller.pause(trial.id)

    def _try_again(self, trial: Trial, slot: Slot, lost: Lost) -> None:
        """Has a trial go on in another worker as soon as one is free, unless that has happened too often."""
        self._leave_full_disk(lost.traceback or lost.why)
        why, file = lost.why, self._controller.run.error(trial.id)
        if lost.memory and (used := trial.value("peak_rss_gb")):
            why = f"{why}; it had used {used:.1f} GB"
        if lost.traceback:
            file.parent.mkdir(exist_ok=True)
            with atomic_write(file) as temporary:
                temporary.write_text(lost.traceback, encoding="utf-8")
            why = f"{why} (traceback: {file.relative_to(self._controller.run.path)})"
        self._restarts[trial.id] += not lost.with_node
        if self._restarts[trial.id] > MOST_RESTARTS:
            self._controller.end(trial.id, TrialState.FAILED, why)
        else:
            self._lost.append((trial, slot, why))

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
    controller: Controller,
    nodes: Nodes,
    limits: Limits = NO_LIMITS,
    silence: float = SILENT_SECONDS,
) -> End:
    """Runs trials on Ray until the search is over, has reached a limit, or is told to stop.

    Args:
        run: the run directory.
        controller: of the search.
        nodes: where they run.
        limits: where the search ends early.
        silence: seconds that a worker may give no sign of life.

    Returns:
        Which of the three.

    Raises:
        UserError: a disk was full, or no node is left; the search can be resumed.
        KeyboardInterrupt: Ctrl-C was pressed twice; it can be resumed too.
    """
    with _emptied(run.workers):
        pool = WorkerPool(nodes, lambda node: _run_spec(run, controller.space, node), run.workers)
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
            if loop.moved:
                console.print(f"{counted(loop.moved, 'trial')} moved from one node to another")
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


def _run_spec(run: RunDirectory, space: SearchSpace, node: Node) -> RunSpec:
    """Returns what all trials share on a node."""
    schedule, resources = space.schedule, node.resources
    return RunSpec(
        task=space.task.name,
        data=str(node.data.absolute()),
        evaluation=space.evaluation,
        budget=Budget(schedule.resource, schedule.full, [*schedule.report_points()], [*space.probe_points()]),
        checkpoints=str(run.checkpoints),
        clip_losses=run.clip_losses_pattern,
        panel_answers=run.answers_pattern,
        steps=run.steps_pattern,
        baselines=str(run.baselines),
        threads=resources.cpus,
        device="cuda" if resources.gpus else "cpu",
        gpu_share=resources.gpus if 0 < resources.gpus < 1 else 1.0,
    )
