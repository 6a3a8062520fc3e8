"""Figures of runs and clip stores; those of a run by name: `plots.ranking(run)`."""

from analysis.plots.parameters import parameters_against_objective
from analysis.plots.search import against_best, learning_curves, pareto, ranking, rung_correlations

__all__ = [
    "against_best",
    "learning_curves",
    "parameters_against_objective",
    "pareto",
    "ranking",
    "rung_correlations",
]
