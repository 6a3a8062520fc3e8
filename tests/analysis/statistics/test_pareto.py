"""Trade-offs between two objectives."""

import math

from hypothesis import given
from hypothesis import strategies as st

from analysis import pareto_front

POINTS = st.lists(st.tuples(*2 * [st.integers(0, 6).map(float) | st.just(math.nan) | st.just(math.inf)]), max_size=20)


@given(POINTS)
def test_the_front_is_what_no_other_point_beats(points: list[tuple[float, float]]) -> None:
    finite = [point for point in points if all(map(math.isfinite, point))]

    def beaten(point: tuple[float, float]) -> bool:
        return any(o != point and o[0] <= point[0] and o[1] <= point[1] for o in finite)

    expected = [place for place, point in enumerate(points) if point in finite and not beaten(point)]
    assert pareto_front(points) == expected
    assert bool(expected) == bool(finite)
