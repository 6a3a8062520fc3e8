"""What trials are judged on: held-out clips and masks, and the clips whose frozen features are probed.

Needs no torch: the search's driver reads it from a space, the trials' processes judge by it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_type_hints

from trainable.config import TrialConfig
from trainable.errors import ConfigError
from trainable.fields import as_type, check_names

LEAST = {"clips": 2, "panel_clips": 4, "folds": 2, "repeats": 1, "attentive_steps": 1}


@dataclass(frozen=True)
class EvaluationConfig:
    """What every trial of a search is judged on.

    Attributes:
        clips: held-out clips at most; the same draw for every trial.
        mask_ratio: share of the tokens to predict (0.75: seed).
        masking: strategy of the masks ("multiblock": seed).
        seed: seed of the masks, of the draws of clips and of the folds.
        panel_clips: clips at most whose features are probed: training and held-out ones, half and half where there are
            enough.
        folds: parts of these clips; each is answered by probes that were fitted to the others.
        repeats: how often they are parted anew (Bouckaert and Frank, 2004, take ten, at twice the cost).
        batch_size: clips a forward pass.
        attentive_steps: optimiser steps of an attentive probe at least, where 20 epochs of its clips are fewer.
            `python -m benchmarks.attentive --steps` says what it comes to after more or fewer.

    Raises:
        ConfigError: a field is of the wrong kind, or out of range.
    """

    clips: int = 2048
    mask_ratio: float = 0.75
    masking: str = "multiblock"
    seed: int = 0
    panel_clips: int = 1024
    folds: int = 5
    repeats: int = 5
    batch_size: int = 64
    attentive_steps: int = 300

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(EvaluationConfig).items():
            object.__setattr__(self, name, as_type(name, getattr(self, name), hint))
        TrialConfig(mask_ratio=self.mask_ratio, masking=self.masking, seed=self.seed, batch_size=self.batch_size)
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(name, getattr(self, name), f"must be at least {least}")

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EvaluationConfig":
        """Returns the configuration with `values`, and defaults for the rest.

        Raises:
            ConfigError: an unknown field, or one that does not fit.
        """
        check_names(values, (field.name for field in fields(cls)), "unknown entry")
        return cls(**values)
