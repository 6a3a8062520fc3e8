"""A model of learning curves: what a trial will reach at the end, from where it is and from what the others did.

The curves of a search are samples of one Gaussian process over the rungs. It adds to a mean curve that all share each
trial's own offset, its own slope and the noise of an evaluation. A slope persists for a while. How large these are, how
long a slope persists and along which clock curves bend is not known. So all combinations of a small grid are kept, each
weighed by how well it explains the curves seen so far. Everything is Gaussian and closed: no sampling, no fit that
could fail, the same numbers for the same results.

After freeze-thaw (Swersky, Snoek and Adams, 2014), where curves decay exponentially; here the shape is learned.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The grid. All values are relative to the spread of the trials at the first rung; none is fitted to any set of curves.
CLOCKS = (-0.5, 0.0, 0.5)  # Box-Cox exponents of the time that slopes persist in; 0 is the logarithm
SLOPES = (0.03, 0.3, 3.0, 30.0, 300.0)  # variance of a trial's own way from the first rung to the last
PERSISTENCES = (0.1, 0.5, 0.9)  # correlation of two slopes one unit of the clock apart
NOISES = (1e-3, 0.03, 0.3)  # variance of an evaluation's noise
MEAN_SPREAD = 10.0  # prior variance of the mean curve, in the same units: nearly flat
SCALE_WEIGHT = 4.0  # pseudo-observations behind the prior that the scale is as at the first rung


class CurveModel:
    """Predicts the value at the last rung for curves that are known up to some rung.

    Args:
        rungs: resources at which curves are known, ascending, above 0.

    Attributes:
        spread: standard deviation of a curve's own end, given its values up to each rung (units of the values).
        learnable: the part of it that training to the end would remove; 0 at the last rung.
    """

    def __init__(self, rungs: Sequence[float]) -> None:
        kernels, noises, means = _kernels(np.asarray(rungs, dtype=np.float64) / rungs[0])
        identity = np.eye(len(rungs))
        covariance = kernels + noises[:, None, None] * identity
        factor = np.linalg.cholesky(covariance)
        whiten = np.linalg.inv(factor)
        # The precision that a curve's values up to each rung add: (grid, rungs, rungs x rungs); and as sums want it.
        products = whiten[:, :, :, None] * whiten[:, :, None]
        self._added = products.reshape(*whiten.shape[:2], -1)
        self._pulled = products.transpose(0, 2, 1, 3).reshape(len(whiten), len(rungs), -1)
        self._log_scale = np.log(np.diagonal(factor, axis1=1, axis2=2))
        self._mean_precision = np.linalg.inv(means + 1e-9 * identity)
        self._mean_log_det = np.linalg.slogdet(self._mean_precision)[1]
        self._weights, self._rest = _conditionals(kernels, covariance)
        self._ahead = -self._weights
        self._ahead[:, :, -1] += 1
        self.spread = np.zeros(len(rungs))
        self.learnable = np.zeros(len(rungs))

    def fit(self, curves: Array) -> None:
        """Learns from all curves seen so far.

        Args:
            curves: (trials, rungs); each row finite up to the trial's last rung, and NaN after it.
        """
        known = np.isfinite(curves)
        first = curves[:, 0]
        self._centre = float(first.mean())
        self._scale = float(first.std()) or 1.0
        moments, sums = self._moments(curves, known)
        reached = known.sum(0).astype(np.float64)
        precision = (reached @ self._added).reshape(self._mean_precision.shape) + self._mean_precision
        uncertainty = np.linalg.inv(precision)
        pull = self._pulled @ sums.ravel()
        mean = (uncertainty @ pull[:, :, None])[:, :, 0]
        squares = self._added.reshape(len(pull), -1) @ moments.ravel()
        squares = np.maximum(squares - (pull * mean).sum(1), 0.0) + SCALE_WEIGHT
        count = known.sum() + SCALE_WEIGHT
        evidence = -0.5 * count * np.log(squares) - self._log_scale @ reached
        evidence += 0.5 * (np.linalg.slogdet(uncertainty)[1] + self._mean_log_det)
        weight = np.exp(evidence - evidence.max())
        self._mix(weight / weight.sum(), mean, uncertainty, squares / count)

    def _moments(self, curves: Array, known: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Sums, by rung, over the trials that reached it: the products of their values, and the values."""
        rungs = curves.shape[1]
        values = np.where(known, (curves - self._centre) / self._scale, 0.0)
        moments, sums = np.zeros((rungs, rungs, rungs)), np.zeros((rungs, rungs))
        for rung in range(rungs):
            there = values[known[:, rung], : rung + 1]
            moments[rung, : rung + 1, : rung + 1] = there.T @ there
            sums[rung, : rung + 1] = there.sum(0)
        return moments, sums

    def _mix(self, weight: Array, mean: Array, uncertainty: Array, scale: Array) -> None:
        """Averages the grid: of the curves' values, each prediction is a linear function."""
        self._slope = np.tensordot(weight, self._weights, 1)
        self._offset = weight @ (self._ahead @ mean[:, :, None])[:, :, 0]
        of_mean = (self._ahead @ uncertainty * self._ahead).sum(2)
        variance = (weight * scale) @ (self._rest + of_mean)
        self.spread = self._scale * np.sqrt(variance)
        self.learnable = self._scale * np.sqrt(np.maximum(variance - (weight * scale) @ self._rest[:, -1], 0.0))
        self.learnable[-1] = 0.0

    def predict(self, curves: Array, level: NDArray[np.intp]) -> Array:
        """Returns the expected values at the last rung.

        Args:
            curves: as for `fit`.
            level: (trials,) index of the last rung that each has reached.

        Returns:
            (trials,), without the noise of the evaluation there.
        """
        values = np.where(np.isfinite(curves), (curves - self._centre) / self._scale, 0.0)
        ends: Array = self._offset[level] + np.einsum("nk,nk->n", self._slope[level], values)
        return self._centre + self._scale * ends


def _kernels(time: Array) -> tuple[Array, Array, Array]:
    """Computes the curves' covariances over the rungs, without noise; the noises; the covariances of the mean curve."""
    kernels, noises, means = [], [], []
    for clock, size, persistence, noise in itertools.product(CLOCKS, SLOPES, PERSISTENCES, NOISES):
        ticks = np.log(time) if clock == 0 else (1 - time**-clock) / clock
        middle = (ticks[1:] + ticks[:-1]) / 2
        slopes = persistence ** np.abs(middle[:, None] - middle)
        steps = np.tril(np.ones((len(time), len(time) - 1)), -1) * np.diff(ticks)
        way = steps @ slopes @ steps.T
        way /= way[-1, -1] or 1.0
        kernels.append(1 + size * way)
        noises.append(noise)
        means.append(MEAN_SPREAD * (1 + max(size, 1.0) * way))
    return np.array(kernels), np.array(noises), np.array(means)


def _conditionals(kernels: Array, covariance: Array) -> tuple[Array, Array]:
    """Returns, by rung, how the end follows from the values up to it: their weights, and the variance that is left."""
    grid, rungs, _ = kernels.shape
    weights, rest = np.zeros((grid, rungs, rungs)), np.zeros((grid, rungs))
    for rung in range(rungs):
        seen = kernels[:, -1, : rung + 1]
        weights[:, rung, : rung + 1] = np.linalg.solve(covariance[:, : rung + 1, : rung + 1], seen[..., None])[..., 0]
        rest[:, rung] = kernels[:, -1, -1] - np.einsum("gi,gi->g", weights[:, rung, : rung + 1], seen)
    return weights, np.maximum(rest, 0.0)
