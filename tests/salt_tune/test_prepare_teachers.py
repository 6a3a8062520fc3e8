"""Where latents come from: a VideoMAE's released weights, no weights at all, a pixel teacher trained here or before."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.faults.conftest import SMALL, assert_well, here, refused, write_video
from tests.trainable.teachers.test_videomae import random_weights
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.targets import normalise
from trainable.teachers.hog import HogTeacher
from trainable.teachers.videomae import VideoMaeTeacher
from trainable.teachers.videomae_layout import VIDEOMAE_TEACHERS

__all__ = ["here", "refused"]  # fixtures

Run = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]

SMALLEST = "videomaev2_small"
WORKERS = ("--workers", 1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights under the published names, wrapped as the authors do."""
    path = tmp_path_factory.mktemp("weights") / "vit_s.pth"
    torch.save(
        {"module": {name: tensor.half() for name, tensor in random_weights(VIDEOMAE_TEACHERS[SMALLEST]).items()}}, path
    )
    return path


@pytest.fixture(scope="module")
def three_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three") / "class"
    folder.mkdir()
    for number in range(3):
        write_video(folder / f"{number}.webm", 3 + number)
    return folder.parent


@pytest.mark.slow  # its latents: trainable/teachers/test_videomae.py; the command: the teacher without weights
def test_a_videomae_from_its_released_weights(here: Run, three_videos: Path, weights: Path, tmp_path: Path) -> None:
    flags = ("--teacher", SMALLEST, "--teacher-weights", weights, *WORKERS)
    done = here(three_videos, "--store", "store", *flags)
    assert_well(done)
    assert f"16 x 224 x 224 in 1568 tokens, latents 384 wide by {SMALLEST}" in done.stdout
    store = ClipStore.open(tmp_path / "store")
    teacher = VideoMaeTeacher(SMALLEST, weights, "cpu")
    assert (store.teacher.name, store.teacher.sha256, store.teacher.dim) == (SMALLEST, teacher.sha256, 384)
    assert store.manifest["latents"]["view"] == "computed"
    assert not (store.path / "teacher").exists()
    for clips in (store.train, store.val):
        pixels = torch.from_numpy(store.pixels(clips, 0).copy())
        expected = normalise(teacher.latents(pixels[None]), "layer_norm")[0].numpy()
        np.testing.assert_allclose(store.latents(clips, 0), expected, atol=5e-3)


def test_weights_that_cannot_be(refused: Refused, three_videos: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:1_000_000])
    torch.save({"module": Malicious(tmp_path / "executed")}, tmp_path / "pickled.pth")
    cases: dict[tuple[object, ...], list[str]] = {
        ("--teacher", SMALLEST): [f"--teacher {SMALLEST} needs its released weights", "--teacher-weights"],
        ("--teacher", SMALLEST, "--teacher-weights", "no.pth"): ["no.pth: no such file of weights"],
        ("--teacher", SMALLEST, "--teacher-weights", "."): ["no such file of weights"],
        ("--teacher", SMALLEST, "--teacher-weights", "cut.pth"): ["cut.pth", "damaged, cut short"],
        ("--teacher", SMALLEST, "--teacher-weights", "pickled.pth"): ["pickled.pth", "never loaded"],
        ("--teacher", "videomaev2_base", "--teacher-weights", weights): [
            "these are the weights of videomaev2_small; use --teacher videomaev2_small"
        ],
        ("--teacher", SMALLEST, "--teacher-weights", weights, "--size", 112): ["size = 112", "224", SMALLEST],
        ("--teacher", SMALLEST, "--teacher-weights", weights, "--frames", 8): ["frames = 8", "16", SMALLEST],
        ("--teacher", SMALLEST, "--teacher-weights", weights, "--teacher-epochs", 3): ["--teacher-epochs", "keep one"],
        ("--teacher-weights", weights): ["vit_s.pth: is a file", "--teacher"],
    }
    for flags, words in cases.items():
        line = refused(three_videos, "--store", "new/store", *flags)
        for word in words:
            assert word in line
    assert not (tmp_path / "executed").exists()


class Malicious:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_teacher_without_weights_is_the_default(here: Run, three_videos: Path, tmp_path: Path) -> None:
    flags = (*SMALL, "--workers", 1, "--teacher", "hog+motion")
    done = here(three_videos, "--store", "store", *flags[:-2])
    assert_well(done)
    assert "latents 74 wide by hog+motion" in done.stdout
    assert "what the latents know is not measured" in done.stdout  # of three clips
    store = ClipStore.open(tmp_path / "store")
    teacher = HogTeacher("hog+motion", store.view, "cpu")
    assert (store.teacher.sha256, store.teacher.target_norm) == (teacher.sha256, "none")
    assert store.manifest["plan"]["teacher"] == teacher.describe()
    pixels = torch.from_numpy(store.pixels(store.val, 0).copy())
    np.testing.assert_allclose(store.latents(store.val, 0), teacher.latents(pixels[None])[0].numpy(), atol=5e-3)
    assert "nothing to do" in here(three_videos, "--store", "store", *flags).stdout
    assert_well(here(three_videos, "--store", "store", *flags, "--target-norm", "layer_norm", "--overwrite"))
    assert ClipStore.open(tmp_path / "store").teacher.target_norm == "layer_norm"


