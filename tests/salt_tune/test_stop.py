"""A run is stopped by the process that holds it, and by no other; what it printed can be read."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import salt_tune.stop
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory
from salt_tune.space.description import describe
from tests.conftest import Command, complaints, start_command
from tests.salt_tune.made_trials import BASELINES, make_space
from tests.salt_tune.watching import held, rewrite


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A search that has just begun."""
    begun = RunDirectory(tmp_path / "run")
    begun.path.mkdir()
    asked = {"format_version": FORMAT_VERSION, "baselines": BASELINES, "seed": 0, "store": {}, "asked": 6}
    begun.manifest.write_text(json.dumps({**asked, **describe(make_space())}))
    return begun


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with it, and must outlive the test."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    time.sleep(0.05)  # Linux tells starts apart by hundredths of a second
    yield process
    assert process.poll() is None, "it was stopped"
    process.communicate(b"")


def test_where_nothing_runs_nothing_is_done(
    run: RunDirectory, here: Command, bystander: "subprocess.Popen[bytes]"
) -> None:
    assert here("stop", run.path).stdout == f"{run.path}: nothing runs here\n"
    with held(run.lock):
        pass
    rewrite(run.lock, pid=bystander.pid)  # whose number the dead process had
    for words in ((), ("--now",)):
        done = here("stop", run.path, *words)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{run.path}: nothing runs here\n", "")


def test_a_process_that_only_has_the_number_is_left_alone(
    run: RunDirectory, here: Command, bystander: "subprocess.Popen[bytes]"
) -> None:
    with held(run.lock) as holder:
        said = rewrite(run.lock, pid=bystander.pid)
        for words in ((), ("--now",)):
            done = here("stop", run.path, *words)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
            assert f"{run.path}: runs on host {said.host} as process {bystander.pid}; stop it there" in done.stderr
        run.lock.write_bytes(b"")
        done = here("stop", run.path)
        assert done.returncode == 2 and "is running, but lock does not say in which process" in done.stderr
        assert holder.poll() is None


def test_what_runs_on_another_host_is_stopped_there(run: RunDirectory, here: Command) -> None:
    with held(run.lock) as holder:
        rewrite(run.lock, host="node7", boot="another")
        done = here("stop", run.path, "--now")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {run.path}: runs on host node7 as process {holder.pid}; stop it there\n"
        resumed = here("search", "--resume", run.path)
        assert resumed.returncode == 2
        assert holder.poll() is None


@pytest.mark.parametrize("words", [(), ("--now",)])
def test_it_ends_the_process_and_says_how_to_go_on(run: RunDirectory, here: Command, words: tuple[str, ...]) -> None:
    final = run.final("T3", 20)
    final.path.mkdir(parents=True)
    with held(final.lock, "--trial", "T3", "--epochs", "20") as trains:
        done = here("stop", run.path)
        assert done.stdout.splitlines() == [
            f"{run.path}: nothing runs here",
            f"T3-20epochs is running; to stop it: python -m salt_tune.stop {final.path}",
        ]
        with held(run.lock) as searches:
            for path, process, command in (
                (run.path, searches, f"python -m salt_tune.search --resume {run.path}"),
                (final.path, trains, f"python -m salt_tune.promote {run.path} --trial T3 --epochs 20"),
            ):
                done = here("stop", path, *words)
                assert (done.returncode, complaints(done.stderr)) == (0, "")
                assert done.stdout == f"{path}: process {process.pid} has left it\nTo go on: {command}\n"
                assert process.wait(60) == (-9 if words else -15)


def test_one_that_takes_long_is_said_to_and_one_at_its_end_has_nothing_left(
    run: RunDirectory, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(salt_tune.stop, "PATIENCE", 0.2)
    final = run.final("T3", 20)
    final.path.mkdir(parents=True)
    final.card.touch()
    with held(final.lock, stubborn=True) as process:
        killing = threading.Timer(1.0, process.kill)
        killing.start()
        done = here("stop", final.path)
        killing.join()
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert done.stdout.splitlines() == [
        f"Still waiting; to end it at once: python -m salt_tune.stop {final.path} --now",
        f"{final.path}: process {process.pid} has left it",
        "It had come to its end; nothing is left to do.",
    ]


def test_a_run_that_was_not_detached_has_printed_elsewhere(run: RunDirectory, here: Command) -> None:
    done = here("logs", run.path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {run.path}: has no log.txt, as it was not started with --detach\n"
    run.final("T2", 20).path.mkdir(parents=True)
    final = run.final("T3", 20)
    final.path.mkdir(parents=True)
    final.log.touch()
    assert here("logs", run.path).stderr == done.stderr.replace("\n", f"; {final.path} has one\n")


def test_the_log_is_read_and_followed_until_its_process_ends(run: RunDirectory, here: Command) -> None:
    run.log.write_text("one\ntwo\x1b[31m\nthree")
    assert here("logs", run.path).stdout == "one\ntwo\\x1b[31m\nthree\n"
    assert here("logs", run.path, "--lines", 2, "--follow").stdout == "two\\x1b[31m\nthree\n"
    assert here("logs", run.path, "--lines", 0).stdout == ""
    with held(run.lock) as process:
        reader = start_command(run.path.parent, "logs", run.path, "--follow", "--lines", 1, env={})
        assert reader.stdout is not None and reader.stdout.readline() == "two\\x1b[31m\n"
        with run.log.open("a") as log:
            log.write(" and a half\nfour\n")
            log.flush()
            assert [reader.stdout.readline() for _ in range(2)] == ["three and a half\n", "four\n"]
            log.write("last words\n")
        process.communicate("")
        output, errors = reader.communicate(timeout=300)
        assert (reader.returncode, output, errors) == (0, "last words\n", "")
