"""What every registered teacher keeps; what only some have is tested beside them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from tests.conftest import Command
from tests.trainable.small import SMALL, content, ignore, rows
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import TargetNorm
from trainable.data.store.targets import normalise
from trainable.data.video.video_dataset import find_source
from trainable.data.video.view import View
from trainable.errors import StoreError, UserError
from trainable.hashing import file_sha256
from trainable.registry import TEACHERS
from trainable.teachers.videomae_layout import VIDEOMAE_TEACHERS, teacher_view

TRAINED = sorted(name for name in TEACHERS if TEACHERS[name].recipe is not None)
WEIGHTLESS = sorted(name for name in TEACHERS if TEACHERS[name].weightless)
RELEASED = sorted(set(TEACHERS) - {*TRAINED, *WEIGHTLESS})


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_it_is_a_teacher(name: str) -> None:
    assert issubclass(TEACHERS[name], FrozenTeacher)
    assert TEACHERS[name].needs_pixels
    assert TEACHERS[name].target_norm in get_args(TargetNorm)
    assert not (TEACHERS[name].weightless and TEACHERS[name].recipe)


@pytest.mark.parametrize("name", sorted(TEACHERS))
def test_weights_that_are_not_there_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    view = teacher_view(name) if name in VIDEOMAE_TEACHERS else View()
    with pytest.raises(UserError) as caught:
        TEACHERS[name].load(name, tmp_path / "none", view, "cpu")
    assert str(tmp_path / "none") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*RELEASED, *WEIGHTLESS])
def test_one_without_a_recipe_is_not_trained(name: str, store: ClipStore, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not trained on a store's clips"):
        TEACHERS[name].train(store, tmp_path, SMALL, device="cpu", seed=0, on_report=print)


@pytest.mark.parametrize("name", [*RELEASED, *TRAINED])
def test_one_that_has_weights_is_not_made_without_them(name: str) -> None:
    with pytest.raises(UserError, match=f"^{name}: has weights; give them$"):
        TEACHERS[name].make(name, View(), "cpu")


@pytest.mark.parametrize("name", TRAINED)
def test_one_that_is_trained_here_can_be_loaded_and_looks_at_pixels(
    name: str, store: ClipStore, tmp_path: Path
) -> None:
    kind = TEACHERS[name]
    assert kind.recipe is not None
    config = kind.recipe.replace(student_dim=64, student_depth=1, predictor_depth=1, batch_size=8, epochs=0.25)
    kind.train(store, tmp_path / "teacher", config, device="cpu", seed=0, on_report=lambda _: None)
    teacher = kind.load(name, tmp_path / "teacher", store.view, "cpu")
    assert teacher.folder == tmp_path / "teacher"
    assert teacher.sha256 in {file_sha256(file) for file in teacher.folder.iterdir()}
    assert teacher.describe() == {"name": name, "sha256": teacher.sha256}
    assert_looks_at_pixels(teacher, name, store)
    if store.teacher.name == name:
        kind.load(name, store.path, store.view, "cpu").check_joins(store)


def assert_looks_at_pixels(teacher: FrozenTeacher, name: str, store: ClipStore) -> None:
    assert teacher.name == name
    pixels, _ = rows(store, store.val, np.arange(3))
    latents = teacher.latents(pixels)
    assert (latents.shape, latents.dtype) == ((3, store.view.tokens, teacher.dim), torch.float32)
    assert not latents.requires_grad
    torch.testing.assert_close(teacher.latents(pixels[1:2]), latents[1:2], atol=1e-5, rtol=1e-4)
    assert teacher.fetch(store.val.ids[0]) is None
    assert torch.equal(teacher.assemble([None] * 3, pixels), latents)
    with pytest.raises(StoreError, match="latents of different teachers must not meet"):
        teacher.check_joins(store)


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_one_without_weights_is_known_by_what_decides_its_latents(name: str, store: ClipStore) -> None:
    teacher, again = (TEACHERS[name].make(name, store.view, "cpu") for _ in range(2))
    assert teacher.folder is None
    assert len(bytes.fromhex(teacher.sha256)) == 32
    said = json.loads(json.dumps(teacher.describe()))
    assert said == again.describe()
    assert (said["name"], said["sha256"]) == (name, teacher.sha256)
    assert_looks_at_pixels(teacher, name, store)


class StoppedError(Exception):
    """Stands for anything that ends a preparation."""


def stop(count: int) -> None:
    """Ends the preparation as soon as a clip is written."""
    raise StoppedError


@pytest.mark.parametrize("name", WEIGHTLESS)
def test_a_store_of_one_without_weights_is_stopped_grown_and_mended(
    name: str, videos: Path, tmp_path: Path, here: Command
) -> None:
    source, view, path = find_source(videos), View(frames=4, size=16, patch=8), tmp_path / "store"
    teacher = TEACHERS[name].make(name, view, "cpu")
    fewer = replace(source, clips=source.clips[::4])
    plan = Plan(fewer, view, "raw", "int8", teacher.describe(), teacher.target_norm, seed=0)
    with pytest.raises(StoppedError):
        StoreBuilder(path, plan).write(teacher, Decoders(1), stop)
    builder = StoreBuilder(path, plan)
    builder.write(teacher, Decoders(1), ignore)
    store = builder.finish(teacher)
    assert (len(store.train) + len(store.val), store.teacher.dim) == (len(fewer.clips), teacher.dim)
    assert not (path / "teacher").exists()

    flags = ("--store", path, "--workers", 1)
    assert "--teacher-weights" in here("prepare", "append", videos, *flags, "--teacher-weights", videos).stderr
    assert here("prepare", "append", videos, *flags).returncode == 0
    before = content(path)
    for file in path.glob("*.latents.npy"):
        stored = np.load(file)
        np.save(file, stored ^ 1)
    assert here("prepare", "verify", path, "--workers", 1).returncode == 1
    done = here("prepare", "repair", path, "--workers", 1)
    assert f"{len(source.clips)} rows rebuilt" in done.stdout
    assert content(path) == before
    store = ClipStore.open(path)
    pixels, latents = rows(store, store.val, np.arange(2))
    targets = normalise(teacher.latents(pixels), teacher.target_norm)
    torch.testing.assert_close(latents, targets, atol=targets.abs().max().item() / 127, rtol=0)


def test_the_family_is_registered_with_all_its_members() -> None:
    assert set(VIDEOMAE_TEACHERS) < set(TEACHERS)
