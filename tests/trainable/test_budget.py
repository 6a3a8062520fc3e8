"""Resource points become steps in order, within half a step of what they pay for; the last is the end of the run."""

from hypothesis import given
from hypothesis import strategies as st

from trainable.budget import Budget

COSTS = st.floats(1e-9, 1e6)
FULL = st.floats(1e-3, 1e6)
SHARES = st.lists(st.integers(1, 999), max_size=20, unique=True).map(
    lambda parts: [part / 1000 for part in sorted(parts)]
)


def budget_of(full: float, shares: list[float]) -> Budget:
    return Budget("second", full, [*(share * full for share in shares), full])


@given(full=FULL, shares=SHARES, cost=COSTS)
def test_steps_ascend_to_the_last_one(full: float, shares: list[float], cost: float) -> None:
    budget = budget_of(full, shares)
    steps = [budget.step(point, cost) for point in budget.points]
    assert steps == sorted(steps)
    assert steps[0] >= 1
    assert steps[-1] == budget.total_steps(cost)


@given(full=FULL, shares=SHARES, cost=COSTS)
def test_no_point_is_overdrawn_by_more_than_half_a_step(full: float, shares: list[float], cost: float) -> None:
    budget = budget_of(full, shares)
    for point in budget.points:
        step = budget.step(point, cost)
        assert step == 1 or abs(step * cost - point) <= cost / 2 * (1 + 1e-6) + point * 1e-9


@given(full=FULL, shares=SHARES, cost=COSTS, dearer=st.floats(1, 100))
def test_dearer_steps_are_fewer(full: float, shares: list[float], cost: float, dearer: float) -> None:
    budget = budget_of(full, shares)
    assert all(budget.step(point, cost * dearer) <= budget.step(point, cost) for point in budget.points)


@given(epochs=st.integers(1, 1000), steps_per_epoch=st.integers(1, 100_000))
def test_whole_epochs_end_with_their_last_batch(epochs: int, steps_per_epoch: int) -> None:
    budget = Budget("epoch", float(epochs), [float(epoch) for epoch in range(1, epochs + 1)])
    cost = 1 / steps_per_epoch
    assert budget.total_steps(cost) == epochs * steps_per_epoch
    assert [budget.step(point, cost) for point in budget.points] == [
        epoch * steps_per_epoch for epoch in range(1, epochs + 1)
    ]


@given(full=FULL, shares=SHARES)
def test_points_are_visited_one_after_the_other(full: float, shares: list[float]) -> None:
    budget = budget_of(full, shares)
    visited = [0.0]
    while visited[-1] < full:
        visited.append(budget.next_point(visited[-1]))
    assert visited[1:] == list(budget.points)
    assert budget.next_point(full) == full
