"""`promote --workers`: one run for any number of workers, whatever happens to them."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import Command, complaints, environment_of_commands, start_command
from tests.salt_tune.conftest import FINAL_EPOCHS, Ended, read_json, read_reports, wait_for

pytestmark = pytest.mark.usefixtures("threads_as_before")

CLOSE = 1e-4  # relative, of a loss: sums in another order


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("final")))


@pytest.fixture
def final(run: Path, promoted: Ended) -> Path:
    return run / "final" / promoted.path.name


def processes_of(driver: subprocess.Popen[Any], name: str) -> list[psutil.Process]:
    """What a command has started, and Ray calls `name`."""
    found = []
    for child in psutil.Process(driver.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended
            if name in " ".join(child.cmdline()):
                found.append(child)
    return found


def workers_of(driver: subprocess.Popen[Any]) -> list[psutil.Process]:
    """The processes that train."""
    return processes_of(driver, "TrainWorker")


def reported(final: Path) -> int:
    return len(read_reports(final / "reports.jsonl"))


def is_as_alone(final: Path, promoted: Ended) -> None:
    """Fails unless the finished run has the reports that one worker makes."""
    ones, others = (read_reports(path / "reports.jsonl") for path in (promoted.path, final))
    assert [report["step"] for report in others] == [report["step"] for report in ones]
    for name in ("val_loss", "train_loss", "grad_norm"):
        expected = pytest.approx([report[name] for report in ones], rel=CLOSE)
        assert [report[name] for report in others] == expected, name
    assert (final / "model.safetensors").stat().st_size == (promoted.path / "model.safetensors").stat().st_size


@pytest.mark.slow
def test_two_train_as_one_and_one_goes_on_after_ctrl_c(promoted: Ended, run: Path, final: Path, here: Command) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "salt_tune.promote", str(run), "--epochs", str(FINAL_EPOCHS), "--workers", "2"],
        cwd=run.parent, env=environment_of_commands(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    searched = reported(promoted.path) - FINAL_EPOCHS + 2
    wait_for(lambda: reported(final) > searched, process)
    assert len(workers_of(process)) == 2
    os.killpg(process.pid, signal.SIGINT)  # as of a terminal: to all of them
    output, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (130, "")
    assert "from epoch 2, where the search left it" in output and ", shared by 2 workers; about" in output
    words = (
        f"python -m salt_tune.promote {run} --trial {final.name.split('-')[0]} --epochs {FINAL_EPOCHS} --workers 2\n"
    )
    assert output.endswith(f"Interrupted; the same command goes on from here: {words}")
    assert reported(final) < FINAL_EPOCHS and not (final / "model.safetensors").exists()
    done = here("promote", run, "--epochs", FINAL_EPOCHS)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    is_as_alone(final, promoted)


@pytest.mark.slow
def test_a_worker_that_dies_is_done_without(promoted: Ended, run: Path, final: Path) -> None:
    # In a process of its own, where Ray keeps what its raylet says to itself.
    process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS, "--workers", 2, env={})
    wait_for(lambda: reported(final) > 2, process)
    workers_of(process)[1].kill()
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert complaints(errors) == "" and "raylet" not in output
    assert errors.count("a worker died; going on with 1 of 2, from the last checkpoint\n") == 1
    is_as_alone(final, promoted)


@pytest.mark.slow
def test_workers_of_which_one_hangs_are_killed_and_as_many_go_on(promoted: Ended, run: Path, final: Path) -> None:
    words = ("promote", run, "--epochs", FINAL_EPOCHS, "--workers", 2, "--heartbeat", 30)
    process = start_command(run.parent, *words)
    wait_for(lambda: reported(final) > 2, process)
    hung = workers_of(process)
    hung[1].suspend()
    output, errors = process.communicate(timeout=600)
    assert (process.returncode, complaints(errors)) == (0, ""), output
    said = r"warning: the workers gave no sign of life for 3\d s, and were killed; going on from the last checkpoint"
    assert len(re.findall(f"^{said}$", errors, re.MULTILINE)) == 1
    assert "a worker died" not in errors and not any(worker.is_running() for worker in hung)
    is_as_alone(final, promoted)


@pytest.mark.slow
def test_workers_that_hang_again_and_again_are_an_error(run: Path, final: Path) -> None:
    process = start_command(
        run.parent, "promote", run, "--epochs", FINAL_EPOCHS, "--workers", 2, "--heartbeat", 1
    )  # which is less than a worker takes to begin
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 2, output
    assert re.search(r"^error: the workers .*, 4 times in a row; the same command goes on from ", errors, re.MULTILINE)
    assert errors.count(" s, and were killed; going on from ") == 3


@pytest.mark.slow
def test_nobody_trains_on_without_the_driver_and_the_same_command_goes_on(
    promoted: Ended, run: Path, final: Path
) -> None:
    words = ("promote", run, "--epochs", FINAL_EPOCHS, "--workers", 2)
    process = start_command(run.parent, *words)
    wait_for(lambda: reported(final) > 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=180)  # Ray's own agents look for their head for a minute
    assert alive == []
    process = start_command(run.parent, *words)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    is_as_alone(final, promoted)
    done = start_command(run.parent, *words)
    assert "nothing to do" in done.communicate(timeout=60)[0]


@pytest.mark.slow
def test_a_loss_of_all_workers_is_an_error(run: Path, final: Path) -> None:
    process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS, "--workers", 2)
    wait_for(lambda: reported(final) > 2, process)
    for worker in workers_of(process):
        worker.kill()
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    said = "error: 2 workers died, and none is left; the same command goes on from the last checkpoint"
    assert said in errors.splitlines()


@pytest.mark.slow
def test_a_divergence_ends_it_in_one_line(run: Path) -> None:
    summary = read_json(run / "summary.json")
    for trial in summary["trials"]:
        trial["config"] |= {"lr": 1e30, "warmup_steps": 0, "grad_clip": None}
    (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS, "--from-scratch", "--workers", 2)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 2
    what = "the training diverged in epoch 1.0, with 3 batches left out"
    assert complaints(errors) == f"error: {what}; give it a lower learning rate\n"


@pytest.mark.slow
def test_ctrl_c_while_the_workers_start_leaves_soon(run: Path, final: Path) -> None:
    process = start_command(run.parent, "promote", run, "--epochs", FINAL_EPOCHS, "--workers", 2)
    wait_for(lambda: bool(processes_of(process, "TrainController")), process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")
    assert output.splitlines()[-1].endswith("--workers 2")


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        (999, "--workers = 999: this machine has no GPU, and "),
        (9, "--workers = 9: must not exceed batch_size = 8, as each takes rows of every batch"),
    ],
)
def test_more_workers_than_there_is_room_for_are_refused(
    run: Path, here: Command, workers: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if workers < 999:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    refused = here("promote", run, "--epochs", 3, "--workers", workers)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith(f"error: {said}")
    assert not (run / "final").exists()


def test_a_task_that_cannot_be_shared_says_so(mixed_run: Ended, here: Command) -> None:
    refused = here("promote", mixed_run.path, "--workers", 2)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    said = "error: --workers = 2: a final run of tests.toy_task:ToyTask cannot be shared; leave it out"
    assert refused.stderr.startswith(said)


def test_one_worker_starts_no_ray(run: Path, here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("Ray, or a process group")

    monkeypatch.setattr("ray.init", started)
    monkeypatch.setattr("torch.distributed.init_process_group", started)
    done = here("promote", run, "--epochs", 3, "--workers", 1)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert "shared by" not in done.stdout
