"""What all rooms' tests share: videos, a clip store made from them, and a finished search, each made once a session."""

import atexit
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from coverage import Coverage
from filelock import FileLock
from hypothesis import settings

from tests.forked import Forked, run_forked
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.dataset import StoreDataset
from trainable.data.video.synthetic import write_dataset

ROOT = Path(__file__).parents[1]
CLIPS = 48

# The tests run side by side, and on busy machines: a thread a process, and threads that wait without spinning. Set
# before torch is loaded; what the tests start inherits it. Two threads cost four times the CPU time where cores lack.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A suite that a script or nohup runs in the background ignores these signals, and so would all that it starts.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# No example is too slow: how long one takes hangs on what else the machine does.
settings.register_profile("tests", deadline=None, max_examples=20)
settings.register_profile("all", deadline=None, max_examples=50)  # of `make test-all`
settings.load_profile("tests")


gc.disable()  # while tests are collected: hardly anything that is loaded is garbage


def pytest_collection_finish() -> None:
    """Leaves all that is loaded by now out of later garbage collections: a trial that ends makes a full one."""
    gc.collect()
    gc.freeze()
    gc.enable()


atexit.register(gc.unfreeze)  # extension modules complain of what is left as the process ends


def complaints(errors: str) -> str:
    """What a command said on the standard error beside warnings."""
    return "".join(line for line in errors.splitlines(keepends=True) if not line.startswith("warning: "))


Command = Callable[..., subprocess.CompletedProcess[str]]

SMALL_SPACE = (
    "fixed.student=vit_tiny_patch16_224",
    "fixed.student_dim=64",
    "fixed.student_depth=1",
    "fixed.batch_size=8",
    "fixed.warmup_steps=2",
    "evaluation.attentive_steps=1",
    "parameters.predictor_depth.high=2",
    "parameters.predictor_dim.values=[64]",
    "start_from=[]",
    "schedule.reports=2",
)


def run_command(
    folder: Path, module: str, *arguments: object, timeout: float = 600, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `python -m salt_tune.MODULE ARGUMENTS...` in `folder` to its end; text output, whatever the exit code.

    Args:
        folder: working directory.
        module: "search", "prepare"...
        arguments: of the command; anything that `str` takes.
        timeout: seconds until the command is killed and the test fails.
        env: environment variables beside this process's own.
    """
    words, environment = [*map(str, arguments)], environment_of_commands()
    if env is None and Coverage.current() is None:  # neither sees what runs in a fork
        return run_forked(folder, f"salt_tune.{module}", words, environment, timeout)
    return subprocess.run(
        [sys.executable, "-m", f"salt_tune.{module}", *words],
        cwd=folder, env=environment | (env or {}), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def start_command(
    folder: Path, module: str, *arguments: object, leads: bool = False, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts the same, for a test that signals it.

    Args:
        folder: working directory.
        module: "search", "prepare"...
        arguments: of the command; anything that `str` takes.
        leads: whether it leads a process group of its own, as a shell has it.
        env: environment variables beside this process's own. Where they are given, its output goes through pipes.
    """
    words, environment = [*map(str, arguments)], environment_of_commands()
    if env is None and Coverage.current() is None:
        return Forked(folder, f"salt_tune.{module}", words, environment, leads=leads)
    return subprocess.Popen(
        [sys.executable, "-m", f"salt_tune.{module}", *words],
        cwd=folder, env=environment | (env or {}), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=leads,
    )  # fmt: skip


def environment_of_commands() -> dict[str, str]:
    """The environment variables of a command: this process's own, and where and how wide it runs."""
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": search_path, "COLUMNS": "120", "NO_COLOR": "1"}


def must_succeed(result: subprocess.CompletedProcess[str]) -> None:
    """Fails with all that a command said, unless it ended well."""
    assert result.returncode == 0, f"{result.args}\n{result.stdout}\n{result.stderr}"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that one of the processes of a test session fills, and all look at.

    Args:
        factory: of temporary folders.
        name: of the folder.
        make: fills it; it exists.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, whole = base / name, base / f"{name}.whole"
    with FileLock(base / f"{name}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            whole.touch()
    return folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 clips of moving shapes in SSv2's layout: 32 to train on, 16 held out, 8 classes."""
    return made_once(tmp_path_factory, "videos", lambda folder: write_dataset(folder, CLIPS, size=32, frames=8))


@pytest.fixture(scope="session")
def store_path(tmp_path_factory: pytest.TempPathFactory, videos: Path) -> Path:
    """A finished clip store of `videos`, as the command makes it: 8 x 32 x 32 in 4 x 4 x 4 tokens."""
    geometry = ("--frames", 8, "--size", 32, "--patch", 8, "--teacher-epochs", 1, "--workers", 2)

    def make(folder: Path) -> None:
        must_succeed(run_command(folder, "prepare", videos, "--store", "shapes", *geometry))

    return made_once(tmp_path_factory, "stores", make) / "shapes"


@pytest.fixture(scope="session")
def store(store_path: Path) -> ClipStore:
    """The store of `store_path`, open."""
    return ClipStore.open(store_path)


@pytest.fixture(scope="session")
def dataset(store: ClipStore) -> StoreDataset:
    """The same as the dataset of a task."""
    return StoreDataset(store)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, store_path: Path) -> Path:
    """The directory of a finished search: 4 small trials of up to 2 epochs on `store_path`."""
    settings = [part for setting in SMALL_SPACE for part in ("--set", setting)]
    given = ("--store", store_path, "--runs", ".", "--name", "finished", "--trials", 4, "--epochs", 2, *settings,
             "--replicates", 0)  # fmt: skip
    folder = made_once(tmp_path_factory, "runs", lambda folder: must_succeed(run_command(folder, "search", *given)))
    return folder / "finished"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `python -m salt_tune.MODULE ARGUMENTS...` in `tmp_path`; see `run_command`."""

    def run(module: str, *arguments: object, **options: float | dict[str, str]) -> subprocess.CompletedProcess[str]:
        return run_command(tmp_path, module, *arguments, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command as `command` does, but in this process: for what need not pay for a start."""

    def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        main = importlib.import_module(f"salt_tune.{module}").main
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main(args=[*map(str, arguments)])
        output, errors = capfd.readouterr()
        return subprocess.CompletedProcess([module, *map(str, arguments)], int(ended.value.code or 0), output, errors)

    return run
