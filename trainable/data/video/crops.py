"""Where a clip is cut out of its frames: the centre, and fixed further views drawn from the clip's name."""

import math
import re
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainable.data.video.view import View
from trainable.hashing import clip_key, uniforms

# V-JEPA's random resized crop.
AREA: Final = (0.3, 1.0)
ASPECT: Final = (0.75, 1.35)

DRAW: Final = 2**33  # the "epoch" of view 0: beyond those of masks and of the choice of held-out clips

_DIRECTION: Final = re.compile(
    r"(?<![a-z])((left|right)(wards?)?|(counter-?|anti-?)?clockwise)(?![a-z])", re.IGNORECASE
)


class Cut(NamedTuple):
    """How frames are cut, whatever their size: every number lies in [0, 1].

    Attributes:
        area: share of the frame's area; None: the centre crop.
        aspect: where the ratio of width to height lies in `ASPECT`, on a logarithmic scale.
        left: where the box lies between the left edge (0) and the right.
        top: where the box lies between the upper edge (0) and the lower.
        flip: mirrored, left to right.
    """

    area: float | None = None
    aspect: float = 0.5
    left: float = 0.5
    top: float = 0.5
    flip: bool = False


CENTRE: Final = Cut()


def names_direction(label: str) -> bool:
    """Tells whether a label says left, right or (counter)clockwise, so that a mirrored clip would need another."""
    return _DIRECTION.search(label) is not None


def cuts_of(view: View, clip_id: str, label: str, split: Literal["train", "val"]) -> tuple[Cut, ...]:
    """Returns the views of a clip: the centre crop, then, of a training clip, those drawn from its name."""
    if split == "val":
        return (CENTRE,)
    key = np.array([clip_key(clip_id)], dtype=np.uint64)
    may_flip = view.flips == "all" or (view.flips == "undirected" and not names_direction(label))
    draws = (uniforms(0, DRAW + number, key, 5)[0].tolist() for number in range(1, view.views))
    drawn = (Cut(AREA[0] + a * (AREA[1] - AREA[0]), b, c, d, may_flip and e < 0.5) for a, b, c, d, e in draws)
    return (CENTRE, *drawn)


def cut_image(image: npt.NDArray[np.uint8], size: int, cut: Cut) -> npt.NDArray[np.uint8]:
    """Cuts a square of `size` pixels out of an image (height, width, 3)."""
    height, width = image.shape[:2]
    if cut.area is None:
        scale = size / min(height, width)
        height, width = max(size, round(height * scale)), max(size, round(width * scale))
        top, left = (height - size) // 2, (width - size) // 2
        resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(resized.crop((left, top, left + size, top + size)))
    low, high = map(math.log, ASPECT)
    aspect = math.exp(low + cut.aspect * (high - low))
    area = min(cut.area * height * width, width**2 / aspect, height**2 * aspect)  # the largest box of this shape
    box_width = max(1, min(width, round(math.sqrt(area * aspect))))
    box_height = max(1, min(height, round(math.sqrt(area / aspect))))
    left, top = round(cut.left * (width - box_width)), round(cut.top * (height - box_height))
    box = (left, top, left + box_width, top + box_height)
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if cut.flip else resized)
