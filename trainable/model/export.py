"""An encoder as a program of torch.export, which runs without this package."""

from pathlib import Path

import torch
from torch import nn

from trainable.errors import UserError
from trainable.files import atomic_write
from trainable.model.encoder import Encoder, load_encoder

EXAMPLE_CLIPS = 2  # a program that is traced with one clip takes no other number


class _Program(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.encoder(clips)
        return features.tokens, features.pooled


def export_encoder(folder: str | Path, path: str | Path) -> None:
    """Writes an encoder as a program: `torch.export.load(path).module()(clips)` gives tokens and their mean.

    The number of clips is free. Frames and size are those of the training; clips are uint8, shape (clips, frames,
    height, width, 3). The values of clips are not checked.

    Args:
        folder: that `promote` wrote.
        path: of the program, which ends in .pt2.

    Raises:
        CheckpointError: there is no encoder in `folder`.
        UserError: the path is that of another kind of file.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise UserError(f"{path}: must end in .pt2, as programs of torch.export do")
    encoder = load_encoder(folder)
    view = encoder.view
    clips = torch.zeros(EXAMPLE_CLIPS, view.frames, view.size, view.size, 3, dtype=torch.uint8)
    count = torch.export.Dim("count", min=1)
    with torch.no_grad():
        program = torch.export.export(_Program(encoder).eval(), (clips,), dynamic_shapes=({0: count},))
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.export.save(program, file)
