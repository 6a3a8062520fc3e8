"""From a run directory to tables, statistics and plots; pictures of a clip store. Imports neither Ray nor torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.errors import RunError
    from analysis.statistics.comparison import paired_bootstrap, pareto_front, rank_finalists, seed_noise
    from analysis.statistics.rung_correlation import rung_correlation
    from analysis.tables.run import Run, latest_run, load

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

_PLACES = {
    **dict.fromkeys(("paired_bootstrap", "pareto_front", "rank_finalists", "seed_noise"), "statistics.comparison"),
    "rung_correlation": "statistics.rung_correlation",
    "RunError": "errors",
    **dict.fromkeys(("Run", "latest_run", "load"), "tables.run"),
}


def __getattr__(name: str) -> Any:
    """Loads what needs pandas only when it is asked for: every command shows text, and few draw."""
    if name in _PLACES:
        return getattr(import_module(f"analysis.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
