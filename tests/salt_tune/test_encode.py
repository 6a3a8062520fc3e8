"""The command that encodes videos: what it writes, that a kill costs nothing, and one line for what is wrong."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from salt_tune.encode import main
from tests.conftest import ROOT, Command, environment_of_commands
from tests.small_encoder import save_small_encoder
from trainable.encode import job as jobs

OUT = "features.parquet"

# The command, which is killed when its first part is whole.
KILLED = """
import os, signal
from trainable.encode import encoding, job
from salt_tune.encode import main
job.PART_VIDEOS, write = 2, encoding.write_part
def write_one(*part):
    write(*part)
    os.kill(os.getpid(), signal.SIGKILL)
encoding.write_part = write_one
main()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_small_encoder(tmp_path / "model")


@pytest.fixture
def few(videos: Path, tmp_path: Path) -> Path:
    """A folder of six videos, one of them damaged."""
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(1, 7):
        shutil.copy(videos / f"{number}.webm", folder)
    (folder / "6.webm").write_bytes((videos / "6.webm").read_bytes()[:-300])
    return folder


def test_it_encodes_a_folder_in_the_layout_of_prepare(videos: Path, model: Path, here: Command, tmp_path: Path) -> None:
    done = here("encode", videos, "--model", model, "--out", OUT, "--workers", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"{OUT}: 48 videos; features 64 wide by model"
    table = pq.read_table(tmp_path / OUT)
    entries = json.loads((videos / "train.json").read_text())
    labels = {entry["id"]: entry["template"].translate({ord(bracket): None for bracket in "[]"}) for entry in entries}
    found = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert len(found) == 48 and labels.items() <= found.items()
    before = (tmp_path / OUT).stat().st_mtime_ns
    again = here("encode", videos, "--model", model, "--out", OUT, "--device", "cpu")
    assert (again.returncode, again.stderr) == (0, "")
    assert "nothing to do" in again.stdout
    assert (tmp_path / OUT).stat().st_mtime_ns == before
    assert {path.name for path in tmp_path.iterdir()} == {"model", OUT}


def test_a_damaged_video_is_named_and_a_kill_costs_a_part_at_most(
    few: Path, model: Path, here: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "PART_VIDEOS", 2)
    words = ["encode", few, "--model", model, "--workers", 1, "--out"]
    straight = here(*words, "straight.parquet")
    assert (straight.returncode, straight.stderr) == (0, "")
    skipped, last = straight.stdout.splitlines()[-2:]
    assert skipped.startswith("  skipped 6: ") and "6.webm: is cut short" in skipped
    assert last == "straight.parquet: 5 videos, 1 skipped; features 64 wide by model"

    parts = tmp_path / f".{OUT}.parts"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, words[1:]), OUT],
        cwd=tmp_path,
        env=environment_of_commands(),
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / OUT).exists()
    assert {path.name for path in parts.iterdir()} == {"plan.json", "000000.parquet"}
    done = here(*words, OUT)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / OUT).read_bytes() == (tmp_path / "straight.parquet").read_bytes()
    assert not parts.exists()


MISTAKES = {
    "no model": (["few", "--model", "nowhere", "--out", OUT], "nowhere: no encoder that can be loaded ("),
    "no parquet": (["few", "--model", "model", "--out", "f.csv"], "--out f.csv: must end in .parquet"),
    "a folder": (["few", "--model", "model", "--out", "few"], "--out few: must end in .parquet"),
    "no videos": (["nowhere", "--model", "model", "--out", OUT], "nowhere: there is no such folder"),
    "below a file": (
        ["few", "--model", "model", "--out", "few/1.webm/f.parquet"],
        "--out few/1.webm/f.parquet: cannot be written there: Not a directory",
    ),
    "no device": (["few", "--model", "model", "--out", OUT, "--device", "tpu"], "'tpu' is unknown; "),
    "no GPU": (
        ["few", "--model", "model", "--out", OUT, "--device", "cuda"],
        "--device cuda: there is no CUDA GPU here",
    ),
    "no out": (["few", "--model", "model"], "Missing option '--out'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(few: Path, model: Path, here: Command, tmp_path: Path, mistake: str) -> None:
    words, line = MISTAKES[mistake]
    done = here("encode", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ") and line in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"model", "few"}


@pytest.mark.parametrize("damage", [lambda content: content[:-8], lambda content: content[:-8] + b"tampered"])
def test_a_model_that_was_changed_is_one_line(
    few: Path, model: Path, here: Command, damage: Callable[[bytes], bytes]
) -> None:
    weights = model / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    done = here("encode", few, "--model", model, "--out", OUT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "model.safetensors is not the file that config.json was written for" in done.stderr


def test_features_of_another_model_are_not_replaced_unasked(
    few: Path, model: Path, here: Command, tmp_path: Path
) -> None:
    words = ["encode", few / "1.webm", few / "2.webm", "--out", OUT, "--workers", 1, "--model"]
    assert here(*words, model).returncode == 0
    other = save_small_encoder(tmp_path / "other", seed=1)
    refused = here(*words, other)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert f"{OUT}: holds features of another model; name another file by --out" in refused.stderr
    before = pq.read_table(tmp_path / OUT)["features"].to_pylist()
    assert here(*words, other, "--overwrite").returncode == 0
    assert pq.read_table(tmp_path / OUT)["features"].to_pylist() != before


def test_a_module_and_a_command_are_the_same(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "salt_tune.encode", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: python -m salt_tune.encode ") and main.example in done.stdout
