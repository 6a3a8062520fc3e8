"""An encoder as others use it: `encoder.safetensors` beside `config.json`, and `load_encoder` to get it back."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.errors import CheckpointError, ConfigError
from trainable.files import atomic_write, write_json
from trainable.model.student import Student

FORMAT_VERSION = 1


class Encoder(nn.Module):
    """A trained student for whole clips.

    Attributes:
        view: geometry of the clips it takes.
        dim: width of its features.
        config: hyperparameters it was trained with.
        provenance: where it came from, as plain JSON.
    """

    def __init__(self, config: TrialConfig, view: View, provenance: dict[str, Any]) -> None:
        super().__init__()
        self.config, self.view, self.provenance = config, view, provenance
        self.student = Student(config, view)
        self.dim = self.student.dim

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Encodes clips.

        Args:
            clips: uint8 RGB frames, shape (clips, frames, size, size, 3).

        Returns:
            Features of every token, shape (clips, tokens, dim), ordered time, row, column.

        Raises:
            ValueError: another shape or type.
        """
        view = self.view
        expected = (view.frames, view.size, view.size, 3)
        if tuple(clips.shape[1:]) != expected or clips.dtype != torch.uint8:
            sizes = ", ".join(map(str, expected))
            raise ValueError(
                f"clips are {clips.dtype} of shape {tuple(clips.shape)}; "
                f"must be a torch.uint8 tensor of (clips, {sizes})"
            )
        slots, rows, columns = view.grid
        cut = clips.reshape(-1, slots, view.tubelet, rows, view.patch, columns, view.patch, 3)
        return cast(
            torch.Tensor, self.student(cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, view.tokens, view.token_values))
        )


def save_encoder(folder: Path, student: Student, config: TrialConfig, view: View, provenance: dict[str, Any]) -> None:
    """Writes `encoder.safetensors` and `config.json` into `folder`, each atomically.

    Args:
        folder: an existing folder.
        student: the trained student.
        config: its hyperparameters.
        view: geometry of its clips.
        provenance: plain JSON that says where it came from.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    with atomic_write(folder / "encoder.safetensors") as temporary:
        save_file(tensors, temporary)
    write_json(
        folder / "config.json",
        {
            "format_version": FORMAT_VERSION,
            "view": view.describe(),
            "config": config.to_dict(),
            "provenance": provenance,
        },
    )


def load_encoder(path: str | Path, device: torch.device | str = "cpu") -> Encoder:
    """Loads an encoder that `promote` (or a store's teacher) wrote.

    Args:
        path: the folder with `encoder.safetensors` and `config.json`.
        device: where the encoder goes.

    Returns:
        The encoder in evaluation mode; feed it uint8 clips.

    Raises:
        CheckpointError: a file is missing or damaged, or the two do not fit each other.
    """
    folder = Path(path)
    try:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if saved["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version = {saved['format_version']!r}: this version reads {FORMAT_VERSION}")
        view = View.from_description(saved["view"])
        encoder = Encoder(TrialConfig.from_dict(dict(saved["config"])), view, dict(saved["provenance"]))
        encoder.student.load_state_dict(load_file(folder / "encoder.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, ConfigError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{folder}: no encoder that can be loaded ({reason})") from error
    return encoder.to(device).eval()
