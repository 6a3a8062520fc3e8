"""A run begins: its name is one process's alone, and nothing that was there before is lost."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from analysis.run_directory.held import is_held
from analysis.run_directory.paths import RunDirectory, read_manifest
from salt_tune.controller.settings import Settings
from salt_tune.runs.create import STAGING, claimed, created, new_run
from salt_tune.runs.holder import Holder
from tests.conftest import ROOT
from tests.salt_tune.made_trials import BASELINES, make_space
from trainable.data.store.dataset import StoreDataset
from trainable.errors import UserError

STARTER = """
import sys, time
from dataclasses import asdict
from pathlib import Path
from analysis.run_directory.paths import RunDirectory
from salt_tune.controller.settings import Settings
from salt_tune.runs.create import claimed, created, new_run
from tests.salt_tune.made_trials import BASELINES, make_space
from trainable.data.store.dataset import StoreDataset
from trainable.errors import UserError
runs, store, space = Path(sys.argv[1]), StoreDataset.open(sys.argv[2]), make_space()
print("ready", flush=True)
for line in sys.stdin:
    name, seconds = line.split()
    try:
        run = new_run(runs, name, space)
        with claimed(run):
            time.sleep(float(seconds))
            with created(run, space, store, asdict(Settings()), BASELINES, [], {}):
                print("begun", flush=True)
    except UserError as error:
        print(error, flush=True)
"""
TRIES = 12


class Starter:
    """A process that begins a run each time that it is told a name."""

    def __init__(self, runs: Path, store: Path) -> None:
        command = [sys.executable, "-c", STARTER, str(runs), str(store)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def tell(self, name: str, seconds: float) -> None:
        """Lets it begin a run of that name, and take so long for it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name} {seconds}\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """What it says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().removesuffix("\n")


def begin(run: RunDirectory, dataset: StoreDataset) -> dict[str, Any]:
    with claimed(run), created(run, make_space(), dataset, asdict(Settings()), BASELINES, [], {}) as manifest:
        return manifest


def test_of_many_searches_of_one_name_one_begins(tmp_path: Path, store_path: Path) -> None:
    starters = [Starter(tmp_path, store_path) for _ in range(3)]
    assert [starter.hear() for starter in starters] == ["ready"] * 3
    for number in range(TRIES):  # all at once, or some while another one is at it
        run = tmp_path / f"same-{number}"
        for place, starter in enumerate(starters):
            starter.tell(run.name, 0.02 * (number % 4) * place)
        said = sorted(starter.hear() for starter in starters)
        assert said[-1] == "begun", said
        for line in said[:-1]:
            refused = (f"{run}: this run is being started by another process (", f"{run}: this run exists; ")
            assert line.startswith(refused), said
        assert read_manifest(RunDirectory(run))["name"] == run.name
    assert [starter.process.communicate() for starter in starters] == [("", "")] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"same-{number}" for number in range(TRIES))


def test_no_name_costs_another_run_its_folder(tmp_path: Path, dataset: StoreDataset) -> None:
    for name in ("first.partial", "first.tmp", "first", "first.lock"):
        run = new_run(tmp_path, name, make_space())
        begin(run, dataset)
        (run.path / "precious").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "first.lock", "first.partial", "first.tmp"]
    assert all((path / "precious").exists() for path in tmp_path.iterdir())


def test_a_run_is_open_to_those_whom_the_umask_lets_in(tmp_path: Path, dataset: StoreDataset) -> None:
    run = new_run(tmp_path, "first", make_space())
    begin(run, dataset)
    (tmp_path / "plain").mkdir()
    assert run.path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_this_process_has_the_lock_from_before_there_is_a_run(tmp_path: Path, dataset: StoreDataset) -> None:
    run = new_run(tmp_path, "first", make_space())
    with claimed(run), created(run, make_space(), dataset, asdict(Settings()), BASELINES, [], {}):
        holder = Holder.read(run.lock)
        assert is_held(run.lock) and holder is not None and holder.pid == os.getpid()
        assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == ["first"]


def test_what_a_killed_beginning_left_goes_with_the_next(tmp_path: Path, dataset: StoreDataset) -> None:
    dead = Starter(tmp_path, dataset.path)
    assert dead.hear() == "ready"
    dead.tell("first", 60)
    while not (tmp_path / ".first.lock").exists():
        assert dead.process.poll() is None
    dead.process.kill()
    dead.process.communicate()
    half = tmp_path / f"{STAGING}half"
    (half / "run").mkdir(parents=True)
    (half / "lock").touch()
    begin(new_run(tmp_path, "first", make_space()), dataset)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_a_beginning_that_fails_leaves_nothing(tmp_path: Path, dataset: StoreDataset) -> None:
    run = new_run(tmp_path / "new" / "runs", "first", make_space())
    with pytest.raises(KeyboardInterrupt), claimed(run):
        raise KeyboardInterrupt
    cannot_be_written = {"concurrent": {1}}
    with pytest.raises(TypeError), claimed(run):
        created(run, make_space(), dataset, asdict(Settings()), BASELINES, [], cannot_be_written).__enter__()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", ".first", "a/b", "/a", "a\nb", "a\udcfcb", "x" * 201, "é" * 101])
def test_a_name_that_no_run_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError) as refused:
        new_run(tmp_path, name, make_space())
    assert str(refused.value).startswith("--name = ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a: b", "über", "it's", "a b", "{holder}", "x" * 200])
def test_names_are_free_otherwise(tmp_path: Path, dataset: StoreDataset, name: str) -> None:
    run = new_run(tmp_path, name, make_space())
    begin(run, dataset)
    assert read_manifest(run)["name"] == name
    with pytest.raises(UserError) as refused:
        new_run(tmp_path, name, make_space())
    assert str(refused.value).startswith(f"{run.path}: this run exists")


def test_whatever_has_the_name_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(UserError, match="this run exists"):
            new_run(tmp_path, name, make_space())
