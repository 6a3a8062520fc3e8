"""What follows a search beside its study: trackers, notices, and what is printed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from salt_tune.callbacks.base import Mode
from salt_tune.callbacks.mlflow_logger import check_mlflow
from salt_tune.callbacks.trackio_logger import check_trackio
from salt_tune.callbacks.wandb_logger import check_wandb

Output = Literal["screen", "quiet", "json_lines"]


@dataclass(frozen=True)
class Following:
    """What was asked for; None: as before the search was resumed, or not at all.

    Attributes:
        wandb: whether to log to Weights & Biases.
        tensorboard: whether to write TensorBoard's event files.
        mlflow: whether to log to MLflow.
        trackio: whether to log to Trackio.
        notify: a shell command, see `salt_tune.callbacks.notify`; never taken from a run, which may be another's.
        output: what is printed: a screen or lines, warnings alone, or JSON lines; never remembered.
    """

    wandb: Mode | None = None
    tensorboard: bool | None = None
    mlflow: bool | None = None
    trackio: bool | None = None
    notify: str | None = None
    output: Output = "screen"

    def after(self, session: Mapping[str, Any]) -> "Following":
        """Returns the same with what is None as it was in an earlier session of run.json."""
        names = self.remembered().keys() - {"notify"}
        given: dict[str, Any] = {name: session.get(name) for name in names if getattr(self, name) is None}
        return replace(self, **given)

    def remembered(self) -> dict[str, Any]:
        """Returns what a resumed search goes on with, as `session` of run.json has it."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "output"}

    def check(self) -> None:
        """Makes sure that what is asked for can be.

        Raises:
            UserError: it cannot.
        """
        check_wandb(self.wandb or "off")
        if self.mlflow:
            check_mlflow()
        if self.trackio:
            check_trackio()

    def callbacks(self, limits: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Returns the names of the callbacks with their settings; what prints is the last, and the first to be told."""
        wanted: dict[str, dict[str, Any]] = {}
        if self.wandb and self.wandb != "off":
            wanted["wandb_logger"] = {"mode": self.wandb}
        if self.tensorboard:
            wanted["tensorboard"] = {}
        if self.mlflow:
            wanted["mlflow_logger"] = {}
        if self.trackio:
            wanted["trackio_logger"] = {}
        if self.notify:
            wanted["notify"] = {"command": self.notify}
        if self.output == "json_lines":
            wanted["json_lines"] = {}
        else:
            wanted["live_table"] = {"limits": dict(limits)}
        return wanted
