"""Driven as a search drives it: one process takes trial after trial, which pause, go on, and run out of memory."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.trainable.small import assert_equal_tensors
from tests.trainable.trials import POINTS, clip_losses, make_run, make_trial, told
from trainable.data.store.clip_store import ClipStore
from trainable.trial_process import TrialProcess
from trainable.worker import TrialSpec

Make = Callable[[], TrialProcess]


@pytest.fixture
def make(tmp_path: Path, store: ClipStore) -> Iterator[Make]:
    """Makes processes; files of all trials go to `tmp_path`."""
    made: list[TrialProcess] = []

    def process() -> TrialProcess:
        made.append(TrialProcess(make_run(tmp_path, store)))
        return made[-1]

    yield process
    for process_ in made:
        process_.close()


def alone(process: TrialProcess, trial: TrialSpec) -> list[dict[str, Any]]:
    """All reports of a trial that nothing interrupts."""
    reports: list[dict[str, Any]] = []
    for _ in POINTS:
        reports.append(process.next_report(trial))
        trial = replace(trial, known=reports[-1]["resource"])
    return reports


def test_trials_take_turns_in_two_processes_and_are_as_if_alone(make: Make, tmp_path: Path) -> None:
    """Each trial goes to the other process at every turn, and so meets what that process has of it from before."""
    trials = {"T0": make_trial("T0"), "T1": make_trial("T1", predictor_depth=2, batch_size=4)}
    processes, reports = [make(), make()], {name: [] for name in trials}  # type: ignore[var-annotated]
    for turn in range(2 * len(POINTS)):
        name = f"T{turn % 2}"
        known = reports[name][-1]["resource"] if reports[name] else 0.0
        reports[name].append(processes[(turn // 2) % 2].next_report(replace(trials[name], known=known)))

    for name, trial in trials.items():
        expected = alone(make(), replace(trial, id=f"{name}-alone"))
        assert [told(report) for report in reports[name]] == [told(report) for report in expected]
        assert clip_losses(tmp_path, name) == clip_losses(tmp_path, f"{name}-alone")
        assert_equal_tensors(
            load_file(tmp_path / "checkpoints" / f"{name}.safetensors"),
            load_file(tmp_path / "checkpoints" / f"{name}-alone.safetensors"),
        )


def test_what_it_has_of_a_trial_that_went_on_elsewhere_is_not_taken(make: Make) -> None:
    first, second = make(), make()
    trial = make_trial()
    first.next_report(trial)
    for known in (0.5, 1.0):
        second.next_report(replace(trial, known=known))
    report = first.next_report(replace(trial, known=1.75))
    assert told(report) == told(alone(make(), replace(trial, id="alone"))[-1])


@pytest.mark.parametrize(("known", "first"), [(0.0, 0.5), (0.5, 1.0)])
def test_after_a_process_that_died_what_the_search_knows_decides(make: Make, known: float, first: float) -> None:
    """A report that the search has not got is given again; it costs no training."""
    report = make().next_report(make_trial())
    again = make().next_report(make_trial(known=known))
    assert again["resource"] == first
    assert ({**again, "began": ""} == {**report, "began": ""}) is (first == 0.5)


def test_what_no_process_could_do_is_a_report(make: Make, tmp_path: Path) -> None:
    process = make()
    first = process.next_report(make_trial("T0"))
    damaged = tmp_path / "checkpoints" / "T1.safetensors"
    damaged.write_bytes(b"cut off")
    report = process.next_report(make_trial("T1"))
    assert (report["status"], report["resource"]) == ("failed", 0.0)
    assert report["error"].startswith(f"{damaged}: ")
    assert process.next_report(make_trial("T2"))["val_loss"] == first["val_loss"]


def test_a_dataset_that_has_gone_is_a_report(tmp_path: Path, store: ClipStore) -> None:
    process = TrialProcess(replace(make_run(tmp_path, store), data=str(tmp_path / "gone")))
    report = process.next_report(make_trial())
    assert report["status"] == "failed" and str(tmp_path / "gone") in report["error"]
    process.close()


def test_hyperparameters_that_do_not_fit_are_a_report_of_the_first_and_of_later_trials(make: Make) -> None:
    process, fits = make(), make_trial("T1")
    wrong = replace(fits, config={**fits.config, "predictor_dim": 100})
    for name in ("T0", "T2"):
        report = process.next_report(replace(wrong, id=name))
        assert (report["status"], report["resource"]) == ("failed", 0.0)
        assert report["error"].startswith("predictor_dim = 100: must be divisible by 64 (a head), such as")
        assert process.next_report(replace(fits, id=f"{name}-fits"))["status"] == "running"


# In one process, with 600 MB of memory: a trial that fits; one whose weights fit, but not their gradients and moments;
# one whose weights do not; then one that fits again.
CROWDED = """
import json, resource, sys
from pathlib import Path
from tests.trainable.trials import make_run, make_trial
from trainable.data.store.clip_store import ClipStore
from trainable.trial_process import TrialProcess

process = TrialProcess(make_run(Path(sys.argv[2]), ClipStore.open(sys.argv[1])))
reports = {"first": process.next_report(make_trial("first"))}
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:")) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + 600 * 2**20,) * 2)
for name, changes in {
    "in a step": {"predictor_dim": 1920},
    "in the model": {"predictor_dim": 16384},
    "last": {},
}.items():
    reports[name] = process.next_report(make_trial(name, **changes))
process.close()
print(json.dumps([{key: report[key] for key in ("status", "resource", "val_loss", "step")} for report in
    reports.values()]))
"""


@pytest.mark.slow  # test_trial_faults.py runs out of memory by default
def test_a_process_survives_trials_that_run_out_of_memory(tmp_path: Path, store_path: Path) -> None:
    command = [sys.executable, "-c", CROWDED, str(store_path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    first, in_a_step, in_the_model, last = json.loads(done.stdout.splitlines()[-1])
    for lost in (in_a_step, in_the_model):
        assert (lost["status"], lost["resource"], lost["step"]) == ("out_of_memory", 0.0, 0)
        assert lost["val_loss"] != lost["val_loss"]
    assert (first["status"], last["status"]) == ("running", "running")
    assert first["val_loss"] == last["val_loss"]
    assert sorted(file.stem for file in (tmp_path / "checkpoints").iterdir()) == ["first", "last"]
