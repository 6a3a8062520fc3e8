"""What tests of masks share: clips, and masks as marks on the grid."""

import numpy as np
import numpy.typing as npt

from trainable.data.video.view import View
from trainable.hashing import clip_key
from trainable.masking.masks import Masks

VIDEO = View(frames=4, size=224, patch=16)  # 2 x 14 x 14 tokens

Keys = npt.NDArray[np.uint64]
Patches = npt.NDArray[np.bool_]


def keys(count: int, prefix: str = "clip") -> Keys:
    """Keys of clips with these names and numbers."""
    return np.array([clip_key(f"{prefix}{number}") for number in range(count)], dtype=np.uint64)


def hidden(masks: Masks, epoch: int, clips: Keys) -> Patches:
    """Which tokens are masked, shape (clips * masks, slots, rows, columns); the masks of a clip lie side by side."""
    masked = masks.draw(epoch, clips).masked.reshape(-1, masks.masked_tokens)
    marks = np.zeros((len(masked), masks.view.tokens), dtype=np.bool_)
    np.put_along_axis(marks, masked, True, axis=1)
    return marks.reshape(-1, *masks.view.grid)
