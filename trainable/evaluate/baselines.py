"""What a loss is worth: the errors, on the very tokens that trials are judged on, of predictors that learned nothing.

Needs no torch: the search's driver computes them before the first trial.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.draw import draw_clips
from trainable.evaluate.config import EvaluationConfig
from trainable.hashing import UInts
from trainable.masking.masks import Indices, Masks
from trainable.masking.nearest import nearest

BASELINE_NAMES: Final = {
    "training_mean": "training mean",
    "position_mean": "mean per position",
    "nearest_visible": "nearest visible token",
}

CLIPS_AT_ONCE: Final = 32  # whose masks are drawn at once: about 10 MB of distances at 16 x 224 x 224

Latents = npt.NDArray[np.float32]
Guess = Callable[[Latents, Indices, Indices], Latents]


@dataclass(frozen=True)
class Baselines:
    """Mean squared errors over all judged clips, masked tokens and dimensions, in the units of `val_loss`.

    Attributes:
        training_mean: of the mean of all training latents at every token: what `val_r2` is measured against.
        position_mean: of the mean of the training latents at the token's position in the grid.
        nearest_visible: of the latent, which no student is given, of the visible token that is nearest in the grid of
            (time slot, row, column). A token is one unit long in each; of several as near, that of the smallest
            index.
    """

    training_mean: float
    position_mean: float
    nearest_visible: float

    @property
    def best(self) -> str:
        """The field with the smallest error."""
        errors = self.to_dict()
        return min(errors, key=errors.__getitem__)

    def to_dict(self) -> dict[str, float]:
        """Returns all fields as plain JSON values."""
        return asdict(self)


def baseline_losses(store: ClipStore, config: EvaluationConfig) -> Baselines:
    """Computes the baselines on exactly the clips and masked tokens of `config`, whatever trials train with.

    Reads the latents of those clips once, one clip at a time.

    Raises:
        ConfigError: the masks do not fit the store's view.
        StoreError: the store has no latents, or some differ from their checksums.
    """
    masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
    mean, position_mean = store.teacher.mean.astype(np.float32), store.position_mean
    guesses: dict[str, Guess] = {
        "training_mean": lambda _latents, _masked, _near: mean,
        "position_mean": lambda _latents, masked, _near: position_mean[masked],
        "nearest_visible": lambda latents, _masked, near: latents[near],
    }
    chosen = draw_clips(store.val, config.clips, config.seed)
    sums = dict.fromkeys(guesses, 0.0)
    for clip, (masked, near) in zip(chosen, _masked_tokens(masks, store.val.keys[chosen]), strict=True):
        latents = store.latents(store.val, int(clip))
        targets = latents[masked]
        for name, guess in guesses.items():
            sums[name] += _mean_square(targets - guess(latents, masked, near))
    return Baselines(**{name: total / len(chosen) for name, total in sums.items()})


def _masked_tokens(masks: Masks, keys: UInts) -> Iterator[tuple[Indices, Indices]]:
    """Returns each clip's masked tokens under all its masks, and the visible token nearest to each: both (tokens,)."""
    for start in range(0, len(keys), CLIPS_AT_ONCE):
        visible, masked = masks.draw(0, keys[start : start + CLIPS_AT_ONCE])
        near = nearest(visible.reshape(-1, masks.visible_tokens), masks.view.grid).reshape(*masked.shape[:2], -1)
        yield from zip(_under_all(masked), _under_all(np.take_along_axis(near, masked, axis=2)), strict=True)


def _under_all(tokens: Indices) -> Indices:
    """Joins the tokens (clips, masks, n) of all masks of a clip: shape (clips, masks * n)."""
    return tokens.reshape(len(tokens), -1)


def _mean_square(errors: Latents) -> float:
    """Returns the mean of the squares of (tokens, width): summed in float32 within a token, in float64 over tokens."""
    return float(np.einsum("td,td->t", errors, errors).sum(dtype=np.float64) / errors.size)
