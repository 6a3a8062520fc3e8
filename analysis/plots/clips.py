"""What a clip store shows of itself: clips as a student sees them, and how the latents are spread. Arrays alone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]

HIDDEN = 0.82  # of white: the grey of a masked patch
STRIPE = 0.68  # of white: its hatching
TALL = 168  # pixels that a small frame is enlarged to, at least
GAP = 4  # white pixels between frames


@dataclass(frozen=True)
class ShownClip:
    """Some frames of a stored view of a clip.

    Attributes:
        caption: what it is.
        frames: uint8, shape (frames, size, size, 3).
        hidden: patches that a mask hides in each frame, shape (frames, rows, columns); None: no mask is shown.
    """

    caption: str
    frames: Images
    hidden: npt.NDArray[np.bool_] | None = None


def as_picture(clip: ShownClip) -> Images:
    """Returns the frames side by side and, below them, the same frames behind the mask: shape (height, width, 3)."""
    size = clip.frames.shape[1]
    factor = -(-TALL // size)
    large = clip.frames.repeat(factor, axis=1).repeat(factor, axis=2)
    rows = [large]
    if clip.hidden is not None:
        patch = large.shape[1] // clip.hidden.shape[1]
        behind = clip.hidden.repeat(patch, axis=1).repeat(patch, axis=2)
        rows.append(np.where(behind[..., None], _hatching(large.shape[1])[..., None], large))
    strips = [np.concatenate([np.pad(frame, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for frame in row], 1)
              for row in rows]  # fmt: skip
    return np.concatenate(strips)[:-GAP, :-GAP]


def _hatching(side: int) -> Images:
    """Draws diagonal stripes on grey, shape (side, side)."""
    along = np.add.outer(np.arange(side), np.arange(side))
    return (255 * np.where(along % 12 < 2, STRIPE, HIDDEN)).astype(np.uint8)


def spectrum(tokens: Floats) -> Floats:
    """Returns the share of the variance that each principal direction holds, falling; zeros where there is none.

    Args:
        tokens: latents, shape (tokens, width).
    """
    centred = tokens - tokens.mean(axis=0)
    values = np.maximum(np.linalg.eigvalsh(centred.T @ centred)[::-1], 0)
    shares: Floats = values / (values.sum() or 1.0)
    return shares


def holding(variances: Floats, share: float) -> int:
    """Returns how many of the largest variances it takes to hold `share` of their sum; 0 where all are zero."""
    total = variances.sum()
    if not total:
        return 0
    held = np.cumsum(np.sort(variances)[::-1]) / total
    return min(int(np.searchsorted(held, share - 1e-12)) + 1, len(variances))
