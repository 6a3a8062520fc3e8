"""The search as an Optuna study in the run directory, to be looked at while it runs (`optuna-dashboard`).

Nothing is ever read from it: the journal is what a search remembers, and a resumed one writes its study anew.
"""

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import optuna
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from salt_tune.draws import fits
from salt_tune.searcher import Proposal
from salt_tune.space import SearchSpace
from trainable.errors import UserError

LOCKED_SECONDS = 30  # that a write waits for a reader
STATES = {
    "finished": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.FAIL,
    "out_of_memory": TrialState.FAIL,
    "failed": TrialState.FAIL,
}


class StudyView:
    """Writes an Optuna study, which any process can load: `optuna.load_study(storage="sqlite:///...", study_name=...)`.

    The study minimises the score. Its attributes `objective` and `mode` say what that is made of; `resource` and
    `points` what its steps are: step n is the n-th of `points`. Trials have the attributes `trial` (the id), `seed`,
    `fixed` (all hyperparameters that are no parameters here), `replicate_of`, and in the end `state` and `error`. Who
    failed, diverged or ran out of memory is FAIL, who is paused RUNNING.

    All methods raise `UserError` where the file cannot be written.
    """

    def __init__(self, path: Path, name: str, space: SearchSpace) -> None:
        self._path = path
        self._distributions = {name: parameter.distribution() for name, parameter in space.parameters.items()}
        self._steps = {point: step for step, point in enumerate(space.schedule.report_points())}
        self._numbers: dict[str, int] = {}  # trial -> its number in the storage
        self._ended: set[str] = set()
        with _as_user_errors(self._path):
            self._storage = _open(path)
            self._study = self._storage.get_study_id_from_name(name)

    @classmethod
    def create(cls, path: Path, name: str, space: SearchSpace) -> "StudyView":
        """A new study, in place of whatever is there, even of what a killed process left half written.

        Args:
            path: the file.
            name: of the study.
            space: what is searched.
        """
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        attributes = {
            "objective": space.objective.name,
            "mode": space.objective.mode,
            "score": "lower is better; an objective that is to be high has its sign turned",
            "resource": space.schedule.resource,
            "points": [*space.schedule.report_points()],
        }
        with _as_user_errors(path):
            temporary = path.with_name(f".{path.name}.tmp")
            for rest in path.parent.glob(f".{path.name}.tmp*"):
                rest.unlink()
            storage = _open(temporary)
            study = storage.create_new_study([StudyDirection.MINIMIZE], name)
            for key, value in attributes.items():
                storage.set_study_user_attr(study, key, value)
            storage.engine.dispose()
            # SQLite would undo in the new file what this one says of the old one.
            path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
            temporary.replace(path)
        return cls(path, name, space)

    def start(self, proposal: Proposal) -> None:
        """A trial starts; of one that goes on, no notice is taken."""
        if proposal.id in self._numbers:
            return
        hyperparameters = proposal.config.to_dict()
        params = {
            name: value
            for name, value in proposal.parameters.items()
            if name in self._distributions and fits(self._distributions[name], value)
        }
        attributes = {
            "trial": proposal.id,
            "seed": proposal.seed,
            "fixed": {name: value for name, value in hyperparameters.items() if name not in params},
            "replicate_of": proposal.replicate_of,
        }
        trial = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            user_attrs={name: value for name, value in attributes.items() if value is not None},
        )
        with _as_user_errors(self._path):
            self._numbers[proposal.id] = self._storage.create_new_trial(self._study, trial)

    def report(self, trial_id: str, rung: float, score: float) -> None:
        """A trial has come to a point of the schedule."""
        if trial_id in self._ended:
            return
        with _as_user_errors(self._path):
            self._storage.set_trial_intermediate_value(self._numbers[trial_id], self._steps[rung], score)

    def end(self, trial_id: str, state: str, score: float, error: str | None = None) -> None:
        """A trial has ended; states that Optuna does not know leave it running.

        Args:
            trial_id: its id.
            state: "finished", "pruned", "diverged", "out_of_memory", "failed" or "interrupted".
            score: lower is better.
            error: one line, where it failed.
        """
        if trial_id in self._ended:
            return
        number, lost = self._numbers[trial_id], not math.isfinite(score)
        with _as_user_errors(self._path):
            for name, value in {"state": state, "error": error}.items():
                if value is not None:
                    self._storage.set_trial_user_attr(number, name, value)
            if state in STATES:
                ended = TrialState.FAIL if state == "finished" and lost else STATES[state]
                values = None if ended == TrialState.FAIL or lost else [score]
                self._storage.set_trial_state_values(number, ended, values)
                self._ended.add(trial_id)

    def close(self) -> None:
        """Lets go of the file."""
        self._storage.engine.dispose()


def _open(path: Path) -> RDBStorage:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=LOCKED_SECONDS, check_same_thread=False)
        # Does not wait for the disk: a killed process leaves the file whole, and after a power cut it is written anew.
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    # Not by a URL with the path in it, which may hold a question mark or a brace.
    return RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect})


@contextlib.contextmanager
def _as_user_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError) as error:
        wrapped = error if isinstance(error, SQLAlchemyError) else error.__cause__
        cause = getattr(wrapped, "orig", None) or wrapped or error
        raise UserError(f"{path}: cannot be written: {str(cause).splitlines()[0]}") from error
