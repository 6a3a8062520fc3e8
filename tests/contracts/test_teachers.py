"""What every registered teacher keeps; what only some have is tested beside them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainable.small import SMALL, rows
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View
from trainable.errors import StoreError, UserError
from trainable.hashing import file_sha256
from trainable.registry import TEACHERS
from trainable.teachers.videomae_layout import VIDEOMAE_TEACHERS, teacher_view

TRAINED = sorted(name for name in TEACHERS if TEACHERS[name].recipe is not None)
RELEASED = sorted(name for name in TEACHERS if TEACHERS[name].recipe is None)


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_it_is_a_teacher(name: str) -> None:
    assert issubclass(TEACHERS[name], FrozenTeacher)
    assert TEACHERS[name].needs_pixels


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_weights_that_are_not_there_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    view = teacher_view(name) if name in VIDEOMAE_TEACHERS else View()
    with pytest.raises(UserError) as caught:
        TEACHERS[name].load(name, tmp_path / "none", view, "cpu")
    assert str(tmp_path / "none") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", RELEASED)
def test_released_weights_are_not_trained(name: str, store: ClipStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give its weights"):
        TEACHERS[name].train(store, tmp_path, SMALL, device="cpu", seed=0, on_report=print)


@pytest.mark.parametrize("name", TRAINED)
def test_one_that_is_trained_here_can_be_loaded_and_looks_at_pixels(
    name: str, store: ClipStore, tmp_path: Path
) -> None:
    kind = TEACHERS[name]
    assert kind.recipe is not None
    config = kind.recipe.replace(student_dim=64, student_depth=1, predictor_depth=1, batch_size=8, epochs=0.25)
    kind.train(store, tmp_path / "teacher", config, device="cpu", seed=0, on_report=lambda _: None)
    teacher = kind.load(name, tmp_path / "teacher", store.view, "cpu")
    assert teacher.name == name
    assert teacher.folder == tmp_path / "teacher"
    assert teacher.sha256 in {file_sha256(file) for file in teacher.folder.iterdir()}
    assert teacher.describe() == {"name": name, "sha256": teacher.sha256}
    pixels, _ = rows(store, store.val, np.arange(3))
    latents = teacher.latents(pixels)
    assert (latents.shape, latents.dtype) == ((3, store.view.tokens, teacher.dim), torch.float32)
    assert not latents.requires_grad
    assert teacher.fetch(store.val.ids[0]) is None
    assert torch.equal(teacher.assemble([None] * 3, pixels), latents)
    with pytest.raises(StoreError, match="latents of different teachers must not meet"):
        teacher.check_joins(store)
    if store.teacher.name == name:
        kind.load(name, store.path, store.view, "cpu").check_joins(store)


def test_the_family_is_registered_with_all_its_members() -> None:
    assert set(VIDEOMAE_TEACHERS) < set(TEACHERS)
