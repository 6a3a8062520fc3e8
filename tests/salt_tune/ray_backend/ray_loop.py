"""`python -m tests.salt_tune.ray_backend.ray_loop FILE`: records what Ray's schedulers decide in Ray's own loop.

Losses are a formula. A recording is a list of events in their order: ["start", trial], where a trial starts or goes on
after a pause, and ["result", trial, step, score, decision], whose decision is null where the trial is complete.
"""

import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salt_tune.ray_backend.environment import set_ray_environment

set_ray_environment()
import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

TRIALS, FULL, FACTOR = 20, 9, 3
RESOURCE = {"time_attr": "resource", "grace_period": 1}
SCHEDULERS: dict[str, tuple[type, dict[str, Any]]] = {
    "asha_stop": (AsyncHyperBandScheduler, {**RESOURCE, "max_t": FULL, "reduction_factor": FACTOR}),
    "median": (MedianStoppingRule, RESOURCE),
    "hyperband": (HyperBandScheduler, {"max_t": FULL, "reduction_factor": FACTOR}),
}

Events = list[list[Any]]


def score(trial: int, step: int) -> float:
    """Curves that cross: some fall fast and end high."""
    end, rate = math.sin(7 * trial + 1) / 10, 0.2 + 0.6 * ((5 * trial) % 7) / 7
    loss: float = round(0.5 + end + 0.4 * step**-rate, 6)
    return loss


class Curve(tune.Trainable):  # type: ignore[misc]
    """A trial; its checkpoint is its step."""

    def setup(self, config: dict[str, Any]) -> None:
        """See `ray.tune.Trainable`."""
        self.steps, self.number = 0, config["number"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """See `ray.tune.Trainable`."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """See `ray.tune.Trainable`."""
        self.steps += 1
        return {"resource": self.steps, "score": score(self.number, self.steps), "done": self.steps == FULL}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """See `ray.tune.Trainable`."""
        Path(checkpoint_dir, "steps.json").write_text(json.dumps(self.steps))

    def load_checkpoint(self, checkpoint: Any) -> None:
        """See `ray.tune.Trainable`."""
        self.steps = json.loads(Path(checkpoint, "steps.json").read_text())


class OneByOne(Searcher):  # type: ignore[misc]
    """Gives a trial where a worker is free, as a search does."""

    def __init__(self, workers: int) -> None:
        super().__init__(metric="score", mode="min")
        self._workers, self._given = workers, 0
        self._live: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def suggest(self, trial_id: str) -> Any:
        """See `ray.tune.search.Searcher`."""
        if self._given == TRIALS:
            return Searcher.FINISHED
        if len(self._live) == self._workers:
            return None
        self._live.add(trial_id)
        self._given += 1
        return {"number": self._given - 1}

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """See `ray.tune.search.Searcher`."""
        self._live.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """It keeps nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """It keeps nothing."""


class Starts(tune.Callback):  # type: ignore[misc]
    """Writes down which trial is started."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, trial: Any, **_: Any) -> None:
        """See `ray.tune.Callback`."""
        self._events.append(["start", trial.config["number"]])


def recorded(kind: type, events: Events) -> type:
    """A class of Ray's schedulers that writes down what it decides."""

    class Recorded(kind):  # type: ignore[misc]
        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            decision = str(super().on_trial_result(tune_controller, trial, result))
            events.append(["result", trial.config["number"], result["resource"], result["score"], decision])
            return decision

        def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
            if result["resource"] == FULL:
                events.append(["result", trial.config["number"], FULL, result["score"], None])
            super().on_trial_complete(tune_controller, trial, result)

    return Recorded


def record(name: str, workers: int, *, all_wait: bool) -> Events:
    """A search in Ray's loop.

    Args:
        name: of the scheduler.
        workers: trials at a time.
        all_wait: whether Ray has all trials from the start; otherwise each as it starts, as a search gives them to it.
    """
    events: Events = []
    kind, options = SCHEDULERS[name]
    scheduler = recorded(kind, events)(metric="score", mode="min", **options)
    given: dict[str, Any] = {} if all_wait else {"search_alg": OneByOne(workers), "num_samples": -1}
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(Curve, {"cpu": 1}),
            param_space={"number": tune.grid_search([*range(TRIALS)])} if all_wait else {},
            tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True, **given),
            run_config=tune.RunConfig(storage_path=folder, name=name, callbacks=[Starts(events)], verbose=0),
        ).fit()
    return events


def recordings() -> Iterator[tuple[str, Events]]:
    """All of them, by "scheduler, workers, whether all trials wait"."""
    for workers in (1, 2):
        ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
        for name in SCHEDULERS:
            for all_wait in (False, True):
                if name != "median" or not all_wait:  # which trial goes on after a pause hangs on how long pauses take
                    yield f"{name}, {workers}, {all_wait}", record(name, workers, all_wait=all_wait)
        ray.shutdown()


def main() -> None:
    """Records, and writes a line an event."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(TRIALS)
    texts = (f"{json.dumps(key)}: [\n" + ",\n".join(map(json.dumps, events)) + "]" for key, events in recordings())
    Path(sys.argv[1]).write_text("{" + ",\n".join(texts) + "}\n")


if __name__ == "__main__":
    main()
