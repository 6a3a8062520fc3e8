"""From a run directory to tables, statistics and plots; pictures of a clip store. Imports neither Ray nor torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.errors import RunError
    from analysis.statistics.bootstrap import paired_bootstrap
    from analysis.statistics.comparison import Sample, compare, rank_finalists
    from analysis.statistics.pareto import pareto_front
    from analysis.statistics.rung_correlation import rung_correlation
    from analysis.statistics.seed_noise import noise_of_similar, seed_noise
    from analysis.tables.run import Run, latest_run, load

__all__ = [
    "Run",
    "RunError",
    "Sample",
    "compare",
    "latest_run",
    "load",
    "noise_of_similar",
    "paired_bootstrap",
    "pareto_front",
    "rank_finalists",
    "rung_correlation",
    "seed_noise",
]

_PLACES = {
    "paired_bootstrap": "statistics.bootstrap",
    **dict.fromkeys(("Sample", "compare", "rank_finalists"), "statistics.comparison"),
    "pareto_front": "statistics.pareto",
    "rung_correlation": "statistics.rung_correlation",
    **dict.fromkeys(("noise_of_similar", "seed_noise"), "statistics.seed_noise"),
    "RunError": "errors",
    **dict.fromkeys(("Run", "latest_run", "load"), "tables.run"),
}


def __getattr__(name: str) -> Any:
    """Loads what needs pandas only when it is asked for: every command shows text, and few draw."""
    if name in _PLACES:
        return getattr(import_module(f"analysis.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
