"""Interactive charts of a run, by Vega-Altair: `charts.learning_curves(run)`; a notebook shows them as they are.

Each takes a `Run` and returns a chart, or None where there is nothing to draw. What is pointed at names its trial and
hyperparameters. Every chart of trials has a parameter `shown`: the ids of those to show, or null for all. They take the
width of what holds them; `save` and `fixed` give them one.
"""

from analysis.charts.base import fixed, save
from analysis.charts.encoder import classes, confusion, loss_against_probe, probes
from analysis.charts.final import final_curve, final_probes
from analysis.charts.parameters import importance, parallel_coordinates, slices
from analysis.charts.search import against_winner, horizon, learning_curves, pareto, ranking
from analysis.charts.time import best_so_far, timeline
from analysis.charts.training import time_slots, training_steps

__all__ = [
    "against_winner",
    "best_so_far",
    "classes",
    "confusion",
    "final_curve",
    "final_probes",
    "fixed",
    "horizon",
    "importance",
    "learning_curves",
    "loss_against_probe",
    "parallel_coordinates",
    "pareto",
    "probes",
    "ranking",
    "save",
    "slices",
    "time_slots",
    "timeline",
    "training_steps",
]
