"""Reads `summary.json`: the fields that tables are made of are there, or one line says which is not."""

import json
from typing import Any

from analysis.errors import RunError, is_number, require_fields
from analysis.run_directory.paths import FORMAT_VERSION, RunDirectory

SUMMARY_FIELDS = (
    "name",
    "baselines",
    "seed",
    "objective",
    "metrics",
    "parameters",
    "scales",
    "ranges",
    "resource",
    "full",
    "rungs",
    "trials",
    "best",
    "tied",
    "nothing_to_promote",
    "better_than_start",
    "rounds",
    "level",
    "finalists",
    "rung_correlations",
    "seed_noise",
    "pareto",
    "resource_trained",
    "resource_without_pruning",
    "training_seconds",
    "wall_seconds",
)
OBJECTIVE = ("metric", "mode", "weights", "against")
RESOURCES = ("epoch", "tflop", "second")
RUNG_CORRELATION = ("rung", "deepest", "trials", "spearman", "low", "high")


def read_summary(directory: RunDirectory) -> dict[str, Any]:
    """Reads the summary of a search that is over.

    Raises:
        RunError: it is of another format, broken, or lacks a field.
    """
    path = directory.summary
    try:
        summary = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunError(f"{path}: broken JSON, and must be the summary of a search: {error}") from error
    require_fields(str(path), summary, ["format_version"])
    if summary["format_version"] != FORMAT_VERSION:
        raise RunError(f"{path}: format_version is {summary['format_version']!r}, and must be {FORMAT_VERSION}")
    require_fields(str(path), summary, SUMMARY_FIELDS)
    require_fields(f"{path}, objective", summary["objective"], OBJECTIVE)
    if summary["resource"] not in RESOURCES:
        raise RunError(f"{path}: resource is {summary['resource']!r}, and must be one of {', '.join(RESOURCES)}")
    for number, entry in enumerate(summary["rung_correlations"]):
        require_fields(f"{path}, rung_correlations[{number}]", entry, RUNG_CORRELATION)
    require_fields(f"{path}, metrics", summary["metrics"], ())
    for name, metric in summary["metrics"].items():
        require_fields(f"{path}, metrics, {name}", metric, ["fields"])
    require_fields(f"{path}, baselines", summary["baselines"], ())
    for name, value in summary["baselines"].items():
        if not is_number(value, finite=True):
            raise RunError(f"{path}, baselines: {name} is {value!r}, and must be a finite number")
    return dict(summary)
