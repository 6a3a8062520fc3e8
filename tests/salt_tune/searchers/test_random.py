"""Random draws."""

from tests.salt_tune.suggesting import LINE, LR, make, taken


def test_random_rates_are_uniform_in_the_logarithm() -> None:
    rates = [values["lr"] for values in taken(make("random", {"lr": LR}), 400)]
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / len(rates) < 0.6


def test_a_range_has_no_end() -> None:
    assert make("random", LINE).left(10**9) == 10**9
