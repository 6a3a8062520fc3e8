"""What a search took, in words."""

from collections.abc import Iterator
from typing import Any

from salt_tune.ui.format import amount, counted, duration

Summary = dict[str, Any]


def cost_lines(summary: Summary, concurrent: int | None) -> Iterator[str]:
    """Says what the search took, beside what it would have taken without pruning.

    Args:
        summary: of the search.
        concurrent: how many trials ran at a time, where it is known.
    """
    trained, without = summary["resource_trained"], summary["resource_without_pruning"]
    share = f" ({trained / without:.0%})" if without else ""
    whole = f"{amount(without, summary['resource'])} had all {len(summary['trials'])} trials been trained to the end"
    yield f"{amount(trained, summary['resource'])} of {whole}{share}"
    wall, training = summary["wall_seconds"], summary["training_seconds"]
    if concurrent and wall:
        share = f"{training / (wall * concurrent):.0%} of the time of {counted(concurrent, 'worker')}"
        yield f"time: {duration(wall)}; {duration(training)} of training in all trials, {share}"
    else:
        yield f"time: {duration(wall)}, with {duration(training)} of training in all trials"
