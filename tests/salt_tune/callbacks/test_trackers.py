"""MLflow and Trackio, where their packages are there; contracts/test_callbacks.py has what all callbacks keep to."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from analysis.run_directory.events import JobStarted, TrialEnded, Trials
from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.trials import TrialState
from salt_tune.callbacks.mlflow_logger import MlflowLogger
from salt_tune.callbacks.tracker import Tracker
from salt_tune.callbacks.trackio_logger import TrackioLogger
from salt_tune.controller.following import Following
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space
from trainable.errors import UserError


def follow(make: type[MlflowLogger] | type[TrackioLogger], folder: Path) -> None:
    """A search of a trial and a replicate, stopped after two reports and gone on with; one is lost in the end."""
    trials = Trials(2)
    for points in ((0.5, 1.0), (1.0, 2.0, 3.0)):
        logger: Tracker = make(RunDirectory(folder), make_space())
        logger.on_search_start(trials)
        for name, of in (("T0", None), ("T0-seed1", "T0")):
            if name not in trials:
                add_trial(trials, name, make_space(), replicate_of=of)
            trials.apply(JobStarted(name, 0.0, 3.0, "a test"))
            logger.on_trial_start(trials[name])
            for point in points:
                report = make_report(point, 1 / (1 + point))
                logger.on_trial_result(add_report(trials, name, report, make_space()), report)
        if points[-1] == 3.0:
            for name, state in (("T0", TrialState.COMPLETE), ("T0-seed1", TrialState.DIVERGED)):
                trials.apply(TrialEnded(name, state))
                logger.on_trial_end(trials[name])
        logger.on_search_end(trials, over=False)


LOSSES = [1 / 1.5, 1 / 2, 1 / 3, 1 / 4]


def test_mlflow_has_a_run_a_trial(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    follow(MlflowLogger, tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(tmp_path.name).experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert {name: run.info.status for name, run in runs.items()} == {"T0": "FINISHED", "T0-seed1": "FAILED"}
    assert {run.data.tags["salt_tune.job"] for run in runs.values()} == {"trial", "replicate"}
    history = client.get_metric_history(runs["T0"].info.run_id, "objective")
    assert [point.value for point in history] == pytest.approx(LOSSES)
    assert [point.step for point in history] == [1, 2, 3, 4]
    assert float(runs["T0"].data.params["lr"]) == 1e-3
    assert "warning" not in "".join(capfd.readouterr())


def test_trackio_has_a_run_a_trial(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    follow(TrackioLogger, tmp_path)
    assert set(storage.get_runs(tmp_path.name)) == {"T0", "T0-seed1"}
    logs = storage.get_logs(tmp_path.name, "T0")
    assert [log["objective"] for log in logs] == pytest.approx(LOSSES)
    assert [log["step"] for log in logs] == [1, 2, 3, 4]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["mlflow", "trackio"])
def test_a_package_that_is_not_there_is_a_line(name: str) -> None:
    if find_spec(name) is not None:
        pytest.skip(f"{name} is there")
    with pytest.raises(UserError, match=f"^--{name}: needs the package {name}.*pip install"):
        Following(**{name: True}).check()  # type: ignore[arg-type]
