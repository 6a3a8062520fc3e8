"""An exported encoder comes back as it was and encodes videos."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import trainable
from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.reader import read_clip
from trainable.data.video.view import View
from trainable.errors import CheckpointError
from trainable.model.encoder import load_encoder, save_encoder
from trainable.train.training import Training


@pytest.fixture
def training(make_training: MakeTraining) -> Training:
    made = make_training()
    made.train_to(2)
    return made


@pytest.fixture
def folder(training: Training, store: ClipStore, tmp_path: Path) -> Path:
    save_encoder(tmp_path, training.model.student, training.config, store.view, {"search": "here"})
    return tmp_path


def test_an_encoder_comes_back_as_it_was(folder: Path, training: Training, store: ClipStore) -> None:
    encoder = load_encoder(folder)
    saved, loaded = training.model.student.state_dict(), encoder.student.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    assert (encoder.config, encoder.view, encoder.dim) == (training.config, store.view, 64)
    assert not encoder.training
    assert json.loads((folder / "config.json").read_text())["provenance"] == {"search": "here"}


def test_it_encodes_a_video_as_the_student_does(
    folder: Path, training: Training, store: ClipStore, videos: Path
) -> None:
    encoder = trainable.load_encoder(str(folder))
    (tokens,), _ = read_clip(videos / "1.webm", store.view)
    clip = torch.from_numpy(store.view.to_frames(tokens))
    with torch.no_grad():
        features = encoder(torch.stack([clip, clip.flip(0)]))
        expected = training.model.student.eval()(torch.from_numpy(tokens)[None])
    assert features.shape == (2, store.view.tokens, 64)
    torch.testing.assert_close(features[:1], expected)
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_clips_of_another_shape_or_type_are_refused(folder: Path) -> None:
    encoder = load_encoder(folder)
    good = torch.zeros(2, 8, 32, 32, 3, dtype=torch.uint8)
    assert encoder(good).shape == (2, 64, 64)
    for clips in (good[:, :4], good.float(), good.permute(0, 4, 1, 2, 3), good[0]):
        with pytest.raises(ValueError, match=r"must be a torch.uint8 tensor of \(clips, 8, 32, 32, 3\)"):
            encoder(clips)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no weights": lambda folder: (folder / "encoder.safetensors").unlink(),
    "empty config": lambda folder: (folder / "config.json").write_text(""),
    "another config": lambda folder: (folder / "config.json").write_text("[]"),
    "no view": lambda folder: rewrite(folder, view=None),
    "hyperparameters as a list": lambda folder: rewrite(folder, config=[1]),
    "unknown hyperparameter": lambda folder: rewrite(folder, config={"depth": 3}),
    "hyperparameter out of range": lambda folder: rewrite(folder, config={"lr": -1}),
    "another format": lambda folder: rewrite(folder, format_version=2),
    "weights of another model": lambda folder: rewrite(
        folder, config={"student": "vit_tiny_patch16_224", "student_depth": 2}
    ),
    "weights of another view": lambda folder: rewrite(folder, view=View(8, 32, 16).describe()),
    "truncated weights": lambda folder: truncate(folder / "encoder.safetensors"),
}


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(folder: Path, damage: str) -> None:
    DAMAGES[damage](folder)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: no encoder that can be loaded (")
    assert "\n" not in message


def test_the_stores_teacher_is_such_an_encoder(store: ClipStore) -> None:
    encoder = load_encoder(store.path / "teacher")
    assert encoder.dim == store.teacher.dim
    pixels = torch.from_numpy(np.array(store.pixels(store.train, 0)))
    clip = torch.from_numpy(store.view.to_frames(pixels.numpy()))
    with torch.no_grad():
        torch.testing.assert_close(encoder(clip[None]), encoder.student(pixels[None]))
