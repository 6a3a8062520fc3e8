"""What Ray is told by its environment, which it reads as it is imported."""

import os

from salt_tune.ray_backend.temporary_folder import give_home, keep_out_of_home

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # its news of workers that died: told by us
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of trials that were stopped as they failed: told by us
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def set_ray_environment() -> None:
    """Sets what is not set yet; to be called before Ray is imported."""
    _set_defaults()
    keep_out_of_home()


def set_cluster_environment() -> None:
    """Sets what is not set yet for a Ray that others have started; to be called before `set_ray_environment`.

    Its token is the cluster's, not one of this process's.
    """
    _set_defaults()
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    give_home()


def _set_defaults() -> None:
    os.environ.update({name: value for name, value in RAY_ENVIRONMENT.items() if name not in os.environ})