def test_flags_that_do_not_suit_a_teacher_without_weights(refused: Refused, three_videos: Path, weights: Path) -> None:
    cases: dict[tuple[object, ...], list[str]] = {
        ("--teacher-weights", weights): [str(weights), "hog has no weights", "leave out --teacher-weights"],
        ("--teacher-epochs", 3): ["--teacher-epochs", "--teacher hog has no weights", "keep one"],
        ("--teacher-config", "x.yaml"): ["x.yaml", "there is no such file"],
        ("--teacher-compile",): ["--teacher-compile", "--teacher hog has no weights", "keep one"],
    }
    for flags, words in cases.items():
        line = refused(three_videos, "--store", "new/store", *SMALL, "--teacher", "hog", *flags)
        for word in words:
            assert word in line


def test_the_pixel_teacher_of_another_store(here: Run, videos: Path, store_path: Path, tmp_path: Path) -> None:
    assert_well(here(videos, "--store", "store", *SMALL, *WORKERS, "--teacher-weights", store_path))
    one, other = ClipStore.open(store_path), ClipStore.open(tmp_path / "store")
    assert other.teacher.sha256 == one.teacher.sha256
    assert (other.path / "teacher" / "model.safetensors").exists()
    for number in range(0, len(one.train), 5):
        np.testing.assert_array_equal(other.latents(other.train, number), one.latents(one.train, number))


def test_a_pixel_teacher_that_does_not_fit(refused: Refused, videos: Path, store_path: Path) -> None:
    cases: dict[tuple[object, ...], list[str]] = {
        ("--teacher-weights", store_path, "--frames", 8, "--size", 48, "--patch", 8): ["size = 48", "trained on 32"],
        ("--teacher-weights", store_path, *SMALL, "--teacher-epochs", 2): ["--teacher-epochs", "keep one"],
        ("--teacher-weights", store_path, *SMALL, "--teacher-config", "x.yaml"): ["--teacher-config", "keep one"],
        ("--teacher-weights", "nowhere", *SMALL): ["nowhere: there is no such file or folder"],
        ("--teacher-weights", videos, *SMALL): [f"{videos}: no encoder that can be loaded"],
    }
    for flags, words in cases.items():
        line = refused(videos, "--store", "new/store", *flags)
        for word in words:
            assert word in line


CONFIGS: dict[str, tuple[str | None, list[str]]] = {
    "unknown": ("learning_rate: 1e-3", ["my.yaml: learning_rate", "known are student"]),
    "out of range": ("lr: -1", ["my.yaml: lr = -1", "above 0"]),
    "no number": ("lr: fast", ["my.yaml: lr = 'fast'", "number"]),
    "no such student": ("student: vit_tinny", ["my.yaml: student = 'vit_tinny'", "did you mean"]),
    "heads": ("{predictor_dim: 100, predictor_num_heads: 3}", ["my.yaml: predictor_dim = 100"]),
    "a batch of more clips than there are": ("batch_size: 33", ["my.yaml: batch_size = 33", "32 training clips"]),
    "a mask of everything": ("mask_ratio: 0.999", ["my.yaml: mask_ratio = 0.999", "4 x 4 patches"]),
    "not YAML": ("[1, 2", ["my.yaml: not YAML"]),
    "a list": ("[1, 2]", ["my.yaml: must be a mapping", "`lr`"]),
    "missing": (None, ["my.yaml: there is no such file"]),
}


@pytest.mark.parametrize(("text", "words"), CONFIGS.values(), ids=CONFIGS.keys())
def test_a_config_that_cannot_be(
    refused: Refused,
    videos: Path,
    tmp_path: Path,
    text: str | None,
    words: list[str],
) -> None:
    if text is not None:
        (tmp_path / "my.yaml").write_text(text)
    line = refused(videos, "--store", "new/store", *SMALL, "--teacher-config", "my.yaml")
    for word in words:
        assert word in line


def test_a_config_is_used(here: Run, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(yaml.safe_dump({"lr": 2e-3, "student_dim": 64, "batch_size": 4, "epochs": 7}))
    flags = ("--teacher-config", "my.yaml", "--teacher-epochs", 3)  # the flag, which is nearer, wins
    assert_well(here(videos, "--store", "store", *SMALL, *WORKERS, *flags))
    store = ClipStore.open(tmp_path / "store")
    config = json.loads((store.path / "teacher" / "config.json").read_text())["config"]
    wanted = {"lr": 2e-3, "student_dim": 64, "batch_size": 4, "epochs": 3}
    assert {name: config[name] for name in wanted} == wanted
    assert store.teacher.dim == 64
    assert store.manifest["plan"]["teacher"]["config"] == config
    lines = [json.loads(line) for line in (store.path / "teacher" / "reports.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"]) for line in lines] == [(1, 8), (2, 16), (3, 24)]
    assert all(np.isfinite(line["val_r2"]) for line in lines)
