"""Which trials keep their checkpoints."""

from collections.abc import Container, Mapping

from analysis.run_directory.paths import RunDirectory
from analysis.run_directory.ranking import complete
from analysis.run_directory.trials import Trial, TrialState
from salt_tune.report.finalists import MOST_TIED


def delete_checkpoints(
    run: RunDirectory,
    trials: Mapping[str, Trial],
    states: Container[TrialState] = (),
    best: Container[str] | None = None,
) -> None:
    """Deletes the checkpoints of trials that neither go on nor may turn out to be the best.

    Args:
        run: their run.
        trials: all of them; other files stay.
        states: of trials that go on.
        best: trials that may be the best; None: the first of those that are complete, as many as may be tied.
    """
    if best is None:
        best = [trial.id for trial in complete(trials.values())[:MOST_TIED]]
    for path in run.checkpoints.glob("*.safetensors"):
        trial = trials.get(path.stem)
        if trial and trial.state not in states and trial.id not in best:
            path.unlink(missing_ok=True)
