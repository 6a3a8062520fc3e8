"""Which of the trials that are tied is promoted."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

BY: Final = "above_untrained"  # of two tied trials, the one with the larger value is the better encoder


def recommend(rows: Sequence[Mapping[str, Any]], tied: Sequence[str]) -> str | None:
    """Chooses among the trials that the objective does not tell apart: by what probes read off their features.

    Args:
        rows: the trials of a summary.
        tied: the winner and the trials that are tied with it, best first.

    Returns:
        A trial; the winner where its features were not probed, None where there is no winner.
    """
    values = {row["id"]: row.get(BY) for row in rows}
    if not tied or values[tied[0]] is None:
        return tied[0] if tied else None
    return max((name for name in tied if values[name] is not None), key=lambda name: float(values[name]))
