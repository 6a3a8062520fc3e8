"""What predictors that learned nothing lose on a store."""

from salt_tune.ui.console import console
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.baselines import References, reference_losses
from trainable.evaluate.config import EvaluationConfig


def measure_baselines(store: ClipStore, evaluation: EvaluationConfig) -> References:
    """Measures the baselines on the clips and under the masks that models will be judged on; says so meanwhile."""
    with console.status(f"reading {min(len(store.val), evaluation.clips):,} held-out clips"):
        return reference_losses(store, evaluation)
