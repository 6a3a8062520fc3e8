"""What stands beside the panel of a run's trials: its baselines, by the architecture of the student."""

import json
from collections.abc import Mapping
from typing import Any

from analysis.errors import RunError
from analysis.run_directory.paths import RunDirectory


def read_panel_baselines(run: RunDirectory) -> list[dict[str, Any]]:
    """Reads the baselines that the trials of a run were judged beside.

    Args:
        run: its directory.

    Returns:
        Of each architecture a mapping of `architecture`, its hyperparameters, and `baselines`, the fields of reports
        of "chance", "untrained", "pixels" and "teacher"; none where nothing was probed.

    Raises:
        RunError: a file is damaged.
    """
    found = []
    for path in sorted(run.baselines.glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            found.append({name: dict(content[name]) for name in ("architecture", "baselines")})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path}: is damaged ({error!r}); delete it; a resumed search measures it again") from error
    return found


def baselines_beside(summary: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, dict[str, float | None]]:
    """Returns the panel of each baseline of a configuration's architecture, by name; {}: not measured.

    Args:
        summary: of the run.
        config: hyperparameters of one of its trials.
    """
    for each in summary["panel_baselines"]:
        if all(config.get(name) == value for name, value in each["architecture"].items()):
            return dict(each["baselines"])
    return {}
