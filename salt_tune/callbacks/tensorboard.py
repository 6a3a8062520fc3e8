"""TensorBoard's event files: a folder a trial, with the numbers of its reports and, at its end, its hyperparameters.

They are written for others to see, and never read again: where they cannot be written, the search goes on without.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.base import Report
from salt_tune.callbacks.lenient import Lenient
from salt_tune.space.search_space import SearchSpace


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


class TensorBoard:
    """Writes reports over the training's steps; see `salt_tune.callbacks.base.Callback`.

    Args:
        run: the run directory; the files go to its folder `tensorboard`.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:
        self._folder, self._space = run.tensorboard, space
        self._writers: dict[str, Any] = {}
        self._lenient = Lenient("TensorBoard's files cannot be written ({why}); the search goes on without them")

    def on_search_start(self, trials: Trials) -> None:
        """Writes nothing yet."""

    def on_trial_start(self, trial: Trial) -> None:
        """Writes nothing yet."""

    def on_trial_result(self, trial: Trial, report: Report) -> None:
        """Writes the numbers of a report."""
        numbers = {name: value for name, value in report.items() if isinstance(value, int | float)}
        step = int(report.get("step", len(trial.scores)))

        def write(writer: Any) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)

        self._try(trial, write)

    def on_trial_pause(self, trial: Trial) -> None:
        """Leaves the files open."""

    def on_trial_restart(self, trial: Trial, why: str) -> None:
        """Leaves the files open."""

    def on_trial_end(self, trial: Trial) -> None:
        """Writes the searched hyperparameters beside the objective, and closes the files of a trial."""
        if trial.id not in self._writers:
            return
        value = self._space.objective.value(trial.metrics) if trial.metrics else None
        if value is not None:
            name = f"final/{self._space.objective.name}"
            self._try(trial, lambda writer: _write_hyperparameters(writer, trial, name, value))
        self._try(trial, lambda writer: writer.close())
        self._writers.pop(trial.id, None)

    def on_search_end(self, trials: Trials, *, over: bool) -> None:  # noqa: ARG002
        """Closes what is still open."""
        for name in [*self._writers]:
            self._try(trials[name], lambda writer: writer.close())
        self._writers.clear()

    def _try(self, trial: Trial, write: Callable[[Any], None]) -> None:
        self._lenient(lambda: write(self._writer(trial.id)))

    def _writer(self, trial: str) -> Any:
        if trial not in self._writers:
            with _unloadable("torch"):  # tensorboardX loads it if it can, for tensors; reports have none
                from tensorboardX import SummaryWriter
            # Its thread may die of an error that it does not tell: with a bound on its queue, this one would wait for
            # ever.
            self._writers[trial] = SummaryWriter(str(self._folder / trial), max_queue=0)
        return self._writers[trial]


def _write_hyperparameters(writer: Any, trial: Trial, metric: str, value: float) -> None:
    """Writes what the tab HPARAMS shows; `SummaryWriter.add_hparams` may take the name of a file that is open."""
    with _unloadable("torch"):
        from tensorboardX.summary import hparams
    for summary in hparams(dict(trial.parameters), {metric: value}):
        writer.file_writer.add_summary(summary)
    writer.add_scalar(metric, value)
