"""The model of learning curves against the same Gaussian processes written down as plainly as possible."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from salt_tune.schedulers import learning_curves as grid
from salt_tune.schedulers.learning_curves import CurveModel

Array = NDArray[np.float64]
RUNGS = (0.5, 1.0, 2.0, 3.0)


def decaying(trials: int, rungs: tuple[float, ...] = RUNGS, seed: int = 0) -> Array:
    """Power laws with different ends, and a little noise."""
    draw = np.random.default_rng(seed)
    ends, heights = draw.normal(0.5, 0.1, (trials, 1)), draw.uniform(0.25, 0.35, (trials, 1))
    noise = draw.normal(0, 0.002, (trials, len(rungs)))
    curves: Array = ends + heights * np.array(rungs) ** -0.7 + noise
    return curves


def cut(curves: Array, levels: list[int]) -> Array:
    """The curves, known up to these levels."""
    return np.where(np.arange(curves.shape[1]) <= np.array(levels)[:, None], curves, np.nan)


def last_levels(curves: Array) -> NDArray[np.intp]:
    levels: NDArray[np.intp] = np.isfinite(curves).sum(1) - 1
    return levels


def covariance(rungs: tuple[float, ...], clock: float, persistence: float) -> Array:
    """Of the way from the first rung to each, where it varies by 1 on the way to the last."""
    times = [rung / rungs[0] for rung in rungs]
    ticks = [math.log(time) if clock == 0 else (1 - time**-clock) / clock for time in times]
    way = np.zeros((len(rungs), len(rungs)))
    for one, other in itertools.product(range(len(rungs)), repeat=2):
        for i, j in itertools.product(range(one), range(other)):
            apart = abs((ticks[i] + ticks[i + 1]) - (ticks[j] + ticks[j + 1])) / 2
            way[one, other] += (ticks[i + 1] - ticks[i]) * (ticks[j + 1] - ticks[j]) * persistence**apart
    return way / way[-1, -1] if way[-1, -1] else way


def by_hand(rungs: tuple[float, ...], curves: Array) -> tuple[Array, Array]:
    """The expected end of each curve, and its standard deviation: one large Gaussian a point of the grid."""
    centre, scale = curves[:, 0].mean(), curves[:, 0].std()
    trials, points = np.nonzero(np.isfinite(curves))
    seen = (curves[trials, points] - centre) / scale
    evidence, ends, variances = [], [], []
    for clock, size, persistence, noise in itertools.product(grid.CLOCKS, grid.SLOPES, grid.PERSISTENCES, grid.NOISES):
        way = covariance(rungs, clock, persistence)
        own, shared = 1 + size * way, grid.MEAN_SPREAD * (1 + max(size, 1) * way)
        shared = shared + 1e-9 * np.eye(len(rungs))
        of_seen = shared[points][:, points] + own[points][:, points] * (trials[:, None] == trials)
        of_seen += noise * np.eye(len(seen))
        squares = seen @ np.linalg.solve(of_seen, seen) + grid.SCALE_WEIGHT
        count = len(seen) + grid.SCALE_WEIGHT
        evidence.append(-count / 2 * math.log(squares) - np.linalg.slogdet(of_seen)[1] / 2)
        with_end = shared[-1, points] + own[-1, points] * (np.arange(len(curves))[:, None] == trials)
        ends.append(with_end @ np.linalg.solve(of_seen, seen))
        explained = np.einsum("ij,ji->i", with_end, np.linalg.solve(of_seen, with_end.T))
        variances.append(squares / count * (shared[-1, -1] + own[-1, -1] - explained))
    weight = np.exp(np.array(evidence) - max(evidence))
    weight /= weight.sum()
    return centre + scale * (weight @ np.array(ends)), scale * np.sqrt(weight @ np.array(variances))


@pytest.mark.parametrize(
    ("rungs", "levels"),
    [
        (RUNGS, [0, 0, 1, 2, 3, 3, 1]),
        (RUNGS, [0, 0, 0, 0]),
        (RUNGS, [3, 3, 3]),
        ((0.1, 0.4, 7.0), [2, 1, 0, 0, 0]),
        ((1.0, 3.0), [1, 0, 0, 0]),
        ((3.0,), [0, 0, 0]),
    ],
)
def test_predictions_are_those_of_the_gaussian_processes(rungs: tuple[float, ...], levels: list[int]) -> None:
    curves = cut(decaying(len(levels), rungs), levels)
    model = CurveModel(rungs)
    model.fit(curves)
    ends, spread = by_hand(rungs, curves)
    assert model.predict(curves, last_levels(curves)) == pytest.approx(ends, rel=1e-5)
    assert model.spread[levels] == pytest.approx(spread, rel=1e-4)


def test_it_learns_the_shape_that_all_curves_share() -> None:
    known, fresh = decaying(30), decaying(30, seed=1)
    model = CurveModel(RUNGS)
    model.fit(known)
    errors = []
    for level in range(len(RUNGS)):
        seen = cut(fresh, [level] * 30)
        error = model.predict(seen, last_levels(seen)) - fresh[:, -1]
        assert np.abs(error).mean() < 2 * model.spread[level]
        errors.append(np.abs(error).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < fresh[:, -1].std() / 2
    assert errors[-1] < 0.003  # known to the end: all but the noise


def test_scale_and_offset_of_the_values_do_not_matter() -> None:
    curves = cut(decaying(8), [0, 1, 2, 3, 0, 1, 2, 3])
    model, other = CurveModel(RUNGS), CurveModel(RUNGS)
    model.fit(curves)
    other.fit(curves * 250 - 30)
    levels = last_levels(curves)
    assert other.predict(curves * 250 - 30, levels) == pytest.approx(model.predict(curves, levels) * 250 - 30)
    assert other.spread == pytest.approx(250 * model.spread)
    assert other.learnable == pytest.approx(250 * model.learnable)


def test_the_unit_of_the_resource_does_not_matter() -> None:
    curves = cut(decaying(6), [0, 1, 2, 3, 0, 0])
    model, other = CurveModel(RUNGS), CurveModel([1000 * rung for rung in RUNGS])
    for each in (model, other):
        each.fit(curves)
    assert other.predict(curves, last_levels(curves)) == pytest.approx(model.predict(curves, last_levels(curves)))


CURVES = {
    "falling": decaying(9),
    "constant": np.full((5, 4), 0.7),
    "equal at first": np.column_stack([np.full(6, 0.5), decaying(6)[:, 1:]]),
    "one": decaying(1),
    "identical": np.repeat(decaying(1), 6, axis=0),
    "an outlier": np.vstack([decaying(5), np.full((1, 4), 1e30)]),
    "an outlier at the end": np.vstack([decaying(5), [[0.7, 0.6, 0.5, 1e30]]]),
    "large": decaying(6) * 1e30,
    "small": decaying(6) * 1e-30,
    "two rungs": decaying(4, (0.5, 1.0)),
    "rungs far apart": decaying(4, (1e-3, 1.0, 1e6)),
    "one rung": decaying(4, (3.0,)),
    "many rungs": decaying(4, tuple(float(rung) for rung in range(1, 21))),
}
RUNGS_OF = {
    "two rungs": (0.5, 1.0),
    "rungs far apart": (1e-3, 1.0, 1e6),
    "one rung": (3.0,),
    "many rungs": tuple(float(rung) for rung in range(1, 21)),
}


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "begun"])
@pytest.mark.parametrize("name", CURVES)
def test_whatever_the_curves_all_numbers_are_finite(name: str, whole: bool) -> None:
    rungs = RUNGS_OF.get(name, RUNGS)
    curves = CURVES[name] if whole else cut(CURVES[name], [n % len(rungs) for n in range(len(CURVES[name]))])
    model = CurveModel(rungs)
    model.fit(curves)
    assert np.isfinite(model.predict(curves, last_levels(curves))).all()
    assert np.isfinite(model.spread).all() and (model.spread > 0).all()
    assert (model.learnable >= 0).all() and (model.learnable <= model.spread).all()
    assert model.learnable[-1] == 0
    assert (np.diff(model.spread) <= 1e-9 * model.spread[0]).all(), "knowing more is never worse"


def test_a_fit_depends_on_the_curves_alone() -> None:
    curves = cut(decaying(7), [3, 2, 1, 0, 0, 1, 2])
    model, again = CurveModel(RUNGS), CurveModel(RUNGS)
    model.fit(decaying(3, seed=5))
    for each in (model, again):
        each.fit(curves)
    levels = last_levels(curves)
    assert (model.predict(curves, levels) == again.predict(curves, levels)).all()
    backwards = model.predict(curves[::-1], levels[::-1])[::-1]
    assert backwards == pytest.approx(model.predict(curves, levels))
