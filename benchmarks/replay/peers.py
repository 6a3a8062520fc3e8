"""Ray's own schedulers as methods of a replay: the product's classes, asked after every step."""

from benchmarks.replay.clock import Method
from salt_tune.ray_backend.native_schedulers import AshaStop, HyperBand, MedianStop, NativeScheduler
from salt_tune.schedulers.asha import Asha


class AllWait(MedianStop):
    """Median stopping where all trials wait from the start, as in a search of Ray's over a list of configurations."""

    fills_first = True


def _peer(kind: type[NativeScheduler], trials: int, full: int, grace: int, eta: int = 3) -> Method:
    rungs = (*Asha.rung_points(grace, full, eta), float(full))
    return kind(rungs, trials, reduction_factor=eta, reports=[float(step) for step in range(1, full + 1)])


def ray_asha(trials: int, full: int, grace: int, eta: int = 3) -> Method:
    """Makes Ray's ASHA, which stops trials."""
    return _peer(AshaStop, trials, full, grace, eta)


def ray_median(trials: int, full: int, grace: int) -> Method:
    """Makes Ray's median stopping rule."""
    return _peer(AllWait, trials, full, grace)


def ray_hyperband(trials: int, full: int, eta: int = 3) -> Method:
    """Makes Ray's HyperBand."""
    return _peer(HyperBand, trials, full, 1, eta)
