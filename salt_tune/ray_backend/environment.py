"""What Ray is told by its environment, which it reads as it is imported."""

import os

from salt_tune.ray_backend.temporary_folder import keep_out_of_home

RAY_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean the same in a trial as on the command line
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of trials that were stopped as they failed: told by us
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # probe_top1 comes at whole epochs only
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # the search remembers by its journal
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they come from `ray_loggers`
}


def set_ray_environment() -> None:
    """Sets what is not set yet; to be called before Ray is imported."""
    os.environ.update({name: value for name, value in RAY_ENVIRONMENT.items() if name not in os.environ})
    keep_out_of_home()
