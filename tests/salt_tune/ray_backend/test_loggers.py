"""What Ray writes for others to see never ends a search."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

from salt_tune.ray_backend.loggers import Onlooker, onlookers
from tests.conftest import ROOT

RESULT = {"training_iteration": 1, "loss": 0.5, "config": {"lr": 1e-3}}


@dataclass(eq=False)
class Trial:
    """As much of one of Ray's trials as its loggers look at."""

    local_path: str
    config: dict[str, Any] = field(default_factory=lambda: {"lr": 1e-3})
    evaluated_params: dict[str, Any] = field(default_factory=lambda: {"lr": 1e-3})
    checkpoint: None = None

    def init_local_path(self) -> None:
        """Makes the trial's folder."""
        Path(self.local_path).mkdir(exist_ok=True)


def watch(logger: Any, trial: Any, results: int = 2) -> None:
    for _ in range(results):
        logger.log_trial_result(1, trial, dict(RESULT))
    logger.log_trial_end(trial)


def test_all_of_rays_own_are_there() -> None:
    kinds = {type(onlooker._logger) for onlooker in onlookers()}
    assert kinds == {CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback}


def test_they_write_what_they_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensorboard = next(onlooker for onlooker in onlookers() if isinstance(onlooker._logger, TBXLoggerCallback))
    trial = Trial(str(tmp_path / "T0"))
    watch(tensorboard, trial, 30)
    (events,) = (tmp_path / "T0").glob("events.out.tfevents.*")
    assert events.read_bytes().count(b"ray/tune/loss") >= 30
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", [JsonLoggerCallback, CSVLoggerCallback, TBXLoggerCallback])
def test_where_it_cannot_write_it_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type[Any]
) -> None:
    (tmp_path / "T0").touch()  # a file, where the trial's folder should be
    onlooker = Onlooker(kind())
    for _ in range(2):
        watch(onlooker, Trial(str(tmp_path / "T0")))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert said.startswith(f"warning: Ray's {kind.__name__} cannot write (") and "T0" in said


def test_it_is_pickled_without_what_it_has_open(tmp_path: Path) -> None:
    for onlooker in onlookers():
        again = cloudpickle.loads(cloudpickle.dumps(onlooker))
        watch(again, Trial(str(tmp_path / "T0")))
    assert not (tmp_path / "T0").exists()


def test_the_driver_stays_without_torch() -> None:
    program = (
        "import sys; from salt_tune.ray_backend.loggers import onlookers; onlookers(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
