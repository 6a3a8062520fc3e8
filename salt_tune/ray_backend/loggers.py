"""What Ray writes of each trial for others to see, in ray/: result.json, progress.csv, TensorBoard's events.

Nothing here reads it again, so where it cannot be written the search goes on without it.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, LoggerCallback, TBXLoggerCallback

from salt_tune.ui.console import console


class Onlooker(LoggerCallback):
    """One of Ray's loggers, until it fails: then one line says so, and it is asked no more."""

    def __init__(self, logger: LoggerCallback) -> None:
        self._logger: LoggerCallback | None = logger

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the logger out of what Ray pickles with the experiment, which is never read again."""
        return {"_logger": None}

    def log_trial_start(self, trial: Trial) -> None:
        """See `ray.tune.logger.LoggerCallback`."""
        self._tell(lambda logger: logger.log_trial_start(trial))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """See `ray.tune.logger.LoggerCallback`."""
        self._tell(lambda logger: logger.log_trial_result(iteration, trial, result))

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """See `ray.tune.logger.LoggerCallback`."""
        self._tell(lambda logger: logger.log_trial_end(trial, failed))

    def _tell(self, tell: Callable[[LoggerCallback], None]) -> None:
        if self._logger is None:
            return
        try:
            tell(self._logger)
        except Exception as error:
            lost, self._logger = type(self._logger).__name__, None
            console.print(f"warning: Ray's {lost} cannot write ({error}); the search goes on without it")


@contextmanager
def _unloadable(module: str) -> Iterator[None]:
    """Makes an import of `module` fail, where it has not been loaded yet."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # so Python marks what cannot be imported
    try:
        yield
    finally:
        del sys.modules[module]


def onlookers() -> list[LoggerCallback]:
    """Returns Ray's own loggers, which Tune would add itself."""
    with _unloadable("torch"):  # tensorboardX loads it if it can, for tensors; reports have none
        tensorboard = TBXLoggerCallback()
    # Its thread may die of an error that it tells nobody: with its queue of 10, an eleventh value would wait for ever.
    tensorboard._summary_writer_cls = partial(tensorboard._summary_writer_cls, max_queue=0)
    return [Onlooker(logger) for logger in (CSVLoggerCallback(), JsonLoggerCallback(), tensorboard)]
