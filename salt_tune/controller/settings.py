"""How a search is run, beside its space."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """How a search is run, beside its space; run.json keeps it.

    Attributes:
        seed: of weights, masks, data order and suggestions.
        vary_seeds: each trial trains with a seed of its own instead of the common one.
        replicates: further seeds that the finalists are trained with before a winner is named.
        oom_retries: how often a trial that ran out of memory is tried again.
        keep_checkpoints: paused trials that may keep a checkpoint, with freeze_thaw; None: all.
    """

    seed: int = 0
    vary_seeds: bool = False
    replicates: int = 0
    oom_retries: int = 0
    keep_checkpoints: int | None = None
