"""Which of the trials that are tied is promoted."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

BY: Final = "effective_rank"
"""Of two tied trials, the one with the larger value becomes the better encoder as it trains on (docs/transfer.md)."""


def recommend(rows: Sequence[Mapping[str, Any]], tied: Sequence[str]) -> str | None:
    """Chooses among the trials that the objective does not tell apart: by the rank of their features.

    Args:
        rows: the trials of a summary.
        tied: the winner and the trials that are tied with it, best first.

    Returns:
        A trial; the winner where its features were not probed, None where there is no winner.
    """
    if not tied:
        return None
    values = {row["id"]: row[BY] for row in rows if row["id"] in tied and row.get(BY) is not None}
    if tied[0] not in values:
        return tied[0]
    return max((name for name in tied if name in values), key=values.__getitem__)
