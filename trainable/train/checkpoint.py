"""Checkpoints: one safetensors file, written atomically, loaded without pickle."""

import json
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from trainable.errors import CheckpointError
from trainable.files import atomic_write


class Training(Protocol):
    """What has a state to be saved; `trainable.train.training.Training` is one."""

    def state_dict(self) -> dict[str, Any]:
        """Returns all that goes on from here needs: `tensors` by name, and `numbers` that are plain JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            CheckpointError: it belongs to another training.
        """
        ...


def save_checkpoint(path: Path, training: Training, note: dict[str, Any] | None = None) -> None:
    """Writes the state of `training` to `path`; the file there before stays whole until the new one is.

    Args:
        path: the file.
        training: the run.
        note: plain JSON that goes along, for `read_note`.
    """
    state = training.state_dict()
    tensors = {name: tensor.detach().contiguous() for name, tensor in state["tensors"].items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"numbers": json.dumps(state["numbers"]), "note": json.dumps(note)})


def read_note(path: Path) -> dict[str, Any]:
    """Reads the note that was saved with the checkpoint in `path`, without loading the rest.

    Raises:
        CheckpointError: the file is damaged, or has none.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return dict(json.loads(file.metadata()["note"]))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not the whole checkpoint of a trial ({error})") from error


def load_checkpoint(path: Path, training: Training) -> None:
    """Puts `training` where it was when `path` was written.

    Raises:
        CheckpointError: the file is damaged, or belongs to another run.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            numbers = json.loads(file.metadata()["numbers"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole checkpoint ({error})") from error
    try:
        training.load_state_dict({"tensors": tensors, "numbers": numbers})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
