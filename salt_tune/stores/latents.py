"""The ways in which a store gets its latents: a teacher is trained, or is ready, or its latents are imported."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from salt_tune.stores.teachers import TeacherFlags, configured, device, given_teacher
from salt_tune.ui.console import console
from salt_tune.ui.progress_bar import progress
from trainable.config import TrialConfig
from trainable.data.build.builder import StoreBuilder
from trainable.data.build.decoding import Decoders
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.build.precomputed import LatentFolder, check_latents
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.view import View
from trainable.errors import ConfigError, UserError
from trainable.files import copy_folder
from trainable.masking.masks import Masks
from trainable.model.encoder import load_encoder
from trainable.model.predictor import VJepa
from trainable.registry import TEACHERS

TRIAL_SECONDS = 1.0  # what a stage is tried for; a call that takes longer on a CPU is not repeated

USELESS_R2 = 0.01  # a teacher below it has learned nothing that a student could learn from it


class Teaching(Protocol):
    """One way in which a store gets its latents.

    Attributes:
        dim: width of the latents.
        overlaps: the teacher looks at clips while others are decoded.
    """

    dim: int
    overlaps: bool

    def describe(self) -> dict[str, Any]:
        """Returns what decides the latents, as plain JSON."""
        ...

    def seconds(self, plan: Plan, pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
        """Estimates how long each stage will take beside decoding, tried on some rows of pixels."""
        ...

    def fill(self, builder: StoreBuilder, decoders: Decoders) -> ClipStore:
        """Makes the store."""
        ...


def choose_teacher(flags: TeacherFlags, view: View, training_clips: int) -> Teaching:
    """Chooses the way that the flags ask for.

    Args:
        flags: from the command line.
        view: of the store.
        training_clips: how many there are to train a pixel teacher on.

    Raises:
        UserError: flags that exclude each other, weights that are missing or of another model, or of another view.
    """
    if flags.latents_from is not None:
        return ImportedLatents(
            LatentFolder(flags.latents_from, view), given_teacher(flags, view), flags.check_latents, view
        )
    if flags.check_latents is not None:
        raise UserError("--check-latents checks imported latents: give their folder by --latents-from")
    given = given_teacher(flags, view)
    if given is not None:
        return Given(given)
    kind = TEACHERS[flags.teacher]
    if kind.recipe is None:
        raise UserError(f"--teacher {flags.teacher} needs its released weights: name the file by --teacher-weights")
    try:
        config = configured(kind.recipe, flags, training_clips)
        config.check_data(view, training_clips)
        return Trained(flags.teacher, config, view)
    except ConfigError as error:
        raise UserError(f"{flags.config or f'{flags.teacher} teacher'}: {error}") from error


class Trained:
    """A teacher that is trained on the store's own clips, between decoding and latents.

    Args:
        name: in `trainable.registry.TEACHERS`.
        config: hyperparameters of its training.
        view: of the store.
    """

    overlaps = False

    def __init__(self, name: str, config: TrialConfig, view: View) -> None:
        self._name, self._config, self._view = name, config, view
        self._model = VJepa(config, view, view.token_values)
        self.dim = self._model.student.dim

    def describe(self) -> dict[str, Any]:
        """See `Teaching.describe`."""
        return {"name": self._name, "config": self._config.to_dict()}

    def seconds(self, plan: Plan, pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
        """See `Teaching.seconds`; tries steps on random tokens."""
        config, model = self._config, self._model.to(device()).train()
        masks = Masks(self._view, config.masking, config.mask_ratio, config.seed, config.predict_share)
        order = torch.randperm(self._view.tokens).expand(config.batch_size * masks.per_clip, -1).to(device())
        visible, asked = order[:, masks.masked_tokens :], order[:, : masks.predicted_tokens]
        context = config.context_weight > 0
        tokens = torch.randint(0, 256, (*visible.shape, self._view.token_values), dtype=torch.uint8, device=device())

        def step() -> None:
            model(tokens, visible, asked, context=context).square().mean().backward()

        training_clips = sum(clip.split == "train" for clip in plan.source.clips)
        steps = config.epochs * (training_clips // config.batch_size)
        inputs = torch.from_numpy(pixels).to(device())
        with torch.no_grad():
            looking = _time(lambda: model.student(inputs)) / max(len(pixels), 1)
        return {"teacher": steps * _time(step), "latents": plan.rows() * looking}

    def fill(self, builder: StoreBuilder, decoders: Decoders) -> ClipStore:
        """See `Teaching.fill`."""
        total = len(builder.plan.source.clips)
        with progress("decode", total, builder.written()) as advance:
            builder.write(None, decoders, advance)
        say_skipped(builder.completed.skipped())
        folder = builder.partial / "teacher"
        val_r2 = self._train(builder, folder)
        teacher = TEACHERS[self._name].load(self._name, folder, self._view, device())
        has_latents = [rows for name, rows in builder.completed.shards() if builder.completed.has(name, "latents")]
        done = sum(row["view"] == 0 for rows in has_latents for row in rows)
        with progress("latents", total - len(builder.completed.skipped()), done) as advance:
            builder.add_latents(teacher, decoders, advance)
        return builder.finish(teacher, val_r2=val_r2)

    def _train(self, builder: StoreBuilder, folder: Path) -> float:
        """Trains the teacher, shows its curve, and returns what share of the held-out pixels' variance it explains."""
        pixels, epochs = builder.open_pixels(), self._config.epochs
        with progress("teacher", round(len(pixels.train) * epochs)) as advance:
            trained = 0.0

            def on_report(report: dict[str, Any]) -> None:
                nonlocal trained
                advance(round((report["epoch"] - trained) * len(pixels.train)))
                trained = report["epoch"]
                line = f"val_loss {report['val_loss']:.3f}  val_r2 {report['val_r2']:.3f}"
                console.print(f"  epoch {trained:.4g}  {line}")

            seed = builder.plan.seed
            kind = TEACHERS[self._name]
            kind.train(pixels, folder, self._config, device=device(), seed=seed, on_report=on_report)
            advance(round((epochs - trained) * len(pixels.train)))
        val_r2 = float(load_encoder(folder).provenance["val_r2"])
        if val_r2 < USELESS_R2:
            console.warn(
                f"the teacher explains {val_r2:.1%} of the held-out pixels, no better than their mean; "
                "give it more clips or more --teacher-epochs"
            )
        return val_r2


