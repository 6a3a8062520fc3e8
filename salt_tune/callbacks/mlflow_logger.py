"""MLflow: one run a trial, in the experiment that has the search's name."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import Trial
from salt_tune.callbacks.lenient import Lenient
from salt_tune.callbacks.tracker import Tracker, require_package
from salt_tune.space.search_space import SearchSpace


def check_mlflow() -> None:
    """Makes sure that MLflow is there.

    Raises:
        UserError: it is not.
    """
    require_package("mlflow", "mlflow, or mlflow-skinny")


class MlflowLogger(Tracker):
    """Logs to the server of MLFLOW_TRACKING_URI, or to `mlflow.db` in the run directory; see `Tracker`.

    Args:
        run: the run directory; its name is that of the experiment.
        space: what is searched.
    """

    def __init__(self, run: RunDirectory, space: SearchSpace) -> None:
        super().__init__(run, space, Lenient("MLflow has failed ({why}); nothing more is logged there"))
        self._client: Any = None
        self._experiment = ""

    def _begin(self, trial: Trial, job: str, *, resume: bool) -> "_MlflowRun":
        client = self._connect()
        if resume:
            wanted = f"tags.`salt_tune.trial` = '{trial.id}'"
            for known in client.search_runs([self._experiment], wanted, max_results=1):
                client.update_run(known.info.run_id, status="RUNNING")
                return _MlflowRun(client, known.info.run_id)
        tags = {"salt_tune.trial": trial.id, "salt_tune.job": job}
        run_id = client.create_run(self._experiment, run_name=trial.id, tags=tags).info.run_id
        for name, value in trial.config.items():
            client.log_param(run_id, name, value)
        return _MlflowRun(client, run_id)

    def _connect(self) -> Any:
        if self._client is None:
            logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of the tables of its database
            from mlflow import MlflowClient

            here = f"sqlite:///{self._directory.path / 'mlflow.db'}"
            self._client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or here)
            name = self._directory.path.name
            known = self._client.get_experiment_by_name(name)
            self._experiment = known.experiment_id if known else self._client.create_experiment(name)
        return self._client


class _MlflowRun:
    """See `salt_tune.callbacks.tracker.TrackedRun`."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._id = client, run_id

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """See `TrackedRun`."""
        for name, value in numbers.items():
            self._client.log_metric(self._id, name, value, step=step)

    def finish(self, exit_code: int = 0) -> None:
        """See `TrackedRun`."""
        self._client.set_terminated(self._id, "FAILED" if exit_code else "FINISHED")
