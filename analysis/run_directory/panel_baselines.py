"""What stands beside the panel of a run's trials: its baselines, by the architecture of the student."""

import json
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
