"""Which trials keep their checkpoints."""

from collections.abc import Container, Iterable, Mapping
from typing import Final

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import complete
from analysis.run_directory.reports import natural
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.report.finalists import MOST_TIED

GO_ON: Final = (TrialState.RUNNING, TrialState.PAUSED)


def delete_checkpoints(
    run: RunDirectory,
    trials: Mapping[str, Trial],
    states: Container[TrialState] = (),
    best: Container[str] | None = None,
) -> None:
    """Deletes the checkpoints of trials that neither go on nor may turn out to be the best.

    Args:
        run: their run.
        trials: all of them; other files stay.
        states: of trials that go on.
        best: trials that may be the best; None: the first of those that are complete, as many as may be tied.
    """
    if best is None:
        best = [trial.id for trial in complete(trials.values())[:MOST_TIED]]
    for path in run.checkpoints.glob("*.safetensors"):
        trial = trials.get(path.stem)
        if trial and trial.state not in states and trial.id not in best:
            path.unlink(missing_ok=True)


class Checkpoints:
    """Deletes checkpoints as a search goes on, in a time that does not grow with its trials.

    Args:
        run: of the search.
        trials: of the search; what comes later is added to them.
    """

    def __init__(self, run: RunDirectory, trials: Mapping[str, Trial]) -> None:
        self._run, self._trials = run, trials
        self._best: list[str] | None = None  # that may be the best, so far; None: not looked at yet

    def after(self, changed: Iterable[str]) -> None:
        """Deletes what will not be read again, after trials have come into other states.

        Args:
            changed: those trials. The first time, all files are looked at: a process before may have left some.
        """
        if self._best is None:
            delete_checkpoints(self._run, self._trials, GO_ON)
            self._best = [trial.id for trial in complete(self._trials.values())[:MOST_TIED]]
            return
        names = sorted({*self._best, *changed}, key=natural)  # as trials were added
        self._best = [trial.id for trial in complete(self._trials[name] for name in names)[:MOST_TIED]]
        for name in names:
            if name not in self._best and self._trials[name].state not in GO_ON:
                self._run.checkpoint(name).unlink(missing_ok=True)
