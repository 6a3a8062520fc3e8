"""What trials are judged on: held-out clips, masks, and what a model that learned nothing would get there.

Needs no torch: the search's driver computes the references, the trials' processes the objective (`evaluation.py`).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainable.config import Masking, TrialConfig
from trainable.data.store.index import Clips
from trainable.errors import ConfigError
from trainable.hashing import uniforms

DRAW = 2**32  # the "epoch" whose random numbers choose clips: one that no mask uses, or the choice would bias the masks


@dataclass(frozen=True)
class EvaluationConfig:
    """What every trial of a search is judged on.

    Attributes:
        clips: held-out clips at most; the same draw for every trial.
        mask_ratio: share of the tokens to predict (0.75: seed).
        masking: strategy of the masks ("multiblock": seed).
        seed: seed of the masks and of the draws of clips.
        probe_clips: training clips at most that the linear probe is fitted to.
        batch_size: clips a forward pass.

    Raises:
        ConfigError: a field is out of range.
    """

    clips: int = 2048
    mask_ratio: float = 0.75
    masking: Masking = "multiblock"
    seed: int = 0
    probe_clips: int = 2048
    batch_size: int = 64

    def __post_init__(self) -> None:
        TrialConfig(mask_ratio=self.mask_ratio, masking=self.masking, seed=self.seed, batch_size=self.batch_size)
        for name in ("clips", "probe_clips"):
            if getattr(self, name) < 2:
                raise ConfigError(name, getattr(self, name), "must be at least 2")

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return asdict(self)


def draw_clips(clips: Clips, most: int, seed: int, draw: int = DRAW) -> npt.NDArray[np.int64]:
    """Up to `most` clips drawn by the hash of their names, in the store's order; another `draw`, other clips."""
    order = uniforms(seed, draw, clips.keys, 1)[:, 0]
    return np.sort(np.argsort(order, kind="stable")[:most])
