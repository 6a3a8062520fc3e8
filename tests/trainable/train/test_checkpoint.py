"""A checkpoint is whole and of this run, or it is refused in one line; writing one never harms the one before."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainable.conftest import MakeTraining
from tests.trainable.small import SMALL, assert_equal_tensors, tensors_of
from trainable.errors import CheckpointError
from trainable.train.checkpoint import load_checkpoint, read_note, save_checkpoint
from trainable.train.training import Training


@pytest.fixture
def checkpoint(make_training: MakeTraining, tmp_path: Path) -> Path:
    training = make_training()
    training.train_to(2)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, training)
    return path


def refusal(path: Path, training: Training) -> str:
    before = tensors_of(training)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path, training)
    assert_equal_tensors(tensors_of(training), before)
    assert training.step == 0
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(checkpoint: Path, make_training: MakeTraining, keep: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    assert "not a whole checkpoint" in refusal(checkpoint, make_training())


def test_a_missing_file_is_refused(tmp_path: Path, make_training: MakeTraining) -> None:
    assert "not a whole checkpoint" in refusal(tmp_path / "nothing", make_training())


@pytest.mark.parametrize("numbers", [None, "", "[]", "{}", '{"step": 3}'])
def test_another_programs_file_is_refused(checkpoint: Path, make_training: MakeTraining, numbers: str | None) -> None:
    save_file(load_file(checkpoint), checkpoint, metadata=None if numbers is None else {"numbers": numbers})
    refusal(checkpoint, make_training())


@pytest.mark.parametrize("name", ["model.student.embed.weight", "sums", "optimizer.student.embed.weight.exp_avg"])
def test_a_file_that_lacks_a_tensor_is_refused(checkpoint: Path, make_training: MakeTraining, name: str) -> None:
    tensors = load_file(checkpoint)
    del tensors[name]
    numbers = make_training().state_dict()["numbers"] | {"step": 2}
    save_file(tensors, checkpoint, metadata={"numbers": json.dumps(numbers)})
    assert name in refusal(checkpoint, make_training())


@pytest.mark.parametrize("changes", [{"lr": 2e-3}, {"seed": 1}, {"predictor_depth": 2}, {"epochs": 3}])
def test_another_configurations_checkpoint_is_refused(
    checkpoint: Path, make_training: MakeTraining, changes: dict[str, Any]
) -> None:
    name, value = next(iter(changes.items()))
    message = refusal(checkpoint, make_training(**changes))
    assert f"{name} = {getattr(SMALL, name)!r}" in message
    assert repr(value) in message


def test_another_targets_checkpoint_is_refused(checkpoint: Path, make_training: MakeTraining) -> None:
    assert "target = 'latents' there, 'pixels' here" in refusal(checkpoint, make_training(options={"target": "pixels"}))


def test_another_stores_checkpoint_is_refused(checkpoint: Path, make_training: MakeTraining) -> None:
    """The same shapes all over, but other frames of the videos, another teacher's latents, or more clips."""
    for key, value in (("view_hash", "0" * 64), ("teacher", "0" * 64), ("train_clips", 33)):
        numbers = make_training().state_dict()["numbers"]
        numbers["run"][key] = value
        path = checkpoint.with_name(key)
        save_file(load_file(checkpoint), path, metadata={"numbers": json.dumps(numbers)})
        assert key in refusal(path, make_training())


def test_an_error_while_writing_leaves_the_old_checkpoint(checkpoint: Path, make_training: MakeTraining) -> None:
    content = checkpoint.read_bytes()
    training = make_training()
    training.train_to(1)
    training.seconds = object()  # type: ignore[assignment]  # cannot be written
    with pytest.raises(TypeError):
        save_checkpoint(checkpoint, training)
    assert checkpoint.read_bytes() == content
    assert [file.name for file in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_a_new_checkpoint_takes_the_old_ones_place(checkpoint: Path, make_training: MakeTraining) -> None:
    training = make_training()
    training.train_to(5)
    save_checkpoint(checkpoint, training)
    resumed = make_training()
    load_checkpoint(checkpoint, resumed)
    assert (resumed.step, resumed.status, resumed.seconds) == (5, "running", training.seconds)
    assert_equal_tensors(tensors_of(resumed), tensors_of(training))
    assert [file.name for file in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_random_numbers_go_on_where_they_were(checkpoint: Path, make_training: MakeTraining) -> None:
    training = make_training()
    torch.manual_seed(5)
    save_checkpoint(checkpoint, training)
    expected = torch.rand(3)
    load_checkpoint(checkpoint, make_training())
    assert torch.equal(torch.rand(3), expected)


def test_a_note_goes_along_and_is_read_alone(checkpoint: Path, make_training: MakeTraining) -> None:
    note = {"cost": 0.1, "report": {"resource": 1 / 3, "val_loss": float("inf"), "status": "running"}}
    training = make_training()
    training.train_to(3)
    save_checkpoint(checkpoint, training, note)
    assert read_note(checkpoint) == note
    resumed = make_training()
    load_checkpoint(checkpoint, resumed)
    assert_equal_tensors(tensors_of(resumed), tensors_of(training))


@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_file_without_a_note_is_refused(checkpoint: Path, content: bytes | None) -> None:
    if content is not None:
        checkpoint.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"^{checkpoint}: not the whole checkpoint of a trial \(.*\)$"):
        read_note(checkpoint)
