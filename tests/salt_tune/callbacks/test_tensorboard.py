"""What TensorBoard is given of a search; contracts/test_callbacks.py has what all callbacks keep to."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.run_directory.events import Trials
from analysis.run_directory.paths import RunDirectory
from salt_tune.callbacks.tensorboard import TensorBoard
from tests.conftest import ROOT
from tests.salt_tune.made_trials import add_report, add_trial, make_report, make_space


def follow(folder: Path, reports: int = 30) -> None:
    space, trials = make_space(), Trials(9)
    callback, trial = TensorBoard(RunDirectory(folder), space), add_trial(trials, "T0", space)
    callback.on_search_start(trials)
    callback.on_trial_start(trial)
    for number in range(1, reports + 1):
        report = make_report(number / 10, 1 / number, step=number)
        add_report(trials, "T0", report, space)
        callback.on_trial_result(trial, report)
    callback.on_trial_end(trial)
    callback.on_search_end(trials, over=True)


def test_the_numbers_of_all_reports_are_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    follow(tmp_path)
    events = b"".join(file.read_bytes() for file in (tmp_path / "tensorboard" / "T0").glob("events.out.tfevents.*"))
    assert events.count(b"val_loss_se") == 30
    assert b"final/val_loss" in events and b"lr" in events and b"running" not in events
    assert capsys.readouterr().out == ""


def test_where_it_cannot_write_it_says_so_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tensorboard").touch()  # a file, where the folder should be
    follow(tmp_path)
    said = capsys.readouterr().err
    assert said.count("warning: ") == 1 and said.startswith("warning: TensorBoard's files cannot be written (")


def test_the_driver_stays_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.salt_tune.callbacks.test_tensorboard import follow\n"
        "follow(Path(sys.argv[1])); print('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
