"""What users get wrong: one clear line, exit code 2, and nothing left behind."""

import json
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from analysis.run_directory.paths import FORMAT_VERSION
from salt_tune.runs.lock import locked
from tests.conftest import Command
from tests.salt_tune.conftest import Ended
from tests.small_store import build_store


@pytest.fixture
def refused(here: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must be refused, and gives its one line."""

    def run(*arguments: object) -> str:
        before = listing(tmp_path)
        done = here(*arguments)
        assert done.returncode == 2, f"{done.stdout}\n{done.stderr}"
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.stderr + done.stdout
        assert listing(tmp_path) == before
        return done.stderr

    return run


def listing(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())}


Refused = Callable[..., str]


def test_a_missing_video_folder(refused: Refused) -> None:
    assert "nowhere" in refused("prepare", "nowhere")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("apend",), "apend: no such folder, and no command; did you mean 'append'?"),
        (("append", "videos"), "Missing option '--store'"),
        (("append",), "Missing argument 'VIDEOS'"),
        (("subset", "store", 1, "--store", "small"), "1 is not in the range"),
        (("verify", "store", "--teacher", "pixel"), "No such option '--teacher'"),
        (("./append",), "append: there is no such folder"),
        (("videos", "--teacher", "pixl"), "'pixl' is unknown; did you mean 'pixel'?"),
    ],
)
def test_the_jobs_of_prepare(refused: Refused, words: tuple[object, ...], said: str) -> None:
    assert said in refused("prepare", *words)


def test_an_empty_video_folder(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty: holds no videos" in refused("prepare", "empty")


def test_no_videos_at_all(refused: Refused) -> None:
    assert "--synthetic" in refused("prepare")


def test_labels_for_files_that_are_not_there(refused: Refused, videos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(videos, tmp_path / "videos")
    (folder / "7.webm").unlink()
    assert "7.webm" in refused("prepare", "videos")


def test_labels_that_are_not_json(refused: Refused, videos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(videos, tmp_path / "videos")
    (folder / "train.json").write_text("[{")
    assert "train.json" in refused("prepare", "videos")


def test_text_files_named_webm(refused: Refused, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        path = tmp_path / "texts" / "class" / f"{name}.webm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("no video")
    line = refused("prepare", "texts", "--workers", 1)
    assert ".webm: is not a readable video" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--frames", 7), ["frames = 7", "tubelet = 2"]),
        (("--size", 33, "--patch", 8), ["size = 33", "patch = 8"]),
        (("--size", 16), ["size = 16", "two patches"]),
        (("--frames", 0), ["frames = 0", "at least 1"]),
        (("--val-fraction", 2), ["val_fraction = 2"]),
        (("--synthetic", 3), ["--synthetic", "3"]),
        (("--frame", "x"), ["--frame"]),
    ],
)
def test_geometry_and_flags_of_prepare(
    refused: Refused, videos: Path, flags: tuple[object, ...], words: list[str]
) -> None:
    line = refused("prepare", videos, *flags)
    for word in words:
        assert word in line


def test_a_folder_with_other_videos_is_not_written_into(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.webm").write_bytes(b"precious")
    assert "mine" in refused("prepare", "mine", "--synthetic", 16)


def test_no_store(refused: Refused) -> None:
    assert "nowhere: no such clip store" in refused("search", "--store", "nowhere")


def test_a_store_of_another_format(refused: Refused, store_path: Path, tmp_path: Path) -> None:
    store = shutil.copytree(store_path, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, "format_version": 99}))
    line = refused("search", "--store", "store")
    assert "format_version = 99" in line
    assert "manifest.json" in line


@pytest.mark.parametrize("name", ["train-00000.latents.npy", "index.parquet"])
def test_a_truncated_file_of_a_store(refused: Refused, store_path: Path, tmp_path: Path, name: str) -> None:
    store = shutil.copytree(store_path, tmp_path / "store")
    content = (store / name).read_bytes()
    (store / name).write_bytes(content[: len(content) // 2])
    line = refused("search", "--store", "store")
    assert name in line
    assert "truncated" in line


def small_space(**parameters: Any) -> dict[str, Any]:
    searched = {"lr": {"type": "log_uniform", "low": 1e-4, "high": 1e-2}, **parameters}
    return {"name": "s", "fixed": {"batch_size": 8, "predictor_dim": 64}, "parameters": searched, "trials": 2}


SPACES = {
    "typo": ({**small_space(), "objectiv": "val_loss"}, ["objectiv", "did you mean 'objective'"]),
    "low above high": (
        small_space(mask_ratio={"type": "uniform", "low": 0.9, "high": 0.5}),
        ["parameters.mask_ratio.high = 0.5", "low = 0.9"],
    ),
    "empty choice": (small_space(loss={"type": "choice", "values": []}), ["parameters.loss.values", "at least one"]),
    "width": (
        {**small_space(), "fixed": {"predictor_dim": 100, "predictor_num_heads": 3}},
        ["fixed.predictor_dim = 100", "predictor_num_heads = 3"],
    ),
}


@pytest.mark.parametrize(("space", "words"), SPACES.values(), ids=SPACES.keys())
def test_a_space_that_cannot_be(
    refused: Refused, store_path: Path, tmp_path: Path, space: dict[str, Any], words: list[str]
) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(space))
    line = refused("search", "--space", "my.yaml", "--store", store_path)
    assert line.startswith("error: my.yaml: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--trials", 0), ["--trials", "0"]),
        (("--seed", -1), ["--seed", "-1"]),
        (("--trails", 3), ["--trails", "--trials"]),
        (("--set", "learning_rate=1"), ["learning_rate", "unknown"]),
        (("--set", "batch_size=33"), ["batch_size = 33", "32 training clips"]),
        (("--set", "mask_ratio=0.999"), ["mask_ratio = 0.999", "4 x 4"]),
        (("--space", "dem"), ["dem", "did you mean 'demo'"]),
        (("--name", "a/b"), ["--name = 'a/b'"]),
    ],
)
def test_flags_of_search(refused: Refused, store_path: Path, flags: tuple[object, ...], words: list[str]) -> None:
    line = refused("search", "--store", store_path, *flags)
    for word in words:
        assert word in line


def test_a_student_that_timm_does_not_know(command: Command, store_path: Path, tmp_path: Path) -> None:
    """Ray's workers tell, so that the command has a process of its own."""
    done = command("search", "--store", store_path, "--set", "student=vit_tinny_patch16_224")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert "student = 'vit_tinny_patch16_224'" in done.stderr and "vit_tiny_patch16_224" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_more_gpus_than_there_are(refused: Refused, store_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    line = refused("search", "--store", store_path, "--gpus-per-trial", 1)
    assert "--gpus-per-trial = 1" in line
    assert "none" in line


def test_a_run_that_exists(refused: Refused, finished_run: Path, store_path: Path) -> None:
    before = listing(finished_run)
    line = refused("search", "--store", store_path, "--runs", finished_run.parent, "--name", "finished")
    assert str(finished_run) in line
    assert "--name" in line
    assert listing(finished_run) == before


NOT_UTF8 = os.fsdecode(b"r/k\xfcche")
BEFORE_THE_STORE: list[tuple[str, tuple[object, ...], str]] = [
    ("search", ("--gpus-per-trial", "nan"), "nan: must be a finite number"),
    ("search", ("--gpus-per-trial", "inf"), "inf: must be a finite number"),
    ("search", ("--gpus-per-trial", -1), "-1.0 is not in the range"),
    ("search", ("--disk-limit", "nan"), "nan: must be a finite number"),
    ("search", ("--epochs", "inf"), "inf: must be a finite number"),
    ("search", ("--wandb", "maybe"), "'maybe' is unknown; known are off, offline, online"),
    ("search", ("--warm-start", "nowhere"), "nowhere: no such run"),
    ("search", ("--set", "x"), "--set x: must be KEY=VALUE"),
    ("search", ("--name", ".hidden"), "--name = '.hidden'"),
    ("search", ("--name", "a/b"), "--name = 'a/b'"),
    ("search", ("--runs", NOT_UTF8), r"r/k\xfcche: is not UTF-8"),
    ("search", ("--store", NOT_UTF8), r"r/k\xfcche: is not UTF-8"),
    ("search", ("--resume", NOT_UTF8), r"r/k\xfcche: is not UTF-8"),
    ("search", ("--warm-start", NOT_UTF8), r"r/k\xfcche: is not UTF-8"),
    ("promote", (NOT_UTF8,), r"r/k\xfcche: is not UTF-8"),
    ("promote", ("run", "--store", NOT_UTF8), r"r/k\xfcche: is not UTF-8"),
]


@pytest.fixture
def refused_at_once(here: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must be refused with nothing begun, not even the demo's store, and without a word."""

    def run(*arguments: object) -> str:
        before = listing(tmp_path)
        done = here(*arguments)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
        assert listing(tmp_path) == before
        return done.stderr

    return run


@pytest.mark.parametrize(("module", "flags", "words"), BEFORE_THE_STORE, ids=lambda value: str(value)[:40])
def test_what_can_be_refused_is_refused_before_a_store_is_made(
    refused_at_once: Refused, module: str, flags: tuple[object, ...], words: str
) -> None:
    assert words in refused_at_once(module, *flags)


def test_gpus_that_are_not_there_are_refused_before_a_store_is_made(
    refused_at_once: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "--gpus-per-trial = 1: this machine has none" in refused_at_once("search", "--gpus-per-trial", 1)


def test_a_run_that_exists_is_refused_before_a_store_is_made(refused_at_once: Refused, tmp_path: Path) -> None:
    (tmp_path / "runs" / "it's").mkdir(parents=True)
    line = refused_at_once("search", "--name", "it's")
    place = str(tmp_path / "runs" / "it's")
    assert line.startswith(f"error: {place}: this run exists; ")
    assert shlex.split(line.partition("go on with it: ")[2])[-2:] == ["--resume", place]


def test_an_earlier_run_of_another_objective_is_refused_before_a_store_is_made(
    refused_at_once: Refused, finished_run: Path
) -> None:
    line = refused_at_once("search", "--warm-start", finished_run, "--set", "objective=probe_top1", "--epochs", 2)
    assert "its scores cannot be compared with this search's: objective = " in line


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be resumed."""
    return shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("ray"))


@pytest.fixture
def resumed(here: Command, run: Path) -> Refused:
    """Resumes `run`, which must be refused before anything has changed, and gives the one line."""

    def refuse(*flags: object) -> str:
        before = listing(run.parent)
        done = here("search", "--resume", "run", *flags)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1, done.stderr
        after = listing(run.parent)
        assert {path: size for path, size in after.items() if path.name not in ("lock", "study.db")} == {
            path: size for path, size in before.items() if path.name not in ("lock", "study.db")
        }
        return done.stderr

    return refuse


def test_resuming_what_is_no_run(refused: Refused, tmp_path: Path) -> None:
    assert "nowhere: there is no such run" in refused("search", "--resume", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "empty: has no run.json" in refused("search", "--resume", "empty")


@pytest.mark.parametrize(
    "flags",
    [
        ("--space", "demo"), ("--trials", 3), ("--epochs", 2), ("--name", "other"), ("--seed", 0),
        ("--seeds", "common"), ("--oom-retries", 1), ("--set", "lr=1"), ("--warm-start", "run"),
    ],
    ids=lambda flags: flags[0],
)  # fmt: skip
def test_flags_that_a_run_has_settled(resumed: Refused, flags: tuple[object, ...]) -> None:
    assert resumed(*flags).startswith(f"error: {flags[0]}: is settled by the run that --resume names; leave it out")


def test_extending_what_is_not_resumed(refused: Refused, store_path: Path) -> None:
    assert "--extend: needs --resume" in refused("search", "--store", store_path, "--extend", 2)


def test_resuming_a_run_of_another_format(resumed: Refused, run: Path) -> None:
    manifest = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**manifest, "format_version": 1}))
    assert f"run.json: has format_version 1, and this version of salt_tune reads {FORMAT_VERSION}" in resumed()


def test_resuming_after_the_space_has_changed(resumed: Refused, run: Path) -> None:
    text = (run / "space.yaml").read_text()
    (run / "space.yaml").write_text(text.replace("trials: 4", "trials: 5"))
    assert "space.yaml: has changed since the run began" in resumed()


@pytest.mark.parametrize("entry", ["view_hash", "teacher_sha256", "train_clips"])
def test_resuming_after_the_store_has_changed(resumed: Refused, run: Path, entry: str) -> None:
    manifest = json.loads((run / "run.json").read_text())
    manifest["store"][entry] = "other"
    (run / "run.json").write_text(json.dumps(manifest))
    line = resumed()
    assert "has changed since the run began" in line
    assert f"{entry} = " in line


def test_resuming_after_the_store_has_gone(resumed: Refused, run: Path) -> None:
    manifest = json.loads((run / "run.json").read_text())
    manifest["store"]["path"] = str(run.parent / "gone")
    (run / "run.json").write_text(json.dumps(manifest))
    assert "gone: no such clip store; where it was moved, say where to with --store PATH" in resumed()
    assert "elsewhere: no such clip store" in resumed("--store", "elsewhere")


def test_resuming_on_another_store(resumed: Refused, run: Path, videos: Path) -> None:
    build_store(run.parent / "other", videos)
    assert "other: is another store than run's: teacher = 'random'" in resumed("--store", "other")


def test_resuming_what_another_process_runs(resumed: Refused, run: Path) -> None:
    with locked(run / "lock"):
        assert f"process {os.getpid()} runs this search" in resumed()


def test_resuming_with_a_damaged_line(resumed: Refused, run: Path) -> None:
    path = run / "decisions.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"{" + lines[2]
    path.write_bytes(b"".join(lines))
    assert "decisions.jsonl: line 3 is damaged: " in resumed()


def test_promoting_what_is_no_run(refused: Refused, tmp_path: Path) -> None:
    assert "nowhere: no such run" in refused("promote", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "summary.json" in refused("promote", "empty")
    (tmp_path / "empty" / "summary.json").write_text('{"trials": ')
    assert "summary.json" in refused("promote", "empty")


def test_promoting_where_no_trial_finished(refused: Refused, failed_run: Ended) -> None:
    line = refused("promote", failed_run.path)
    assert "no trial finished" in line
    assert not (failed_run.path / "final").exists()


def test_promoting_a_trial_that_is_not_there(refused: Refused, finished_run: Path) -> None:
    line = refused("promote", finished_run, "--trial", "T9")
    assert "'T9'" in line
    assert "T0, T1, T2, T3" in line


def test_promoting_on_another_store(refused: Refused, finished_run: Path, store_path: Path, tmp_path: Path) -> None:
    store = shutil.copytree(store_path, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["teacher"]["sha256"] = "0" * 64
    (store / "manifest.json").write_text(json.dumps(manifest))
    line = refused("promote", finished_run, "--store", store)
    assert "teacher_sha256" in line
    assert not (finished_run / "final").exists()


def test_promoting_for_no_epochs(refused: Refused, finished_run: Path) -> None:
    assert "--epochs" in refused("promote", finished_run, "--epochs", 0)
