"""Without a scheduler, all trials are trained to the end."""

from salt_tune.schedulers.full_length import FullLength
from tests.salt_tune.driving import drive


def test_all_go_to_the_end_in_the_order_of_their_start() -> None:
    driven = drive(FullLength((1.0, 3.0, 9.0), 4), [[4.0], [3.0], [2.0], [1.0]])
    assert driven.steps == [(f"T{number}", 9.0) for number in range(4)]
    assert not driven.pruned
