"""The pixel teacher: trained on the store's own clips, resumable, and frozen afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainable.small import SMALL, rows
from trainable.data.store.clip_store import ClipStore
from trainable.hashing import file_sha256
from trainable.teachers.pixel import PixelTeacher

TEACHER = SMALL.replace(masking="random", epochs=2)


def trained(
    store: ClipStore, folder: Path, on_report: Callable[[dict[str, Any]], None] = lambda _: None
) -> PixelTeacher:
    PixelTeacher.train(store, folder, TEACHER, device="cpu", seed=3, on_report=on_report)
    return PixelTeacher(folder, "cpu")


def test_latents_are_one_a_token_and_frozen(store: ClipStore, tmp_path: Path) -> None:
    teacher = trained(store, tmp_path / "teacher")
    pixels, _ = rows(store, store.val, np.arange(3))
    latents = teacher.latents(pixels)
    assert latents.shape == (3, store.view.tokens, teacher.dim)
    assert latents.dtype == torch.float32
    assert not latents.requires_grad
    torch.testing.assert_close(teacher.latents(pixels[1:2]), latents[1:2], atol=1e-5, rtol=1e-4)
    assert teacher.sha256 == file_sha256(tmp_path / "teacher" / "model.safetensors")


def test_a_teacher_that_was_stopped_is_the_same_teacher(store: ClipStore, tmp_path: Path) -> None:
    epochs: list[float] = []
    straight = trained(store, tmp_path / "straight", lambda report: epochs.append(report["epoch"]))
    assert epochs == [1.0, 2.0]

    def die(report: dict[str, Any]) -> None:
        if report["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(store, tmp_path / "stopped", die)
    epochs.clear()
    resumed = trained(store, tmp_path / "stopped", lambda report: epochs.append(report["epoch"]))
    assert epochs == [2.0]
    assert resumed.sha256 == straight.sha256


def test_a_finished_teacher_is_left_as_it_is(store: ClipStore, tmp_path: Path) -> None:
    first = trained(store, tmp_path / "teacher")

    def never(report: dict[str, Any]) -> None:
        raise AssertionError("trained again")

    assert trained(store, tmp_path / "teacher", never).sha256 == first.sha256
    assert not list((tmp_path / "teacher").glob("checkpoint*"))


def test_the_stores_latents_are_normalised_in_each_token(store: ClipStore) -> None:
    _, latents = rows(store, store.train, np.arange(len(store.train)))
    assert store.teacher.target_norm == "layer_norm"
    assert latents.mean(dim=-1).abs().max() < 1e-2
    assert (latents.var(dim=-1, unbiased=False) - 1).abs().max() < 1e-2
    assert store.teacher.mean == pytest.approx(latents.double().mean(dim=(0, 1)).numpy(), abs=1e-6)
    assert store.teacher.variance == pytest.approx(latents.double().var(dim=(0, 1), unbiased=False).numpy(), abs=1e-6)
