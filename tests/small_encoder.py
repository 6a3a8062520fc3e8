"""An encoder that is saved in a moment: a student of random weights."""

from pathlib import Path

import torch

from tests.trainable.small import SMALL
from trainable.data.video.view import View
from trainable.model.encoder import save_encoder
from trainable.model.student import Student

VIEW = View(8, 32, 8, 2)


def save_small_encoder(folder: Path, seed: int = 0, view: View = VIEW) -> Path:
    """Makes `folder`, and saves an encoder in it; returns the folder.

    Args:
        folder: to be.
        seed: of the weights.
        view: of its clips.
    """
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    save_encoder(folder, Student(SMALL, view), SMALL, view, {"run": "none"})
    return folder
