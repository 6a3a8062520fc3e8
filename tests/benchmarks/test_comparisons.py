"""Simulated searches: a summary seldom says "better" where there is nothing, and does where there is much."""

import pytest

from analysis.run_directory.events import Request
from benchmarks.comparisons import World, said

SEARCHES = 100


@pytest.mark.parametrize("request_", [0, 1, "auto"])
def test_of_a_hundred_searches_without_a_difference_five_at_most_claim_one(request_: Request) -> None:
    found = [said(World(), request_, seed) for seed in range(SEARCHES)]
    assert sum(each.false for each in found) <= 0.05 * SEARCHES
    assert {each.replicates for each in found} == {{0: 0, 1: 3, "auto": 2}[request_]}


def test_a_difference_that_is_large_is_found() -> None:
    world = World(better=0.06)
    found = [said(world, 2, seed) for seed in range(20)]
    assert sum(each.told for each in found) >= 15
    assert not any(each.false for each in found)


def test_a_search_is_a_function_of_its_seed() -> None:
    assert [said(World(), 1, seed) for seed in range(3)] == [said(World(), 1, seed) for seed in range(3)]
