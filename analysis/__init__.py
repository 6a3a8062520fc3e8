"""From a run directory to tables, statistics and plots; pictures of a clip store. Imports neither Ray nor torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.errors import RunError
    from analysis.statistics.bootstrap import paired_bootstrap
    from analysis.statistics.comparison import Sample, rank_finalists
    from analysis.statistics.pareto import pareto_front
    from analysis.statistics.rung_correlation import rung_correlation
    from analysis.statistics.seed_noise import noise_of_similar, seed_noise
    from analysis.tables.compare import compare
    from analysis.tables.cost import cost, timeline
    from analysis.tables.importance import importance
    from analysis.tables.ranking import pareto, rank_stability, ranking
    from analysis.tables.run import Run, latest_run
    from analysis.tables.runs import Runs, load
    from analysis.tables.suggest import suggest

__all__ = [
    "Run",
    "RunError",
    "Runs",
    "Sample",
    "compare",
    "cost",
    "importance",
    "latest_run",
    "load",
    "noise_of_similar",
    "paired_bootstrap",
    "pareto",
    "pareto_front",
    "rank_finalists",
    "rank_stability",
    "ranking",
    "rung_correlation",
    "seed_noise",
    "suggest",
    "timeline",
]

_PLACES = {
    "paired_bootstrap": "statistics.bootstrap",
    **dict.fromkeys(("Sample", "rank_finalists"), "statistics.comparison"),
    "pareto_front": "statistics.pareto",
    "rung_correlation": "statistics.rung_correlation",
    **dict.fromkeys(("noise_of_similar", "seed_noise"), "statistics.seed_noise"),
    "RunError": "errors",
    **dict.fromkeys(("Run", "latest_run"), "tables.run"),
    **dict.fromkeys(("Runs", "load"), "tables.runs"),
    **dict.fromkeys(("pareto", "rank_stability", "ranking"), "tables.ranking"),
    **dict.fromkeys(("cost", "timeline"), "tables.cost"),
    **{name: f"tables.{name}" for name in ("compare", "importance", "suggest")},
}


def __getattr__(name: str) -> Any:
    """Loads what needs pandas only when it is asked for: every command shows text, and few draw."""
    if name in _PLACES:
        return getattr(import_module(f"analysis.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
