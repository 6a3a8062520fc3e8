"""How long a decision takes with 10,000 trials and 100 workers."""

import time

import numpy as np

from benchmarks import machine
from benchmarks.replay import synthetic
from benchmarks.replay.clock import Method, replay
from benchmarks.replay.curves import Pool
from benchmarks.replay.methods import asha, thaw
from benchmarks.replay.suggestions import InOrder
from salt_tune.schedulers.base import Job

TRIALS, WORKERS, FULL = 10_000, 100, 27


class Timed:
    """A method with a stop-watch: a decision is all that is asked from one result to the next.

    Args:
        method: what is measured.

    Attributes:
        seconds: of each decision.
    """

    def __init__(self, method: Method) -> None:
        self._method = method
        self.compared = method.compared
        self.seconds = [0.0]

    def next_job(self) -> Job | None:
        """See `clock.Method`."""
        started = time.perf_counter()
        job = self._method.next_job()
        self.seconds[-1] += time.perf_counter() - started
        return job

    def on_job(self, trial: str, milestone: float) -> None:
        """See `clock.Method`."""
        started = time.perf_counter()
        self._method.on_job(trial, milestone)
        self.seconds[-1] += time.perf_counter() - started

    def on_trial_result(self, trial: str, resource: float, score: float) -> None:
        """See `clock.Method`."""
        started = time.perf_counter()
        self._method.on_trial_result(trial, resource, score)
        self.seconds.append(time.perf_counter() - started)

    def on_trial_end(self, trial: str) -> None:
        """See `clock.Method`."""
        started = time.perf_counter()
        self._method.on_trial_end(trial)
        self.seconds.append(time.perf_counter() - started)

    def prunable(self) -> list[str]:
        """See `clock.Method`."""
        started = time.perf_counter()
        prunable = self._method.prunable()
        self.seconds[-1] += time.perf_counter() - started
        return prunable

    def on_trial_prune(self, trial: str) -> None:
        """See `clock.Method`."""
        started = time.perf_counter()
        self._method.on_trial_prune(trial)
        self.seconds[-1] += time.perf_counter() - started


def measure() -> None:
    """Measures and writes results/schedulers-scale-*.json."""
    values, _ = synthetic.draw("power", FULL, configs=TRIALS, seeds=1)
    clock = np.tile(np.arange(FULL + 1.0), (TRIALS, 1))
    pool = Pool("power", values, clock, values[0, :, FULL], None)
    figures: dict[str, object] = {"trials": TRIALS, "workers": WORKERS}
    methods: dict[str, Method] = {
        "asha": asha(TRIALS, FULL, first=1),
        "freeze_thaw": thaw(TRIALS, FULL),
        "freeze_thaw, keep 1000": thaw(TRIALS, FULL, keep=1000),
    }
    for name, method in methods.items():
        timed = Timed(method)
        replay(timed, InOrder(range(TRIALS)), pool, WORKERS)
        milliseconds = 1e3 * np.array(timed.seconds[1:])
        figures |= {
            f"{name}: decisions": len(milliseconds),
            f"{name}: ms a decision, mean": round(float(milliseconds.mean()), 3),
            f"{name}: ms a decision, median": round(float(np.median(milliseconds)), 3),
            f"{name}: ms a decision, 99th percentile": round(float(np.quantile(milliseconds, 0.99)), 3),
            f"{name}: ms a decision, most": round(float(milliseconds.max()), 1),
        }
    machine.write("schedulers-scale", figures)


if __name__ == "__main__":
    measure()
