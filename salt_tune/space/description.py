"""A search space as run.json and summary.json describe it, for those that read a run without this package."""

from typing import Any

from salt_tune.space.search_space import SearchSpace
from trainable.metrics import fields_of, interval_fields


def describe(space: SearchSpace) -> dict[str, Any]:
    """Describes what is searched, by which objective and over which lengths; docs/run-directory.md has the fields."""
    objective, schedule, metrics = space.objective, space.schedule, space.task.metrics
    return {
        "space": space.name,
        "task": space.task.name,
        "objective": {
            "metric": objective.name,
            "mode": objective.mode,
            "weights": dict(objective.weights),
            "against": space.against,
        },
        "metrics": {
            name: {
                "goal": metric.goal,
                "label": metric.label,
                "fields": list(fields_of(name, metrics)),
                "interval": list(interval_fields(name)) if metric.interval else [],
            }
            for name, metric in metrics.items()
        },
        "parameters": list(space.searched()),
        "scales": space.searched(),
        "ranges": {name: parameter.extent() for name, parameter in space.parameters.items()},
        "resource": schedule.resource,
        "full": schedule.full,
        "rungs": list(schedule.rung_points()),
    }
