"""Which clips stand for a split: a draw by the hash of their names, the same for every trial and on every machine."""

import numpy as np
import numpy.typing as npt

from trainable.data.store.index import Clips
from trainable.hashing import uniforms

DRAW = 2**32  # the "epoch" whose random numbers choose clips: one that no mask uses, or the choice would bias the masks


def draw_clips(clips: Clips, most: int, seed: int, draw: int = DRAW) -> npt.NDArray[np.int64]:
    """Draws up to `most` clips by the hash of their names, in the store's order; another `draw`, other clips."""
    order = uniforms(seed, draw, clips.keys, 1)[:, 0]
    return np.sort(np.argsort(order, kind="stable")[:most])
