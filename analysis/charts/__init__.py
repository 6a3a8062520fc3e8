"""Interactive charts of a run, by Vega-Altair: `charts.learning_curves(run)`; a notebook shows them as they are.

Each takes a `Run` and returns a chart, or None where there is nothing to draw. What is pointed at names its trial and
hyperparameters. Every chart of trials has a parameter `shown`: the ids of those to show, or null for all.
"""

from analysis.charts.encoder import classes, confusion, loss_against_probe, probes
from analysis.charts.parameters import importance, parallel_coordinates, slices
from analysis.charts.search import horizon, learning_curves, ranking
from analysis.charts.time import best_so_far, timeline

__all__ = [
    "best_so_far",
    "classes",
    "confusion",
    "horizon",
    "importance",
    "learning_curves",
    "loss_against_probe",
    "parallel_coordinates",
    "probes",
    "ranking",
    "slices",
    "timeline",
]
