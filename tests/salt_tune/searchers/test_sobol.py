"""The Sobol sequence."""

import math

from tests.salt_tune.suggesting import MIXED, make, taken


def test_sobol_spreads_every_parameter_evenly() -> None:
    made = taken(make("sobol", MIXED), 64)
    quarters = [math.floor(math.log10(values["lr"])) for values in made]
    assert [quarters.count(power) for power in (-5, -4, -3, -2)] == [16, 16, 16, 16]
    assert {[values["dim"] for values in made].count(dim) for dim in (64, 128, 192)} <= {20, 21, 22}


def test_points_to_start_from_take_no_place_in_the_sequence() -> None:
    plain, started = make("sobol", MIXED), make("sobol", MIXED, start_from=[{"lr": 1e-3}])
    assert taken(started, 5)[1:] == taken(plain, 4)
