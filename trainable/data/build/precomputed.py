"""A folder of latents that are on disk already: one `ID.pt` a clip, and perhaps a `metadata.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from trainable.data.build.decoding import Decoders, Job, decode_all, or_raise
from trainable.data.build.latent_source import FrozenTeacher
from trainable.data.build.plan import Plan
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.manifest import IMPORTED
from trainable.data.video.view import View
from trainable.errors import StoreError, UserError, VideoError
from trainable.hashing import clip_key

ALLOWED_ERROR = 0.1  # half precision and other kernels give about 0.01, other frames 0.5 and more

# What a metadata.json may say of the view, by the names that such scripts use.
_STATED = {
    "frames": ("frames", "num_frames", "n_frames"),
    "size": ("size", "image_size", "img_size", "resolution"),
    "patch": ("patch", "patch_size"),
    "tubelet": ("tubelet", "tubelet_size"),
}


class LatentFolder:
    """A `LatentSource` of latents without a teacher at hand; which frames and crop they came from cannot be known.

    Args:
        folder: holds `ID.pt` for each clip: a float tensor of shape (tokens, dim).
        view: of the store that imports them.

    Attributes:
        name: "adopted".
        sha256: empty: the weights are unknown.
        dim: width of the latents.
        metadata: content of metadata.json; empty without one.

    Raises:
        UserError: no such folder, no latents in it, or its metadata.json contradicts the view.
    """

    name = IMPORTED
    sha256 = ""
    needs_pixels = False

    def __init__(self, folder: Path, view: View) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: there is no such folder; --latents-from takes one with an ID.pt for each clip")
        self.folder, self._view = folder, view
        self.metadata = _read_metadata(folder / "metadata.json", view)
        self.dim = 0  # any width will do for the first
        self.dim = int(self.read_one().shape[1])

    def describe(self) -> dict[str, Any]:
        """Returns what decides the latents, as plain JSON."""
        return {"name": self.name, "folder": str(self.folder.absolute()), "metadata": self.metadata}

    def check_joins(self, store: ClipStore) -> None:
        """See `LatentSource.check_joins`."""
        own = store.teacher
        if not own.imported:
            raise StoreError(
                f"{self.folder}: these latents do not say their teacher; those of {store.path} are of {own.name}, "
                f"sha256 {own.sha256}: name its weights by --teacher-weights"
            )
        if self.dim != own.dim:
            raise StoreError(f"{self.folder}: latents are {self.dim} wide: those of {store.path} are {own.dim}")

    def assemble(self, fetched: Sequence[torch.Tensor | None], pixels: torch.Tensor | None) -> torch.Tensor:  # noqa: ARG002
        """See `LatentSource.assemble`."""
        return torch.stack([latents for latents in fetched if latents is not None])

    def read_one(self) -> torch.Tensor:
        """Reads the first latents that can be read, shape (tokens, dim).

        Raises:
            UserError: there are none.
        """
        refusal: VideoError | None = None
        for path in sorted(self.folder.rglob("*.pt")):
            try:
                return self.fetch(path.relative_to(self.folder).with_suffix("").as_posix())
            except VideoError as error:
                refusal = refusal or error
        raise refusal or UserError(
            f"{self.folder}: holds no .pt file; --latents-from takes a folder with an ID.pt for each clip"
        )

    def fetch(self, clip_id: str) -> torch.Tensor:
        """Reads the latents of one clip in float32, shape (tokens, dim).

        Raises:
            VideoError: no such file, no tensor in it, another shape, or values that are not finite.
        """
        path = self.folder / f"{clip_id}.pt"
        try:
            latents = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError as error:
            raise VideoError(f"{path}: there are no latents of this clip") from error
        except Exception as error:  # a damaged file raises anything
            raise VideoError(f"{path}: is not a file of one tensor, or is cut off") from error
        tokens, width = self._view.tokens, self.dim or "width"
        dense = isinstance(latents, torch.Tensor) and latents.layout == torch.strided and latents.device.type == "cpu"
        if not dense or not latents.is_floating_point():
            raise VideoError(f"{path}: holds no tensor of floats; must be one of shape ({tokens}, {width})")
        if latents.ndim != 2 or latents.shape[0] != tokens or (self.dim and latents.shape[1] != self.dim):
            raise VideoError(f"{path}: has the shape {tuple(latents.shape)}; must be ({tokens}, {width})")
        values: torch.Tensor = latents.detach().float()
        if not bool(torch.isfinite(values).all()):
            raise VideoError(f"{path}: holds values that are not finite")
        return values


def _read_metadata(path: Path, view: View) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not readable JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise UserError(f'{path}: must be an object, such as {{"num_frames": 16}}')
    for field, names in _STATED.items():
        for name in names:
            if name in metadata and metadata[name] not in (view.geometry[field], [view.geometry[field]] * 2):
                raise UserError(
                    f"{path}: {name} = {metadata[name]!r}: the store's view has {field} = {view.geometry[field]}; "
                    "latents and pixels of different views must not meet"
                )
    return cast(dict[str, Any], metadata)


def check_latents(
    folder: LatentFolder, plan: Plan, teacher: FrozenTeacher, count: int, decoders: Decoders
) -> tuple[float, int]:
    """Computes some latents again, to see whether those of the folder are of the stated view and teacher.

    Args:
        folder: the latents to be imported.
        plan: the store that imports them.
        teacher: the teacher that they are said to be of.
        count: clips to compute again, drawn by their names.
        decoders: processes that decode.

    Returns:
        The largest relative error of a clip (the root mean square of the difference over that of the latents about
        their mean), and how many clips were compared: fewer than `count` where some do not decode or lack latents.

    Raises:
        StoreError: a clip's latents are further off than `ALLOWED_ERROR`, or none could be compared.
    """
    clips = sorted(plan.source.clips, key=lambda clip: clip_key(clip.id))[:count]
    worst, compared = 0.0, 0
    reason = ""
    decoded = decode_all((Job(clip.path) for clip in clips), plan.view, decoders)
    for clip, result in zip(clips, decoded, strict=True):
        try:
            pixels, stated = or_raise(result).pixels, folder.fetch(clip.id)
        except VideoError as error:
            reason = f": {error}"
            continue
        computed = teacher.latents(torch.from_numpy(np.stack(pixels)))[0].cpu()
        if computed.shape != stated.shape:
            raise StoreError(f"{folder.folder}: latents are {folder.dim} wide, those of {teacher.name} {teacher.dim}")
        spread = (computed - computed.mean(dim=0)).square().mean().sqrt()
        error_of_clip = ((stated - computed).square().mean().sqrt() / spread).item()
        if not error_of_clip <= ALLOWED_ERROR:  # nor is nan
            raise StoreError(
                f"{folder.folder}: {clip.id}.pt differs by {error_of_clip:.0%} from what {teacher.name} makes of the "
                f"view stated (allowed: {ALLOWED_ERROR:.0%}): other frames, another crop or another teacher"
            )
        worst, compared = max(worst, error_of_clip), compared + 1
    if not compared:
        raise StoreError(f"{folder.folder}: no latents could be compared{reason}")
    return worst, compared
