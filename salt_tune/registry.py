"""What a search can choose by name, and where it stands: "module:Class", loaded when it is first used."""

from collections.abc import Mapping

CALLBACKS: Mapping[str, str] = {
    "live_table": "salt_tune.callbacks.live_table:LiveTable",
    "optuna_study": "salt_tune.callbacks.optuna_study:OptunaStudy",
    "wandb_logger": "salt_tune.callbacks.wandb_logger:WandbLogger",
}
