"""What seeds do to a score, from replicates and from configurations that are alike."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import noise_of_similar, seed_noise


def test_the_seeds_variance_is_taken_out_of_the_configurations() -> None:
    random = np.random.default_rng(0)
    within, between = [], []
    for _ in range(300):
        centres = random.normal(0.5, 0.03, 8)
        groups = {str(k): list(random.normal(centre, 0.02, 1 + k % 3)) for k, centre in enumerate(centres)}
        noise = seed_noise(groups)
        assert noise is not None and noise.between_sd is not None
        assert (noise.source, noise.trials, noise.degrees) == ("replicates", 8, 7)
        within.append(noise.within_sd**2)
        between.append(noise.between_sd**2)
    assert np.mean(within) == pytest.approx(0.02**2, rel=0.1)
    assert np.mean(between) == pytest.approx(0.03**2, rel=0.1)


def test_seed_noise_by_hand() -> None:
    noise = seed_noise({"a": [1.0, 3.0], "b": [6.0, 8.0], "lost": [math.inf, math.nan]})
    assert noise is not None
    assert asdict(noise) == pytest.approx(
        {"source": "replicates", "within_sd": 2**0.5, "between_sd": (12.5 - 1) ** 0.5, "trials": 2, "degrees": 2}
    )
    alone = seed_noise({"a": [1.0, 3.0]})
    assert alone is not None and alone.between_sd is None


@pytest.mark.parametrize("groups", [{}, {"a": [1.0], "b": [2.0]}, {"a": [1.0, math.inf]}])
def test_without_replicates_there_is_no_noise_to_tell(groups: dict[str, list[float]]) -> None:
    assert seed_noise(groups) is None


def configurations(random: np.random.Generator, count: int) -> list[dict[str, object]]:
    """Random ones: a range on a logarithmic scale, a choice, and a number that only some set."""
    made: list[dict[str, object]] = []
    for number in range(count):
        each: dict[str, object] = {"lr": float(10 ** random.uniform(-4, -1)), "kind": "ab"[number % 2]}
        made.append(each | ({"beta": float(random.uniform())} if number % 2 else {}))
    return made


def test_equal_configurations_tell_the_noise_of_their_seeds() -> None:
    random, found = np.random.default_rng(0), []
    for _ in range(400):
        noise = noise_of_similar(configurations(random, 12), random.normal(0.4, 0.02, 12).tolist())
        assert noise is not None and (noise.degrees, noise.trials) == (6, 12)
        found.append(noise.within_sd**2)
    assert np.mean(found) == pytest.approx(0.02**2, rel=0.1)
    assert np.var(found) == pytest.approx(2 * 0.02**4 / 6, rel=0.3), "as many degrees of freedom as it says"


def test_what_hyperparameters_do_makes_it_larger_and_likeness_less_so() -> None:
    random = np.random.default_rng(0)
    of_near, of_far = [], []
    for _ in range(50):
        made = configurations(random, 40)
        scores = [0.1 * math.log10(float(str(each["lr"]))) + random.normal(0, 0.01) for each in made]
        near = noise_of_similar(made, scores)
        far = noise_of_similar([{"other": float(random.uniform())} for _ in made], scores)
        assert near is not None and far is not None
        of_near.append(near.within_sd)
        of_far.append(far.within_sd)
    assert 0.01 < np.mean(of_near) < 0.5 * np.mean(of_far)


def test_too_few_that_are_left_tell_nothing() -> None:
    made = configurations(np.random.default_rng(0), 8)
    assert noise_of_similar(made, [0.4] * 8) is not None
    assert noise_of_similar(made, [0.4] * 7 + [math.inf]) is None
    assert noise_of_similar([], []) is None and noise_of_similar([{}], [0.4]) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 9), st.sampled_from("abc"), st.booleans()), min_size=8, max_size=20))
def test_the_scale_of_a_parameter_does_not_matter(drawn: list[tuple[float, str, bool]]) -> None:
    scores = [math.sin(7 * number) for number in range(len(drawn))]
    linear = [{"x": x, "kind": kind, "on": on} for x, kind, on in drawn]
    logarithmic = [{"x": math.exp(x), "kind": kind, "on": on} for x, kind, on in drawn]
    assert noise_of_similar(linear, scores) == noise_of_similar(logarithmic, scores)


def test_two_seeds_of_one_configuration_are_the_closest_pair() -> None:
    random = np.random.default_rng(1)
    made = configurations(random, 6)
    scores = [*random.normal(0, 1, 6), *random.normal(0, 1, 6)]
    noise = noise_of_similar([*made, *made], scores)
    assert noise is not None
    pairs = np.subtract(scores[:6], scores[6:])
    assert noise.within_sd == pytest.approx(math.sqrt((pairs**2).mean() / 2))