class Given:
    """A teacher that need not be trained, or not any more: it looks at clips while others are decoded."""

    overlaps = True

    def __init__(self, teacher: FrozenTeacher) -> None:
        self.teacher, self.dim = teacher, teacher.dim

    def describe(self) -> dict[str, Any]:
        """See `Teaching.describe`."""
        return self.teacher.describe()

    def seconds(self, plan: Plan, pixels: npt.NDArray[np.uint8]) -> dict[str, float]:
        """See `Teaching.seconds`."""
        rows = torch.from_numpy(pixels if device() == "cuda" else pixels[:1])
        return {"latents": plan.rows() * _time(lambda: self.teacher.latents(rows)) / max(len(rows), 1)}

    def fill(self, builder: StoreBuilder, decoders: Decoders) -> ClipStore:
        """See `Teaching.fill`."""
        with progress("prepare", len(builder.plan.source.clips), builder.written()) as advance:
            builder.write(self.teacher, decoders, advance)
        say_skipped(builder.completed.skipped())
        if self.teacher.folder is not None:
            copy_folder(self.teacher.folder, builder.partial / "teacher")
        return builder.finish(self.teacher)


class ImportedLatents:
    """Takes latents that are on disk already.

    Args:
        folder: holds them.
        teacher: that they are said to be of, to check some; None where it is not at hand.
        check: how many to compute again.
        view: of the store.

    Raises:
        UserError: more than one view, or a check without a teacher.
    """

    overlaps = True

    def __init__(self, folder: LatentFolder, teacher: FrozenTeacher | None, check: int | None, view: View) -> None:
        if view.views > 1:
            raise ConfigError("views", view.views, "must be 1 where latents are imported: they are of one view")
        if check is not None and teacher is None:
            raise UserError("--check-latents computes latents again: name the teacher by --teacher, --teacher-weights")
        self.folder, self.dim = folder, folder.dim
        self._teacher, self._check = teacher, check

    def describe(self) -> dict[str, Any]:
        """See `Teaching.describe`."""
        return self.folder.describe()

    def seconds(self, plan: Plan, pixels: npt.NDArray[np.uint8]) -> dict[str, float]:  # noqa: ARG002
        """See `Teaching.seconds`."""
        return {"latents": plan.rows() * _time(self.folder.read_one)}

    def fill(self, builder: StoreBuilder, decoders: Decoders) -> ClipStore:
        """See `Teaching.fill`."""
        checked = "unverified"
        if self._check is not None and self._teacher is not None:
            error, count = check_latents(self.folder, builder.plan, self._teacher, self._check, decoders)
            checked = f"checked on {count} clips against {self._teacher.name}"
            console.print(f"{checked}: at most {error:.1%} off")
        else:
            console.print(
                "view: unverified: which frames and crop these latents are of cannot be known; "
                "--check-latents N computes N of them again"
            )
        with progress("import", len(builder.plan.source.clips), builder.written()) as advance:
            builder.write(self.folder, decoders, advance)
        say_skipped(builder.completed.skipped())
        return builder.finish(self.folder, checked, metadata=self.folder.metadata)


def say_skipped(skipped: Iterable[dict[str, str]]) -> None:
    """Names the first clips that were left out."""
    clips = list(skipped)
    for clip in clips[:10]:
        console.print(f"  skipped {clip['id']}: {clip['reason']}")
    if len(clips) > 10:
        console.print(f"  ... and {len(clips) - 10} more; all are named in the store's manifest.json")


def _time(work: Callable[[], object]) -> float:
    """Measures the seconds of one call: the shortest of some, as the first ones warm up."""
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < TRIAL_SECONDS and len(seconds) < 10):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        if seconds[-1] > TRIAL_SECONDS and device() == "cpu":
            break
    return min(seconds)
