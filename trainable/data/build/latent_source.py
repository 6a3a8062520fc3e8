"""Where the latents of a store come from: a frozen teacher that looks at pixels, or latents that are there already."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.codecs import TargetNorm
from trainable.data.video.view import View
from trainable.errors import StoreError, UserError


class LatentSource(Protocol):
    """What a store is prepared with.

    Attributes:
        name: kind of source; it stands in the store's manifest.
        sha256: hash of the teacher's weights file, or of what else decides its latents; empty where the teacher is
            unknown.
        dim: width of the latents.
        needs_pixels: it computes latents from pixels, which must be kept for it when videos are decoded.
    """

    name: str
    sha256: str
    dim: int
    needs_pixels: bool

    def describe(self) -> dict[str, Any]:
        """Returns what decides the latents, as plain JSON."""
        ...

    def fetch(self, clip_id: str) -> torch.Tensor | None:
        """Returns the latents of a clip in float32, shape (tokens, dim); None where they are computed from pixels.

        Raises:
            VideoError: it has none of this clip, or none that can be used.
        """
        ...

    def assemble(self, fetched: Sequence[torch.Tensor | None], pixels: torch.Tensor | None) -> torch.Tensor:
        """Returns the latents of some rows in float32, shape (rows, tokens, dim).

        Args:
            fetched: what `fetch` gave of each clip.
            pixels: uint8, shape (rows, tokens, token values), where it `needs_pixels`.
        """
        ...

    def check_joins(self, store: ClipStore) -> None:
        """Refuses to add latents to a store that has its own from another source.

        Raises:
            StoreError: it is another, or latents are to be imported where they were computed, or the other way round.
        """
        ...


class FrozenTeacher(ABC):
    """A `LatentSource` that turns whole clips into one latent a token; another one is a subclass in a file of its own.

    Its line in `trainable.registry.TEACHERS` names the class.

    Attributes:
        name: of the teacher.
        sha256: hash of its weights file; of its name and parameters, where it is `weightless`.
        dim: width of its latents.
        folder: where its weights lie, where a store has to keep them to be repaired and to grow. None: they were
            released, and can be had again.
        recipe: how it is trained on the store's own clips; None: it is not.
        weightless: it has no weights: `make` makes it. Others are loaded, or trained where there is a `recipe`.
        target_norm: how its latents are normalised, where the user says nothing (a LayerNorm: V-JEPA).
    """

    name: str
    sha256: str
    dim: int
    needs_pixels = True
    folder: Path | None = None
    recipe: ClassVar[TrialConfig | None] = None
    weightless: ClassVar[bool] = False
    target_norm: ClassVar[TargetNorm] = "layer_norm"

    @classmethod
    def make(cls, name: str, view: View, device: torch.device | str) -> "FrozenTeacher":
        """Makes a teacher that is `weightless`.

        Args:
            name: its name in the registry.
            view: of the clips that it will see.
            device: where it runs.

        Raises:
            UserError: the view does not suit it, or it has weights.
        """
        raise UserError(f"{name}: has weights; give them")

    @classmethod
    def load(
        cls, name: str, weights: Path, view: View, device: torch.device | str, *, compile: bool = False
    ) -> "FrozenTeacher":
        """Loads a teacher that is trained already.

        Args:
            name: its name in the registry.
            weights: file or folder.
            view: of the clips that it will see.
            device: where it runs.
            compile: compile it with torch.compile.

        Raises:
            UserError: the weights are missing, of another model, or of another view; or this kind has none to load.
        """
        raise UserError(f"{weights}: {name} has no weights to load; leave out --teacher-weights")

    @classmethod
    def train(
        cls,
        store: ClipStore,
        folder: Path,
        config: TrialConfig,
        *,
        device: torch.device | str,
        seed: int,
        on_report: Callable[[dict[str, Any]], None],
    ) -> None:
        """Trains one on the training clips of `store` and writes it into `folder`; goes on where it was stopped.

        Args:
            store: has pixels, and no latents yet.
            folder: for its weights.
            config: hyperparameters, such as `recipe`.
            device: where it is trained.
            seed: of the training.
            on_report: called with each report.

        Raises:
            UserError: the training diverged, or this kind of teacher is not trained here.
        """
        raise UserError(f"{cls.__name__}: is not trained on a store's clips")

    @abstractmethod
    def latents(self, pixels: torch.Tensor) -> torch.Tensor:
        """Computes latents in float32, shape (clips, tokens, dim), of uint8 pixels (clips, tokens, token values)."""

    def describe(self) -> dict[str, Any]:
        """See `LatentSource.describe`."""
        return {"name": self.name, "sha256": self.sha256}

    def fetch(self, clip_id: str) -> torch.Tensor | None:
        """See `LatentSource.fetch`."""
        return None

    def assemble(self, fetched: Sequence[torch.Tensor | None], pixels: torch.Tensor | None) -> torch.Tensor:
        """See `LatentSource.assemble`."""
        if pixels is None:
            raise ValueError("a teacher needs pixels")
        return self.latents(pixels)

    def check_joins(self, store: ClipStore) -> None:
        """See `LatentSource.check_joins`."""
        own = store.teacher
        if own.imported:
            raise StoreError(
                f"{store.path}: its latents were imported: import those of the new clips too, by --latents-from"
            )
        if self.sha256 != own.sha256:
            raise StoreError(
                f"{store.path}: teacher.sha256 = {own.sha256} ({own.name}): the teacher given has {self.sha256} "
                f"({self.name}); latents of different teachers must not meet"
            )
