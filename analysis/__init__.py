"""From a run directory to tables, statistics and plots; pictures of a clip store. Imports neither Ray nor torch."""

from analysis.errors import RunError
from analysis.loading import Run, latest_run, load
from analysis.statistics import paired_difference

__all__ = ["Run", "RunError", "latest_run", "load", "paired_difference"]
