"""Colours that colour-blind readers tell apart, on white and on black."""

from typing import Final

# Okabe and Ito's colours, but grey for the pruned, which should recede, and Tol's olive for black.
STATE_COLOURS: Final = {
    "complete": "#0072B2",
    "pruned": "#8C8C8C",
    "running": "#009E73",
    "paused": "#56B4E9",
    "waiting": "#B0B0B0",
    "interrupted": "#E69F00",
    "diverged": "#D55E00",
    "out_of_memory": "#CC79A7",
    "failed": "#999933",
}
ACTIVITY_COLOURS: Final = {
    "starting": "#E69F00",
    "loading": "#CC79A7",
    "training": "#0072B2",
    "waiting": "#D55E00",
    "evaluating": "#56B4E9",
}
PART_COLOURS: Final = {"in the search": "#56B4E9", "final run": "#0072B2", "predicted, 95%": "#E69F00"}
BASELINE_COLOUR: Final = "#9C6F44"  # none of the states'
# Of trials that are told apart by name: Okabe and Ito's without yellow and black, then brown, and grey for the last.
TRIAL_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#9C6F44", "#8C8C8C")
