"""What a search tried, and how its trials compare, as tables."""

import numpy as np
import pandas as pd

from analysis.run_directory.reports import natural
from analysis.tables.run import Run
from analysis.tables.trials import AGAINST_WINNER


def searched(run: Run) -> pd.DataFrame:
    """Returns what the trials tried of each searched parameter, and what the winner had.

    Returns:
        Indexed by parameter: `scale`, `tried` (as text: the ends of the range, or the categories), `winner` (NaN where
        there is none).
    """
    rows = {name: (run.summary["scales"][name], _tried(run, name), _of_winner(run, name)) for name in run.parameters}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["scale", "tried", "winner"])


def paired_against_best(run: Run) -> pd.DataFrame:
    """Returns each configuration beside the winner at the deepest rung that both reached: as the summary has it.

    Where both trained to the end, the intervals count clips and seeds, and hold all at once. At earlier rungs each
    stands alone, over the clips, and nothing is concluded.

    Returns:
        One row a trial that was compared, deepest first, then closest to the winner first: `trial`, `rung`,
        `difference` (mean loss of the trial - of the winner), `standard_error` and its parts `clip_error` and
        `seed_error` (missing where they are not counted), `low`, `high` (the 95% interval), `conclusion` (see
        `analysis.statistics.comparison.Conclusion`). No rows where there is no winner.
    """
    compared = [(trial["id"], trial["against_winner"]) for trial in run.summary["trials"] if trial["against_winner"]]
    table = pd.DataFrame([{"trial": name, **found} for name, found in compared], columns=list(_TYPES)).astype(_TYPES)
    return table.sort_values(["rung", "difference"], ascending=[False, True], ignore_index=True)


_TYPES = {"trial": "str", **dict.fromkeys(AGAINST_WINNER, "float64"), "conclusion": "str"}


def _tried(run: Run, parameter: str) -> str:
    values = run.trials[parameter].dropna()
    if run.summary["scales"][parameter] == "category":
        return ", ".join(sorted({str(value) for value in values}, key=natural))
    return f"{values.min():.4g} to {values.max():.4g}"


def _of_winner(run: Run, parameter: str) -> object:
    values = run.trials.loc[run.trials["trial"] == run.best, parameter].tolist()
    return values[0] if values else np.nan
