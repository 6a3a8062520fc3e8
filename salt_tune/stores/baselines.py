"""What predictors that learned nothing lose on a store."""

from salt_tune.ui.console import console
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.baselines import Baselines, baseline_losses
from trainable.evaluate.config import EvaluationConfig


def measure_baselines(store: ClipStore, evaluation: EvaluationConfig) -> Baselines:
    """Measures the baselines on the clips and under the masks that models will be judged on; says so meanwhile."""
    with console.status(f"reading {min(len(store.val), evaluation.clips):,} held-out clips"):
        return baseline_losses(store, evaluation)
