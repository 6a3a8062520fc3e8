"""A final training that is a trial of its own: what a task has that says nothing else; needs no torch."""

from collections.abc import Callable
from threading import Event

from trainable.budget import Budget
from trainable.errors import UserError
from trainable.files import write_json
from trainable.worker import Dataset, FinalSpec, Report, RunSpec, TrialSpec, Worker


def probe_epochs(epochs: float) -> list[float]:
    """Returns the whole epochs at which a final training is probed besides at its end: a half of it, a quarter...

    Features are as dear to probe after a short training as after a long one, and change less and less.
    """
    halves = {float(round(epochs / 2**power)) for power in range(1, 60) if epochs / 2**power >= 1}
    return sorted(epoch for epoch in halves if epoch < epochs)


class FinalTrial:
    """See `trainable.worker.FinalRun`. The trial's checkpoint after its last report is the model.

    Args:
        open_worker: of the task.
        task: its name.
        device: where it trains.
        spec: how.
        data: on what.
    """

    def __init__(
        self, open_worker: Callable[[RunSpec], Worker], task: str, device: str, spec: FinalSpec, data: Dataset
    ) -> None:
        self._spec, epochs = spec, spec.config["epochs"]
        reports = max(1, round(epochs * spec.reports_per_epoch))
        points = [number * epochs / reports for number in range(1, reports + 1)]
        probed = {*probe_epochs(epochs), epochs}
        run = RunSpec(
            task=task,
            data=str(data.path),
            evaluation=spec.evaluation,
            budget=Budget("epoch", epochs, points, [point for point in points if point in probed]),
            checkpoints=str(spec.folder),
            clip_losses=str(spec.folder / "clip_losses" / "{trial}" / "resource-{resource:.4f}.parquet"),
            threads=spec.threads,
            device=device,
        )
        self._worker = open_worker(run)
        self._trial = self._worker.start(TrialSpec(spec.checkpoint.stem, spec.config))

    def train(self, on_report: Callable[[Report], None], stop: Event, tell: Callable[[str], None]) -> Report | None:  # noqa: ARG002
        """See `FinalRun`; `stop` is obeyed after each report."""
        while not stop.is_set():
            report = self._trial.next_report()
            if report["status"] not in ("running", "complete"):
                raise UserError(f"the training ended in epoch {report['epoch']:.1f}: {report['status']}")
            on_report(report)
            self._trial.known = max(self._trial.known, report["resource"])
            if report["status"] == "complete":
                content = {"config": self._spec.config, "provenance": self._spec.provenance}
                write_json(self._spec.folder / "config.json", content)
                return report
        return None

    def close(self) -> None:
        """See `FinalRun`."""
        self._trial.close()
        self._worker.close()
