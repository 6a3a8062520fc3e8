"""What options do to the judge's panel: differences from the training without, paired by clip and seed."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from analysis.statistics.bootstrap import UPPER, Difference
from benchmarks.training_step.judged import BASE
from benchmarks.transfer.records import Record

Floats = npt.NDArray[np.float64]


def paired(differences: Floats) -> Difference:
    """Returns the mean of differences and its 95% interval, which counts clips and seeds.

    The part of the clips is that of the means over seeds; the part of the seeds that of the means over clips. What
    seeds do to single clips stands in both, so the interval is a little too wide. Each part has its own quantile of
    Student's, and the margin is the root of the sum of squares (Banerjee, 1960), as in
    `analysis.statistics.comparison`.

    Args:
        differences: shape (seeds, clips), two seeds at least; of one clip, only seeds are counted.
    """
    parts = []
    for values in (differences.mean(axis=0), differences.mean(axis=1)):
        if (count := len(values)) > 1:
            parts.append((float(values.std(ddof=1)) / math.sqrt(count), float(t.ppf(UPPER, count - 1))))
    mean = float(differences.mean())
    margin = math.hypot(*(error * quantile for error, quantile in parts))
    return Difference(mean, math.hypot(*(error for error, _ in parts)), mean - margin, mean + margin)


def effects(records: Sequence[Record], name: str) -> dict[str, Difference] | str:
    """Compares an option with the training without: of each metric the difference.

    Args:
        records: see `train_and_judge`; of both, the same seeds.
        name: of the option.

    Returns:
        `val_loss`, `probe`, the share of the panel's clips that are told right, where there are labels, and
        `effective_rank`; or why there is none.
    """
    ours, base = by_seed(records, name), by_seed(records, BASE.name)
    for seed, record in (*ours.items(), *base.items()):
        if "failed" in record:
            return f"seed {seed} failed: {record['failed']}"
    seeds = sorted(ours.keys() & base.keys())
    if len(seeds) < 2:
        return "fewer than two seeds"
    found = {}
    for metric, field in (("val_loss", "clip_losses"), ("probe", "right"), ("effective_rank", "effective_rank")):
        if ours[seeds[0]][field] is not None:
            pairs = [np.atleast_1d(ours[seed][field]) - np.atleast_1d(base[seed][field]) for seed in seeds]
            found[metric] = paired(np.stack(pairs).astype(np.float64))
    return found


def by_seed(records: Sequence[Record], name: str) -> Mapping[int, Record]:
    """Returns the records of an option by seed."""
    return {record["seed"]: record for record in records if record["option"] == name and "seed" in record}


def means(records: Sequence[Record], name: str) -> dict[str, float]:
    """Returns the mean over clips and seeds of each metric of an option; nothing where a seed failed."""
    of = by_seed(records, name).values()
    if not of or any("failed" in record for record in of):
        return {}
    fields = {"val_loss": "clip_losses", "probe": "right", "effective_rank": "effective_rank"}
    known = {metric: [record[field] for record in of] for metric, field in fields.items()}
    return {metric: float(np.mean(values)) for metric, values in known.items() if None not in values}
