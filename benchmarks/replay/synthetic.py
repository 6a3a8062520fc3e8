"""Learning curves of which it is known what they hide: crossings, noise, divergence.

All fall from about 1 to an end between 0.3 and 0.6. How good the end is, and only that, follows from four
hyperparameters: a bowl, with more and less important sides.
"""

from typing import Literal, get_args

import numpy as np

from benchmarks.replay.curves import Array

Kind = Literal["easy", "power", "exponential", "crossing", "noisy", "diverging"]
KINDS: tuple[Kind, ...] = get_args(Kind)

CROSSING = 6  # the step at which the order of "crossing" turns round
NOISE = {"easy": 0.001, "power": 0.003, "exponential": 0.003, "crossing": 0.001, "noisy": 0.03, "diverging": 0.003}
DIVERGING = {"diverging": 0.3}  # share of trials that are lost within the first half; of the other kinds 0.05
WEIGHTS = np.array([1.0, 0.5, 0.25, 0.1])


def draw(kind: Kind, steps: int, *, configs: int = 1000, seeds: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Draws curves of one kind.

    - "easy": the order is that of the ends from the first step on.
    - "power", "exponential": decays at rates drawn apart from their ends, so fast ones lead at first and many pairs
      cross once.
    - "crossing": up to step 6 the order of all trials is the reverse of that of their ends.
    - "noisy": "easy", with an evaluation's noise a third as large as the spread of the ends.
    - "diverging": "power", where three in ten are lost in the first half.

    Args:
        kind: see above.
        steps: of a full trial.
        configs: how many.
        seeds: noise is drawn anew for each; the ends are the same.
        seed: of all draws; the same one gives the same curves.

    Returns:
        (seeds, configs, 1 + steps) values, infinite from where a trial diverged, and (configs, 4) hyperparameters.
    """
    random = np.random.default_rng([seed, KINDS.index(kind)])
    hyperparameters = random.random((configs, len(WEIGHTS)))
    distance = ((hyperparameters - random.uniform(0.2, 0.8, len(WEIGHTS))) ** 2) @ WEIGHTS
    ends = 0.3 + 0.3 * distance.argsort().argsort() / (configs - 1)
    values = _noiseless(kind, ends, np.arange(steps + 1.0), random)
    curves = values + NOISE[kind] * random.standard_normal((seeds, *values.shape))
    lost = random.random(configs) < DIVERGING.get(kind, 0.05)
    when = random.integers(1, max(2, steps // 2), configs)
    curves[:, lost[:, None] & (np.arange(steps + 1) >= when[:, None])] = np.inf
    return curves, hyperparameters


def _noiseless(kind: Kind, ends: Array, time: Array, random: np.random.Generator) -> Array:
    falling: Array = (1 + time) ** -0.7
    above: Array = 0.5 * falling
    if kind in ("power", "diverging"):
        above = 0.5 * (1 + time) ** -random.uniform(0.3, 1.2, len(ends))[:, None]
    if kind == "exponential":
        lengths = np.exp(random.uniform(np.log(2), np.log(30), len(ends)))
        above = (1 - ends[:, None]) * np.exp(-time / lengths[:, None])
    if kind == "crossing":  # at the crossing all values are the same, whatever their ends
        above = above + (0.45 - ends[:, None]) * falling / falling[CROSSING]
    return ends[:, None] + above
