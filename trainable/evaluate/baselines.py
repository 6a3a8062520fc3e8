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
        "training_mean": lambda _latents, _masked, _nearest: mean,
        "position_mean": lambda _latents, masked, _nearest: position_mean[masked],
        "nearest_visible": lambda latents, _masked, nearest: latents[nearest],
    }
    chosen = draw_clips(store.val, config.clips, config.seed)
    sums = dict.fromkeys(guesses, 0.0)
    for clip, (masked, nearest) in zip(chosen, _masked_tokens(masks, store.val.keys[chosen]), strict=True):
        latents = store.latents(store.val, int(clip))
        targets = latents[masked]
        for name, guess in guesses.items():
            sums[name] += _mean_square(targets - guess(latents, masked, nearest))
    return Baselines(**{name: total / len(chosen) for name, total in sums.items()})


def _masked_tokens(masks: Masks, keys: UInts) -> Iterator[tuple[Indices, Indices]]:
    """Returns each clip's masked tokens, and the visible token nearest to each: both of shape (masked tokens,)."""
    for start in range(0, len(keys), CLIPS_AT_ONCE):
        visible, masked = masks.draw(0, keys[start : start + CLIPS_AT_ONCE])
        nearest = np.take_along_axis(nearest_visible(visible, masks.view.grid), masked, axis=1)
        yield from zip(masked, nearest, strict=True)


def nearest_visible(visible: Indices, grid: tuple[int, int, int]) -> Indices:
    """Finds the nearest visible token of each token, by Euclidean distance in the grid; of several, the smallest index.

    Exact and separable: squared distances are sums over the axes, so the minimum is taken along one axis after the
    other. The distance in the upper digits and the index in the lower make one number, so that ties settle themselves.

    Args:
        visible: token indices, shape (clips, visible tokens), at least one of each clip.
        grid: tokens along time, rows and columns.

    Returns:
        Token indices, shape (clips, tokens); a visible token is nearest to itself.
    """
    tokens = int(np.prod(grid))
    unreachable = (sum(length**2 for length in grid) + 1) * tokens
    reachable = np.full((len(visible), tokens), unreachable, dtype=np.int64)
    np.put_along_axis(reachable, visible, visible, axis=1)
    numbers: Indices = reachable.reshape(-1, *grid)
    for axis, length in enumerate(grid, start=1):
        steps = np.arange(length)
        apart = np.square(steps[:, None] - steps) * tokens  # from each place along the axis to each
        reached = np.moveaxis(numbers, axis, -1)[..., None, :] + apart
        numbers = np.moveaxis(reached.min(axis=-1), -1, axis)
    nearest: Indices = numbers.reshape(-1, tokens) % tokens
    return nearest


def _mean_square(errors: Latents) -> float:
    """Returns the mean of the squares of (tokens, width): summed in float32 within a token, in float64 over tokens."""
    return float(np.einsum("td,td->t", errors, errors).sum(dtype=np.float64) / errors.size)
