"""From a run directory to tables, statistics and plots; pictures of a clip store. Imports neither Ray nor torch."""

from analysis.comparison import paired_bootstrap, pareto_front, rank_finalists, seed_noise
from analysis.correlation import rung_correlation
from analysis.errors import RunError
from analysis.loading import Run, latest_run, load

__all__ = [
    "Run",
    "RunError",
    "latest_run",
    "load",
    "paired_bootstrap",
    "pareto_front",
    "rank_finalists",
    "rung_correlation",
    "seed_noise",
]
