"""`tube`: single patches chosen at random, over the full length in time (VideoMAE)."""

from trainable.data.video.view import View
from trainable.hashing import Floats
from trainable.masking.masks import Draws, Masking


def order(view: View, draws: Draws) -> Floats:
    """Returns the order in which the patches of a frame are hidden: shape (clips, rows * columns)."""
    _, rows, columns = view.grid
    return draws(rows * columns)


TUBE = Masking((order,))
