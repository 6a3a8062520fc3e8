"""`python -m benchmarks.fleet [TRIALS] [NODES]`: how a search decides for 10,000 trials on 100 nodes; nothing trains.

A pool hands out reports by a formula, in the order of a simulated clock: each takes a time drawn from an exponential
distribution. Every tenth node dies once, with all that runs there, and comes back. The loop, controller, scheduler
(`asha`), searcher (`random`) and journal are a search's own, in memory (/dev/shm). A checkpoint is a file without
content.

A decision is a line of the journal. What a disk takes to confirm a line (fsync) is measured beside it, on the disk of
the folder that this runs in. The last tenth of the trials against the first tells what grows with their number.
"""

import heapq
import itertools
import random
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from analysis.run_directory.paths import RunDirectory
from benchmarks import machine
from salt_tune.controller.controller import Controller
from salt_tune.controller.factory import make_scheduler, make_searcher
from salt_tune.controller.settings import Settings
from salt_tune.ray_backend.trial_loop import TrialLoop
from salt_tune.ray_backend.worker_pool import Lost, Slot
from salt_tune.runs.journal import Journal
from salt_tune.space.search_space import SearchSpace
from tests.toy_task import SPACE, ToyTask, report_of
from trainable.worker import Report, TrialSpec

TRIALS, NODES, SLOTS = 10_000, 100, 8
SEED, LINES = 0, 200
SCHEDULE = {"scheduler": "asha", "epochs": 9, "first_rung": 1, "reports": 9}


class Fleet:
    """A pool of simulated workers; see `salt_tune.ray_backend.trial_loop.Pool`."""

    def __init__(self, nodes: int, run: RunDirectory, space: SearchSpace) -> None:
        self._draw = random.Random(SEED)  # noqa: S311
        self._run, self._space, self._points = run, space, space.schedule.report_points()
        self._free = deque(Slot(number, f"n{number // SLOTS}") for number in range(nodes * SLOTS))
        self._due: list[tuple[float, int, Slot, TrialSpec]] = []
        self._now, self._order = 0.0, itertools.count()
        self._dying = {f"n{node}": self._draw.uniform(1, 20) for node in range(0, nodes, 10)}
        self.size = nodes * SLOTS
        self.deaths = self.lost = 0

    @property
    def free(self) -> int:
        """See `Pool`."""
        return len(self._free)

    @property
    def busy(self) -> int:
        """See `Pool`."""
        return len(self._due)

    def has(self, slot: Slot) -> bool:  # noqa: ARG002
        """See `Pool`: nodes come back at once."""
        return True

    def submit(self, trial: TrialSpec, patience: float, avoid: Slot | None = None) -> Slot:  # noqa: ARG002
        """See `Pool`."""
        slot = self._free.popleft()
        heapq.heappush(self._due, (self._now + self._draw.expovariate(1.0), next(self._order), slot, trial))
        return slot

    def wait(self, seconds: float) -> Iterator[tuple[TrialSpec, Slot, Report | Lost]]:  # noqa: ARG002
        """See `Pool`: gives the next report, and jumps to its time."""
        self._now, _, slot, trial = heapq.heappop(self._due)
        self._free.append(slot)
        if self._dying.get(slot.node, self._now) < self._now:
            yield from self._die(slot, trial)
        else:
            yield trial, slot, self._report(trial)

    def _die(self, slot: Slot, trial: TrialSpec) -> Iterator[tuple[TrialSpec, Slot, Report | Lost]]:
        del self._dying[slot.node]
        lost = Lost(f"node {slot.node} died", with_node=True)
        there = [(each, its) for _, _, its, each in self._due if its.node == slot.node]
        self._due = [due for due in self._due if due[2].node != slot.node]
        heapq.heapify(self._due)
        self._free += [its for _, its in there]
        self.deaths, self.lost = self.deaths + 1, self.lost + 1 + len(there)
        for each, its in [(trial, slot), *there]:
            yield each, its, lost

    def _report(self, trial: TrialSpec) -> Report:
        config = ToyTask("toy").config(trial.config)
        point = next(point for point in self._points if point > trial.known)
        status = "complete" if point == self._points[-1] else "running"
        self._run.checkpoint(trial.id).touch()
        return report_of(config, point, self._space.schedule.full, status)


class Rate:
    """Times decisions, tenth by tenth of the trials."""

    def __init__(self, controller: Controller, trials: int) -> None:
        self.lines = 0
        self.marks = [(time.perf_counter(), 0)]
        append, tenth = controller.journal.append, trials / 10

        def counted(entry: dict[str, Any]) -> None:
            append(entry)
            self.lines += 1
            if entry["event"] == "start" and len(controller.trials) + 1 >= tenth * len(self.marks):
                self.marks.append((time.perf_counter(), self.lines))

        controller.journal.append = counted  # type: ignore[method-assign]

    def of(self, part: int) -> str:
        """Returns decisions a second in a tenth."""
        (begun, before), (ended, after) = self.marks[part], self.marks[part + 1]
        return f"{(after - before) / (ended - begun):.0f}"


def main() -> None:
    """Measures and writes results/fleet-*.json."""
    trials, nodes = ([int(word) for word in sys.argv[1:]] + [TRIALS, NODES][len(sys.argv) - 1 :])[:2]
    space = SearchSpace.model_validate({**SPACE, "schedule": SCHEDULE, "trials": trials})
    with tempfile.TemporaryDirectory(dir="/dev/shm") as temporary:
        run = RunDirectory(Path(temporary) / "run")
        run.checkpoints.mkdir(parents=True)
        controller = Controller(
            space=space,
            settings=Settings(),
            scheduler=make_scheduler(space.schedule, trials),
            searcher=make_searcher(space, SEED),
            run=run,
            journal=Journal(run.decisions),
            reports=Journal(run.reports),
        )
        fleet = Fleet(nodes, run, space)
        loop, rate = TrialLoop(controller, fleet), Rate(controller, trials)
        before, begun = _memory(), time.perf_counter()
        loop.run()
        seconds = time.perf_counter() - begun
        assert controller.over
        machine.write(
            "fleet",
            {
                "nodes, trials at a time": f"{nodes}, {nodes * SLOTS}",
                "trials": trials,
                "decisions, reports": f"{rate.lines}, {_count(run.reports)}",
                "seconds": round(seconds),
                "decisions a second": round(rate.lines / seconds),
                "decisions a second: first, middle, last tenth of the trials": ", ".join(map(rate.of, (0, 4, 8))),
                "milliseconds that the disk takes to confirm a line": round(_disk_seconds() * 1000, 2),
                "driver's memory: before, most (MB)": f"{before:.0f}, {_memory():.0f}",
                "written: journal, reports (MB)": f"{_size(run.decisions):.1f}, {_size(run.reports):.1f}",
                "nodes that died, trials that went on from a checkpoint": f"{fleet.deaths}, {fleet.lost}",
            },
        )


def _disk_seconds() -> float:
    """Returns what a line of a journal takes on the disk of this folder."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as temporary:
        journal = Journal(Path(temporary) / "decisions.jsonl")
        begun = time.perf_counter()
        for _ in range(LINES):
            journal.append({"event": "result", "trial": "T0", "resource": 1.0, "status": "running", "score": 0.5})
        return (time.perf_counter() - begun) / LINES


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def _size(path: Path) -> float:
    return path.stat().st_size / 1e6


def _count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


if __name__ == "__main__":
    main()
