"""`python -m benchmarks.prediction`: how well the final loss is predicted, on the curves of `benchmarks.transfer`.

Takes the losses of averaged weights up to the length of a trial, and predicts those at the end as `promote` does.
Writes results/prediction-cpu.json; trains nothing.
"""

import json
from typing import Any

import numpy as np

from benchmarks import machine
from salt_tune.report.prediction import predict_ends

STORES = ("demo", "surveillance")


def main() -> None:
    """Predicts and compares."""
    machine.write("prediction", {f"{store}, {name}": value for store in STORES for name, value in _figures(store)})


def _figures(store: str) -> list[tuple[str, Any]]:
    first, *lines = (machine.RESULTS / f"transfer-{store}-cpu.jsonl").read_text(encoding="utf-8").splitlines()
    losses: dict[int, dict[int, dict[float, float]]] = {}
    for record in map(json.loads, lines):
        if record["run"] == "constant":
            of_seed = losses.setdefault(record["seed"], {})
            of_seed.setdefault(record["config"], {})[record["epoch"]] = record["averaged"].get("val_loss", np.nan)
    errors, halves = [], []
    for rows in losses.values():  # one search a seed
        points = sorted(next(iter(rows.values())))
        curves = np.array([[row[point] for point in points] for row in rows.values()])
        for prediction, truth in zip(predict_ends(curves[:, :-1], points), curves[:, -1], strict=True):
            errors.append(truth - prediction.loss)
            halves.append((prediction.high - prediction.low) / 2)
    plan = json.loads(first)["experiment"]
    error, half = np.array(errors), np.array(halves)
    return [
        ("predicted", f"{len(error)} losses at {plan['long']} epochs, from {plan['short']}"),
        ("root mean square error", float(f"{np.sqrt(np.mean(error**2)):.2g}")),
        ("mean half of the 95% interval", float(f"{half.mean():.2g}")),
        ("within the interval", f"{int((abs(error) <= half).sum())} of {len(error)}"),
    ]


if __name__ == "__main__":
    main()
