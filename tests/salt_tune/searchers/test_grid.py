"""The grid."""

import math

from salt_tune.space.parameters import Int, Parameter
from tests.salt_tune.suggesting import LR, MIXED, make, taken


def test_a_grid_has_all_choices_the_ends_of_ranges_and_as_many_points_as_trials() -> None:
    made = taken(make("grid", MIXED, trials=100), 1000)
    rates = sorted({values["lr"] for values in made})
    assert len(made) == 12 * 3 * 2 * 2
    assert rates == [1e-5, 1e-1]
    made = taken(make("grid", {"lr": LR}, trials=5), 1000)
    assert [round(math.log10(values["lr"]), 9) for values in made] != [-5, -4, -3, -2, -1]
    assert sorted(round(math.log10(values["lr"]), 9) for values in made) == [-5, -4, -3, -2, -1]


def test_a_grid_too_large_to_list_is_drawn_from() -> None:
    parameters: dict[str, Parameter] = {name: Int(type="int", low=0, high=40) for name in "abcdefgh"}
    made = taken(make("grid", parameters), 50)
    assert len({tuple(values.values()) for values in made}) == 50
