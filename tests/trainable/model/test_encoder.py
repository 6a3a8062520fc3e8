"""An exported encoder comes back as it was and encodes videos."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import trainable
from tests.trainable.conftest import MakeTraining
from tests.trainable.small import SMALL, assert_equal_tensors
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.reader import read_clip
from trainable.errors import CheckpointError, UserError
from trainable.hashing import file_sha256
from trainable.model.encoder import FILES, check_init, load_encoder, save_encoder
from trainable.teachers.pixel import PixelTeacher
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
    saved, loaded = training.model.student.state_dict(), encoder.state_dict()
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
        features, pooled = encoder(torch.stack([clip, clip.flip(0)]))
        expected = training.model.student.eval()(torch.from_numpy(tokens)[None])
    assert features.shape == (2, store.view.tokens, 64)
    torch.testing.assert_close(features[:1], expected)
    torch.testing.assert_close(pooled, features.mean(dim=1))
    assert (features[0] - features[1]).abs().max() > 1e-3


def test_clips_of_another_shape_are_refused_and_of_another_size_are_not(folder: Path) -> None:
    encoder = load_encoder(folder)
    clips = torch.zeros(2, 4, 48, 32, 3, dtype=torch.uint8)
    assert encoder(clips).tokens.shape == (2, 2 * 6 * 4, 64)
    with pytest.raises(ValueError, match=r"must be \(clips, frames, .*, such as \(clips, 8, 32, 32, 3\)"):
        encoder(clips[0])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "empty config": lambda folder: (folder / "config.json").write_text(""),
    "another config": lambda folder: (folder / "config.json").write_text("[]"),
    "no view": lambda folder: rewrite(folder, view=None),
    "hyperparameters as a list": lambda folder: rewrite(folder, config=[1]),
    "unknown hyperparameter": lambda folder: rewrite(folder, config={"depth": 3}),
    "hyperparameter out of range": lambda folder: rewrite(folder, config={"lr": -1}),
    "another format": lambda folder: rewrite(folder, format_version=3),
    "a layer too much": lambda folder: rewrite(folder, num_hidden_layers=2),
    "a layer too much, weights unknown": lambda folder: rewrite(folder, num_hidden_layers=2, weights_sha256=None),
    "layers without end": lambda folder: rewrite(folder, num_hidden_layers=10**9),
    "another width": lambda folder: rewrite(folder, hidden_size=128, weights_sha256=None),
    "no width": lambda folder: rewrite(folder, hidden_size=None),
    "patches of another size": lambda folder: rewrite(folder, patch_size=16, weights_sha256=None),
    "truncated weights": lambda folder: truncate(folder / "model.safetensors"),
    "truncated weights, hash unknown": lambda folder: truncate(folder / "model.safetensors", known=False),
    "one bit of the weights": lambda folder: flip_a_bit(folder / "model.safetensors"),
    "weights that are a folder": lambda folder: replace_by_a_folder(folder / "model.safetensors"),
}


def rewrite(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def truncate(path: Path, *, known: bool = True) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    if not known:
        rewrite(path.parent, weights_sha256=None)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


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
        expected = encoder.encode_tokens(pixels[None], store.view.grid)
        torch.testing.assert_close(encoder(clip[None]).tokens, expected)


def test_a_teacher_of_a_store_made_before_still_opens(folder: Path, tmp_path: Path, store: ClipStore) -> None:
    new, old = load_encoder(folder), tmp_path / "store" / "teacher"
    old.mkdir(parents=True)
    described = {"format_version": 1, "view": store.view.describe(), "config": new.config.to_dict(), "provenance": {}}
    (old / "config.json").write_text(json.dumps(described))
    save_file(load_file(folder / "model.safetensors"), old / "encoder.safetensors")
    encoder = load_encoder(old)
    assert (encoder.architecture, encoder.view) == (new.architecture, new.view)
    clips = torch.randint(0, 256, (1, 8, 32, 32, 3), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(encoder(clips).tokens, new(clips).tokens)
    teacher = PixelTeacher.load("pixel", old.parent, store.view, "cpu")
    assert teacher.sha256 == file_sha256(old / "encoder.safetensors")


def test_the_folder_names_no_place_of_this_machine(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= set(FILES)
    for path in folder.iterdir():
        assert str(folder).encode() not in path.read_bytes()
        assert str(Path.home()).encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student_dim": 128}, r"embed\.weight has shape .*, and must have \(128, "),
        ({"student_depth": 2}, r"blocks\.1\..* has shape None there"),
    ],
)
def test_only_a_model_of_the_same_student_is_begun_with(
    folder: Path, store: ClipStore, changes: dict[str, int], words: str
) -> None:
    assert check_init(folder, SMALL, store.view) == load_encoder(folder).sha256
    with pytest.raises(UserError, match=words):
        check_init(folder, SMALL.replace(**changes), store.view)


def test_a_training_begins_with_the_weights_of_an_encoder(folder: Path, store: ClipStore) -> None:
    encoder = load_encoder(folder)
    training = Training(SMALL.replace(seed=1, ema=0.5), store, device="cpu", init=encoder)
    training.close()
    assert_equal_tensors(training.model.student.state_dict(), encoder.state_dict())
    assert training.averaged is not None
    assert_equal_tensors(training.averaged.model.student.state_dict(), encoder.state_dict())
    assert training.state_dict()["numbers"]["run"]["init"] == encoder.sha256
