"""Turns the flags that name the latents of a store into a teacher, or into what one is trained with."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from trainable.config import TrialConfig
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.video.view import View
from trainable.errors import UserError
from trainable.registry import TEACHERS

# For videos without weights: probes read more off its latents than off those of the others (benchmarks/teachers.py).
DEFAULT: Final = "hog+motion"
TRAINED: Final = "pixel"  # the one that the flags on training, or on a folder of weights, are about


@dataclass(frozen=True)
class TeacherFlags:
    """The flags of `prepare` that say which latents the store gets.

    Attributes:
        named: a name in `trainable.registry.TEACHERS`; None: not given.
        weights: file of released weights, or the folder of a pixel teacher that was trained before.
        epochs: that the pixel teacher is trained for.
        config: file of its hyperparameters, for messages.
        compile: compile a VideoMAE with torch.compile.
        latents_from: a folder of latents to import.
        check_latents: how many of those to compute again.
        hyperparameters: of the pixel teacher, as `config` has them.
    """

    named: str | None
    weights: Path | None
    epochs: int | None
    config: Path | None
    compile: bool
    latents_from: Path | None
    check_latents: int | None
    hyperparameters: Mapping[str, Any]

    @property
    def teacher(self) -> str:
        """The name that is given, or follows from the other flags."""
        of_pixel = (self.weights, self.epochs, self.config)
        return self.named or (DEFAULT if all(flag is None for flag in of_pixel) else TRAINED)


def load_teacher(name: str, weights: Path | None, view: View, *, compile: bool = False) -> FrozenTeacher:
    """Loads a teacher that is trained already, or makes one that has no weights.

    Args:
        name: in `trainable.registry.TEACHERS`.
        weights: the folder of a pixel teacher, or of a store that has one; a file of released weights; None: of none.
        view: of the clips that it will see.
        compile: compile it with torch.compile.

    Raises:
        UserError: the weights are missing, of another model, or of another view; or the teacher has none.
    """
    kind = TEACHERS[name]
    if weights is None:
        return kind.make(name, view, device())
    return kind.load(name, weights, view, device(), compile=compile)


def given_teacher(flags: TeacherFlags, view: View) -> FrozenTeacher | None:
    """Returns the teacher that the flags name and that need not be trained; None where they name none."""
    if flags.latents_from is not None and flags.named is None and flags.weights is None:
        return None
    weightless = TEACHERS[flags.teacher].weightless
    if flags.weights is None and not weightless:
        return None
    other = f"--teacher {flags.teacher} has no weights" if weightless else "--teacher-weights takes one that is trained"
    for flag, value in (("--teacher-epochs", flags.epochs), ("--teacher-config", flags.config)):
        if value is not None:
            raise UserError(f"{flag} trains a pixel teacher, {other}: keep one")
    if weightless and flags.compile:
        raise UserError(f"--teacher-compile compiles a VideoMAE, {other}: keep one")
    return load_teacher(flags.teacher, flags.weights, view, compile=flags.compile)


def configured(recipe: TrialConfig, flags: TeacherFlags, training_clips: int) -> TrialConfig:
    """Reads the hyperparameters of a teacher that is to be trained on so many clips."""
    epochs = {} if flags.epochs is None else {"epochs": flags.epochs}
    if flags.config is None:
        return recipe.replace(batch_size=max(1, min(recipe.batch_size, training_clips)), **epochs)
    return TrialConfig.from_dict({**recipe.to_dict(), **flags.hyperparameters, **epochs})


def device() -> str:
    """Names where teachers compute: "cuda" or "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"
