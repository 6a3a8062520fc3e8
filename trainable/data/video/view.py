"""The view: which frames of a video are taken, how they are cropped and mirrored, and how they are cut into tokens.

Pixels and latents belong together only when both were made from the same view. The store therefore keeps
a hash of it (`View.hash`), and everything that joins the two compares hashes.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from trainable.errors import ConfigError

FRAME_RULE = "uniform-segment-centres"
CROP_RULE = "short-side-pillow-bilinear, centre-crop; further views: one box for all frames, 0.3-1 of the area"

Flips = Literal["undirected", "all", "none"]


GEOMETRY = ("frames", "size", "patch", "tubelet")


@dataclass(frozen=True)
class View:
    """Geometry of a clip.

    Attributes:
        frames: frames taken of a video (16: V-JEPA, VideoMAEv2).
        size: height and width of a frame in pixels, after resizing the short side and a centre crop (224).
        patch: height and width of a patch in pixels (16).
        tubelet: frames in a token (2).
        views: views stored of a training clip (1); the first is the centre crop, the only one of a held-out clip.
        flips: which further views may be mirrored: those of clips whose label names no direction ("undirected"), "all",
            or "none"; "none" where there is one view.

    Raises:
        ConfigError: a field is not a positive whole number, or the fields do not divide each other.
    """

    frames: int = 16
    size: int = 224
    patch: int = 16
    tubelet: int = 2
    views: int = 1
    flips: Flips = "undirected"

    def __post_init__(self) -> None:
        for name in (*GEOMETRY, "views"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(name, value, "must be a whole number of at least 1")
        if self.frames % self.tubelet:
            raise ConfigError("frames", self.frames, f"must be a multiple of tubelet = {self.tubelet}")
        if self.size % self.patch:
            raise ConfigError("size", self.size, f"must be a multiple of patch = {self.patch}")
        if self.size // self.patch < 2:
            raise ConfigError("size", self.size, f"must be at least two patches wide (patch = {self.patch})")
        if self.flips not in get_args(Flips):
            raise ConfigError("flips", self.flips, f"must be one of {', '.join(get_args(Flips))}")
        if self.views == 1:  # nothing is mirrored then: views that are the same have the same hash
            object.__setattr__(self, "flips", "none")

    @classmethod
    def from_description(cls, description: dict[str, Any]) -> "View":
        """Rebuilds the view that `describe()` gave.

        Raises:
            ConfigError, KeyError, TypeError: it did not.
        """
        return cls(**{name: description[name] for name in (*GEOMETRY, "views", "flips")})

    @property
    def geometry(self) -> dict[str, int]:
        """What a student or a teacher must agree with: `frames`, `size`, `patch` and `tubelet`."""
        return {name: getattr(self, name) for name in GEOMETRY}

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, rows and columns."""
        side = self.size // self.patch
        return self.frames // self.tubelet, side, side

    @property
    def tokens(self) -> int:
        """Tokens of a clip: the product of the grid."""
        slots, rows, columns = self.grid
        return slots * rows * columns

    @property
    def token_values(self) -> int:
        """uint8 values of a token: tubelet * patch * patch * 3 channels."""
        return self.tubelet * self.patch * self.patch * 3

    def masked_per_slot(self, mask_ratio: float) -> int:
        """Counts the masked tokens of each time slot: the ratio of the slot's tokens, rounded."""
        _, rows, columns = self.grid
        return round(mask_ratio * rows * columns)

    def check_mask_ratio(self, mask_ratio: float) -> None:
        """Checks that such a mask leaves something to see and something to predict.

        Raises:
            ConfigError: it hides all tokens or none.
        """
        _, rows, columns = self.grid
        if not 0 < mask_ratio < 1:
            raise ConfigError("mask_ratio", mask_ratio, "must be between 0 and 1")
        if not 0 < self.masked_per_slot(mask_ratio) < rows * columns:
            lowest, highest = 0.5 / (rows * columns), 1 - 0.5 / (rows * columns)
            raise ConfigError(
                "mask_ratio",
                mask_ratio,
                f"must lie between {lowest:.3f} and {highest:.3f} on {rows} x {columns} patches",
            )

    def describe(self) -> dict[str, Any]:
        """Returns everything that decides which pixels a clip has, as it stands in the store's manifest."""
        return {**asdict(self), "frame_rule": FRAME_RULE, "crop_rule": CROP_RULE}

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `describe()`, as 64 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def frame_indices(self, length: int) -> npt.NDArray[np.int64]:
        """Chooses the frames taken of a video of `length` frames.

        The video is cut into `frames` segments of equal length and the frame in the middle of each is
        taken. A video shorter than `frames` repeats frames by the same rule, so time still runs forward
        and no frame is left out.

        Returns:
            Increasing indices, shape (frames,).
        """
        centres = (np.arange(self.frames) + 0.5) * length / self.frames
        return np.minimum(centres.astype(np.int64), length - 1)

    def to_tokens(self, clip: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Cuts frames (frames, size, size, 3) into tokens (tokens, token_values).

        Tokens are ordered time, row, column; the values of a token time, row, column, channel.
        """
        slots, rows, columns = self.grid
        cut = clip.reshape(slots, self.tubelet, rows, self.patch, columns, self.patch, 3)
        return np.ascontiguousarray(cut.transpose(0, 2, 4, 1, 3, 5, 6)).reshape(self.tokens, self.token_values)

    def to_frames(self, tokens: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Inverts `to_tokens`: (tokens, token_values) to (frames, size, size, 3)."""
        slots, rows, columns = self.grid
        cut = tokens.reshape(slots, rows, columns, self.tubelet, self.patch, self.patch, 3)
        return np.ascontiguousarray(cut.transpose(0, 3, 1, 4, 2, 5, 6)).reshape(self.frames, self.size, self.size, 3)
