"""The verdict follows from the interval and from the ranks."""

import pytest

from analysis.statistics.verdict import COLLAPSED_BELOW, Verdict, verdict_of

FULL = dict.fromkeys(COLLAPSED_BELOW, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "better than untrained"),
        (0.0, 0.2, "not shown to be better"),
        (-0.1, 0.1, "not shown to be better"),
        (-0.2, 0.0, "not shown to be better"),
        (-0.2, -0.01, "worse than untrained"),
    ],
)
def test_the_interval_decides_where_the_ranks_are_those_of_untrained_encoders(
    low: float, high: float, verdict: str
) -> None:
    assert verdict_of(low, high, FULL) == verdict
    assert verdict_of(low, high, {}) == verdict


@pytest.mark.parametrize("name", sorted(COLLAPSED_BELOW))
def test_a_rank_below_its_share_is_a_collapse_whatever_the_accuracy(name: str) -> None:
    for low, high in ((0.1, 0.2), (-0.2, -0.1)):
        assert verdict_of(low, high, {**FULL, name: COLLAPSED_BELOW[name] - 1e-9}) is Verdict.COLLAPSED
        assert verdict_of(low, high, {**FULL, name: COLLAPSED_BELOW[name]}) is not Verdict.COLLAPSED


def test_what_should_not_win() -> None:
    assert [verdict for verdict in Verdict if verdict.bad] == [Verdict.WORSE, Verdict.COLLAPSED]
