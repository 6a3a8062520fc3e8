"""`random`: single tokens chosen at random in space and time."""

from trainable.data.video.view import View
from trainable.hashing import Floats
from trainable.masking.masks import Draws, Masking


def order(view: View, draws: Draws) -> Floats:
    """Returns the order in which the tokens of a clip are hidden: shape (clips, tokens)."""
    return draws(view.tokens)


RANDOM = Masking((order,))
