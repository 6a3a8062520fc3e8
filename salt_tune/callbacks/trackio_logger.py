"""Trackio: one run a trial, in the group and project that have the search's name."""

import contextlib
import io
from collections.abc import Callable, Mapping
from typing import Any

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.lenient import Lenient
from salt_tune.callbacks.tracker import Tracker, require_package
from salt_tune.space.search_space import SearchSpace


def check_trackio() -> None:
    """Makes sure that Trackio is there.

    Raises:
        UserError: it is not.
    """
    require_package("trackio", "trackio")


class TrackioLogger(Tracker):
    """Logs to where Trackio does, such as TRACKIO_DIR; see `Tracker`.

    Args:
        run: the run directory; its name is that of project and group.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:
        super().__init__(run, space, Lenient("Trackio has failed ({why}); nothing more is logged there"))
        self._begun = False

    def _begin(self, trial: Trial, job: str, *, resume: bool) -> "_TrackioRun":
        import trackio

        self._begun = True
        name, config = self._directory.path.name, {**trial.config, "job": job}
        settings = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        how = "allow" if resume else "never"
        return _TrackioRun(
            _silently(
                lambda: trackio.init(project=name, group=name, name=trial.id, config=config, resume=how, **settings)
            )
        )

    def on_search_end(self, trials: Trials, *, over: bool) -> None:
        """See `Tracker`."""
        super().on_search_end(trials, over=over)
        if self._begun:
            import trackio

            self._try(lambda: _silently(trackio.finish))  # else it would say so as the process exits


class _TrackioRun:
    """See `salt_tune.callbacks.tracker.TrackedRun`."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """See `TrackedRun`."""
        _silently(lambda: self._run.log(dict(numbers), step=step))

    def finish(self, exit_code: int = 0) -> None:  # noqa: ARG002  it knows no failure
        """See `TrackedRun`."""
        _silently(self._run.finish)


def _silently(call: Callable[[], Any]) -> Any:
    """Calls what prints where only this package prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call()
