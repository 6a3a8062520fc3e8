"""Trade-offs between two objectives."""

from collections.abc import Sequence

import numpy as np


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Returns the indices of the points that no other is better than: as low in every coordinate, and lower in one.

    Equal points stay together. A point with a coordinate that is not finite is never on the front.
    """
    if not len(points):
        return []
    values = np.array(points, dtype=np.float64)
    candidates = np.flatnonzero(np.isfinite(values).all(axis=1))
    front = []
    for index in candidates:
        others = values[candidates]
        beaten = (others <= values[index]).all(axis=1) & (others < values[index]).any(axis=1)
        if not beaten.any():
            front.append(int(index))
    return front
