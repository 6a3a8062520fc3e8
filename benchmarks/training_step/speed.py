"""How fast a step with an option is, beside the same training without it."""

from dataclasses import dataclass

from torch._dynamo.utils import counters

from benchmarks.training_step.options import Option
from benchmarks.training_step.rounds import Ratio, alternate, ratio
from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.memory import free_memory
from trainable.train.training import Training

ROUNDS = 4
STEPS = 4  # in a round


@dataclass(frozen=True)
class Speed:
    """What an option does to the speed of a training.

    Attributes:
        ratio: clips a second with it, against those without.
        graphs: that were compiled.
    """

    ratio: Ratio
    graphs: int

    def __str__(self) -> str:
        return f"{self.ratio}, {self.graphs} graph compiled" if self.graphs else f"{self.ratio}"


def speed_of(base: TrialConfig, option: Option, store: ClipStore, rounds: int = ROUNDS) -> Speed:
    """Measures a training with the option and without, in turn; batches may differ, and clips are counted.

    Args:
        base: the training without; it must have more steps than are measured.
        option: what is changed.
        store: what is trained on.
        rounds: that count.

    Raises:
        RuntimeError: no such kernel, no compiler, not enough memory.
    """
    free_memory()
    plain = Training(base, store)
    counters.clear()
    other = Training(base.replace(**option.changes), store)
    option.adapt(other)
    own = other.config.batch_size
    steps = max(1, STEPS * base.batch_size // own)  # about as many clips
    runs = {
        "without": lambda: plain.train_to(plain.step + STEPS),  # which waits for the device
        "with": lambda: option.trained(other, other.step + steps),
    }
    try:
        seconds = alternate(runs, rounds)
    finally:
        plain.close()
        other.close()
    share = steps * own / (STEPS * base.batch_size)
    compared = ratio([time * share for time in seconds["without"]], seconds["with"])
    return Speed(compared, counters["stats"]["unique_graphs"] if other.config.compile else 0)
