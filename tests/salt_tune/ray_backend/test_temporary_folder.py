"""Ray's own folder: short whatever TMPDIR says, private, and gone; and Ray does without a home."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from salt_tune.ray_backend import temporary_folder as room
from salt_tune.ray_backend.temporary_folder import BELOW, LONGEST_SOCKET, keep_out_of_home, ray_folder
from tests.conftest import ROOT
from trainable.errors import UserError


def folders_of_searches() -> set[Path]:
    """All of them, in the places where they may lie."""
    return {path for parent in ("/tmp", "/dev/shm", "/var/tmp") for path in Path(parent).glob("salt-tune-*")}  # noqa: S108


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ("l" * 70)
    folder.mkdir()
    return folder


@pytest.fixture
def short_folder() -> Iterator[Path]:
    folder = Path(f"/tmp/st{os.getpid()}")  # noqa: S108
    folder.mkdir()
    yield folder
    folder.rmdir()


def test_it_is_below_tmpdir_where_that_is_short(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short_folder))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with ray_folder() as folder:
        assert folder.parents[1] == short_folder
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert len(str(folder.parent)) + BELOW <= LONGEST_SOCKET
        folder.mkdir()
        (folder / "session").mkdir()
    assert list(short_folder.iterdir()) == []


@pytest.mark.parametrize("value", ["long", "relative", "/nowhere", "/proc", os.fsdecode(b"/tmp/k\xfcche")])
def test_it_is_elsewhere_where_tmpdir_is_of_no_use(
    long_folder: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(long_folder) if value == "long" else value)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    with ray_folder() as folder:
        assert len(str(folder.parent)) + BELOW <= LONGEST_SOCKET
        assert folder.parent in folders_of_searches()
    assert not folder.parent.exists()


def test_where_none_will_do_the_remedy_is_named(long_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(long_folder))
    monkeypatch.setattr(room, "ANYWHERE", ("/proc", "/nowhere"))
    remedy = r"set TMPDIR to a writable folder whose path has at most \d+ bytes"
    with pytest.raises(UserError, match=remedy) as refused, ray_folder():
        pass
    assert "\n" not in str(refused.value)


def test_the_next_search_takes_away_what_a_killed_one_left(short_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(short_folder))
    program = (
        "import os, signal; from salt_tune.ray_backend.temporary_folder import ray_folder\n"
        "with ray_folder() as folder: folder.mkdir(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == -signal.SIGKILL
    (left,) = short_folder.iterdir()
    with ray_folder():
        assert not left.exists()


def test_ray_gets_a_token_that_is_kept_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(room, "LOADED", "sys")
    keep_out_of_home()
    assert "RAY_AUTH_TOKEN" not in os.environ  # whoever loaded Ray before has said how it is called
    monkeypatch.setattr(room, "LOADED", "no.such.module")
    keep_out_of_home()
    token = os.environ["RAY_AUTH_TOKEN"]
    assert os.environ["RAY_AUTH_MODE"] == "token" and len(token) >= 32
    keep_out_of_home()
    assert os.environ["RAY_AUTH_TOKEN"] == token  # the same for all that this process starts
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    keep_out_of_home()
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_user_without_a_home_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    keep_out_of_home()
    assert os.environ["HOME"] == "/home/me"
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # no entry in passwd
    keep_out_of_home()
    assert os.environ["HOME"] == "/"


SESSION = """
import sys
from salt_tune.ray_backend import temporary_folder
temporary_folder.ANYWHERE = sys.argv[1:]
from salt_tune.ray_backend.session import machine_share, ray_session
with ray_session(machine_share(1, None)):
    import ray
    print(ray.get(ray.remote(lambda: "a worker answers").remote()))
"""


def test_ray_starts_with_a_long_tmpdir_and_a_home_that_nobody_can_write(long_folder: Path, short_folder: Path) -> None:
    """Where it then lies is a folder of this test's alone: in /tmp other searches come and go."""
    odd = {"TMPDIR": str(long_folder), "HOME": "/proc", "RAY_ADDRESS": "192.0.2.1:6379"}
    left_out = ("USER", "LOGNAME", "RAY_TMPDIR", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    words = [sys.executable, "-c", SESSION, str(short_folder)]
    done = subprocess.run(words, cwd=ROOT, env={**kept, **odd}, capture_output=True, text=True, check=False)
    told = "RAY_ADDRESS = 192.0.2.1:6379: is ignored, as a search starts a Ray of its own\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{told}a worker answers\n", "")
    assert list(short_folder.iterdir()) == []
