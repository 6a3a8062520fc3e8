"""What a search can choose by name: schedulers, searchers and callbacks, ours and those of other packages."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trainable.registry import Registry, nearest

if TYPE_CHECKING:
    from salt_tune.callbacks.base import Callback
    from salt_tune.schedulers.base import Scheduler
    from salt_tune.searchers.base import Searcher

SCHEDULERS: "Registry[type[Scheduler]]" = Registry(
    "scheduler",
    {
        "freeze_thaw": "salt_tune.schedulers.freeze_thaw:FreezeThaw",
        "asha": "salt_tune.schedulers.asha:Asha",
        "asha_stop": "salt_tune.ray_backend.native_schedulers:AshaStop",
        "median": "salt_tune.ray_backend.native_schedulers:MedianStop",
        "hyperband": "salt_tune.ray_backend.native_schedulers:HyperBand",
        "none": "salt_tune.schedulers.full_length:FullLength",
    },
    group="salt_tune.schedulers",
)

SEARCHERS: "Registry[type[Searcher]]" = Registry(
    "searcher",
    {
        "random": "salt_tune.searchers.random:Random",
        "grid": "salt_tune.searchers.grid:Grid",
        "sobol": "salt_tune.searchers.sobol:Sobol",
        "tpe": "salt_tune.searchers.tpe:Tpe",
        "gp": "salt_tune.searchers.gp:Gp",
    },
    group="salt_tune.searchers",
)

# Each is made by `Class(run, space, **settings)`.
CALLBACKS: "Registry[Callable[..., Callback]]" = Registry(
    "callback",
    {
        "live_table": "salt_tune.callbacks.live_table:LiveTable",
        "json_lines": "salt_tune.callbacks.json_lines:JsonLines",
        "notify": "salt_tune.callbacks.notify:Notify",
        "mlflow_logger": "salt_tune.callbacks.mlflow_logger:MlflowLogger",
        "trackio_logger": "salt_tune.callbacks.trackio_logger:TrackioLogger",
        "tensorboard": "salt_tune.callbacks.tensorboard:TensorBoard",
        "optuna_study": "salt_tune.callbacks.optuna_study:OptunaStudy",
        "wandb_logger": "salt_tune.callbacks.wandb_logger:WandbLogger",
    },
    group="salt_tune.callbacks",
)


def name_in(registry: Registry[Any]) -> Callable[[Any], str]:
    """Makes a check for an entry of a space that names a thing of the registry.

    Returns:
        A function that gives a known name back, and raises ValueError with the nearest name for any other value.
    """

    def check(name: Any) -> str:
        if name not in registry:
            raise ValueError(nearest(str(name), tuple(registry)))
        return str(name)

    return check
