"""What a metric is worth: what predictors and encoders get that learned nothing."""

from analysis.run_directory.panel_baselines import baselines_beside
from analysis.tables.run import Run
from analysis.verdict import BESIDE

BASELINE_LABELS = {
    "training_mean": "training mean",
    "position_mean": "mean per position",
    "nearest_visible": "nearest visible token",
}


def baselines_of(run: Run, metric: str) -> dict[str, float]:
    """Returns `metric` of each baseline that has it, by its label, highest first.

    Losses are those of predictors that learned nothing. Metrics of the panel are those of untrained encoders, raw
    pixels, the teacher's latents and chance, of the winner's architecture.
    """
    losses, mean = run.baselines, run.baselines.get("training_mean")
    if metric == "val_r2" and mean:
        found = {BASELINE_LABELS.get(name, name): 1 - loss / mean for name, loss in losses.items()}
    elif metric == "val_loss":
        found = {BASELINE_LABELS.get(name, name): loss for name, loss in losses.items()}
    else:
        panel = {name: fields.get(metric) for name, fields in _panel(run).items()}
        found = {BESIDE[name]: value for name, value in panel.items() if value is not None}
    return {name: found[name] for name in sorted(found, key=found.__getitem__, reverse=True)}


def _panel(run: Run) -> dict[str, dict[str, float | None]]:
    """Returns the panel of each baseline, of the winner's architecture, or of the first trial's without a winner."""
    configs = {trial["id"]: trial["config"] for trial in run.summary["trials"]}
    config = configs.get(run.best, next(iter(configs.values()), {}))
    return baselines_beside(run.summary, config)
