"""What becomes of a trial after its report."""

from enum import Enum, auto

from analysis.run_directory.trials import Trial, TrialState


class Decision(Enum):
    """What the worker of a trial does after a report."""

    CONTINUE = auto()  # it trains on
    PAUSE = auto()  # the trial may go on later, from its checkpoint
    STOP = auto()  # the trial has ended
    RESTART = auto()  # the trial ran out of memory, and `Controller.next` gives it out once more

    @classmethod
    def of(cls, trial: Trial) -> "Decision":
        """Returns what the state of a trial means for its worker."""
        return {TrialState.RUNNING: cls.CONTINUE, TrialState.PAUSED: cls.PAUSE}.get(trial.state, cls.STOP)
