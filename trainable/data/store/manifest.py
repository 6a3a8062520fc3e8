"""The manifest of a clip store: what it holds, and of which view."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.data.video.view import View
from trainable.errors import ConfigError, StoreError

FORMAT_VERSION = 3
IMPORTED = "adopted"  # names an unknown teacher in every store whose latents came from a folder
RANDOM_ACCESS_VERSION = 2  # whose frames were read by random access, and are not always the video's own


@dataclass(frozen=True)
class TeacherRecord:
    """The teacher of a store's latents.

    Attributes:
        name: kind of teacher ("pixel", "hog", "videomaev2_base"...).
        sha256: hash of its weights file; of its name and parameters, where it has no weights; of the latents'
            checksums, where they were imported.
        dim: width of its latents.
        target_norm: "layer_norm" (without parameters, in float32, before float16 or int8: V-JEPA) or "none".
        mean: mean of the training latents per dimension, shape (dim,).
        variance: their variance per dimension, shape (dim,).
    """

    name: str
    sha256: str
    dim: int
    target_norm: str
    mean: npt.NDArray[np.float64]
    variance: npt.NDArray[np.float64]

    @property
    def imported(self) -> bool:
        """Whether the latents came from a folder, so that nothing can compute them again."""
        return self.name == IMPORTED


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads the content of manifest.json in the folder `path`.

    Raises:
        StoreError: no store there, or of another format version.
    """
    file = path / "manifest.json"
    if not path.is_dir():
        raise StoreError(f"{path}: no such clip store; make one with `python -m salt_tune.prepare`")
    if not file.is_file():
        raise StoreError(
            f"{path}: not a finished clip store (no manifest.json); make one with `python -m salt_tune.prepare`"
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{file}: not a clip store's manifest ({error}); prepare the store again") from error
    if version not in (FORMAT_VERSION, RANDOM_ACCESS_VERSION):
        raise StoreError(
            f"{file}: format_version = {version!r}: this version reads {FORMAT_VERSION}; prepare the store again"
        )
    halves = {"pixels", "latents", "teacher"}
    fields = {"view", "view_hash", "videos", "labels", "index", "position_mean", "shards", "skipped"} | halves
    fields |= {"reading"} if version == FORMAT_VERSION else set()
    if missing := fields - manifest.keys():
        raise StoreError(f"{file}: {sorted(missing)[0]} is missing; prepare the store again")
    return dict(manifest)


def read_view(path: Path, manifest: dict[str, Any]) -> View:
    """Reads the view of the store in folder `path`, once it is certain that both halves are of it.

    Raises:
        StoreError: they are not.
    """
    file, stated = path / "manifest.json", manifest["view"]
    try:
        view = View.from_description(stated)
    except (ConfigError, KeyError, TypeError) as error:
        raise StoreError(f"{file}: view: {error}; prepare the store again") from error
    if view.hash != manifest["view_hash"] or view.describe() != stated:
        raise StoreError(
            f"{file}: view_hash = {manifest['view_hash']!r}: the view stated hashes to {view.hash!r}; "
            "pixels and latents of different views must not meet"
        )
    for half in ("pixels", "latents"):
        if manifest[half] is not None and manifest[half]["view_hash"] != view.hash:
            raise StoreError(
                f"{file}: {half}.view_hash = {manifest[half]['view_hash']!r}: the store's is {view.hash!r}; "
                "pixels and latents of different views must not meet"
            )
    return view
