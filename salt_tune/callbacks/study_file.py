"""The file of an Optuna study: written trial by trial, and anew in its place where it lacks something.

Any process may have it open. So its content is replaced, and not the file: a dashboard that has it open sees the new
one. Only where a reader locks it, another file takes its place.
"""

import contextlib
import json
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import orm, text
from sqlalchemy.pool import StaticPool

from salt_tune.ui.console import console
from salt_tune.ui.full_disk import RESUME, comes_from_full_disk, no_space

LOCKED_SECONDS: Final = 0.5  # that a write waits for a reader
RETRY_SECONDS: Final = 10.0  # after which a file that could not be written is written anew
RETRY_SHARE: Final = 20  # of the time that writing it anew takes, at least, lies between two tries
LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class StudyFile:
    """Writes one SQLite file, and bears whatever becomes of it: one warning says so, and it is written anew later.

    Args:
        path: the file; nothing is written until `show`.
        fill: writes all that is known into an empty storage.
    """

    def __init__(self, path: Path, fill: Callable[[RDBStorage], None]) -> None:
        self._path, self._fill = path, fill
        self._storage: RDBStorage | None = None  # None: the file lacks something
        self._inode = 0
        self._retry_at = math.inf  # until it is shown first
        self._warned = False

    def show(self) -> None:
        """Writes all that is known, in place of whatever is there, even of what a killed process left behind."""
        started = time.monotonic()
        self._let_go()
        try:
            self._write_anew()
        except Exception as error:  # as in `write`
            self._give_up(error)
        took = time.monotonic() - started
        self._retry_at = time.monotonic() + max(RETRY_SECONDS, RETRY_SHARE * took)

    def write(self, change: Callable[[RDBStorage], None]) -> None:
        """Changes the file; where it lacks something already, it is written anew, now or later."""
        if self._storage is None:
            if time.monotonic() >= self._retry_at:
                self.show()
            return
        try:
            if not self._is_there():  # SQLite would write to what is left of it
                raise FileNotFoundError("it was deleted or replaced")
            change(self._storage)
        except Exception as error:  # whatever became of a file that anybody may open
            self._give_up(error)

    def close(self) -> None:
        """Lets go of the file, after it has been written anew where it lacks something."""
        if self._storage is None or not self._is_there():
            self.show()
        self._let_go()

    def _write_anew(self) -> None:
        self._remove_temporary()
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        storage = _storage(lambda: memory, poolclass=StaticPool)
        try:
            self._fill(storage)
            self._replace_content(memory)
        finally:
            storage.engine.dispose()
            memory.close()
        self._inode = self._path.stat().st_ino
        self._storage = _storage(lambda: _connect(self._path))

    def _replace_content(self, memory: sqlite3.Connection) -> None:
        if self._path.is_file():
            try:
                _copy(memory, self._path)
                return
            except sqlite3.DatabaseError:  # a reader locks it, or it is none: another file takes its place
                pass
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        _copy(memory, temporary)
        # SQLite would undo in the new file what this one says of the old one.
        self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        temporary.replace(self._path)

    def _is_there(self) -> bool:
        return self._path.exists() and self._path.stat().st_ino == self._inode

    def _remove_temporary(self) -> None:
        for rest in self._path.parent.glob(f".{self._path.name}.tmp*"):
            rest.unlink()

    def _give_up(self, error: Exception) -> None:
        """Leaves the file as it is, for now."""
        self._let_go()
        self._retry_at = time.monotonic() + RETRY_SECONDS
        with contextlib.suppress(OSError):  # it takes room that may be what is wanted
            self._remove_temporary()
        if not self._warned:
            self._warned = True
            wrapped = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
            cause = getattr(wrapped, "orig", None) or wrapped or error
            reason = " ".join(str(cause).split()) or type(cause).__name__
            if comes_from_full_disk(cause, self._path.parent):
                reason = f"{no_space(RESUME)} should it stop"
            console.warn(
                f"{self._path}: cannot be written: {reason}; "
                "the search goes on without it, and writes it anew when it can"
            )

    def _let_go(self) -> None:
        if self._storage is not None:
            self._storage.engine.dispose()
            self._storage = None


def add_trials(storage: RDBStorage, study: int, trials: Sequence[FrozenTrial]) -> list[int]:
    """Adds trials to a study that has none, in one transaction.

    These are the rows of `RDBStorage.create_new_trial`, which asks the database before each of them: for 1,000 trials
    that took twenty times as long.

    Args:
        storage: has the study.
        study: its number there.
        trials: in order.

    Returns:
        Their numbers there.
    """
    with orm.Session(storage.engine) as session, session.begin():
        rows = [_row(study, number, trial) for number, trial in enumerate(trials)]
        session.add_all(rows)
        session.flush()
        return [row.trial_id for row in rows]


def _row(study: int, number: int, trial: FrozenTrial) -> models.TrialModel:
    row = models.TrialModel(
        study_id=study,
        number=number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
    )
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        row.values.append(models.TrialValueModel(objective=objective, value=stored, value_type=kind))
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        row.params.append(
            models.TrialParamModel(
                param_name=name,
                param_value=distribution.to_internal_repr(value),
                distribution_json=distribution_to_json(distribution),
            )
        )
    for key, value in trial.user_attrs.items():
        row.user_attributes.append(models.TrialUserAttributeModel(key=key, value_json=json.dumps(value)))
    for step, value in trial.intermediate_values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        row.intermediate_values.append(
            models.TrialIntermediateValueModel(step=step, intermediate_value=stored, intermediate_value_type=kind)
        )
    return row


def set_state(storage: RDBStorage, trial: int, state: optuna.trial.TrialState) -> None:
    """Changes the state of a trial that has not ended; Optuna itself would forget when it began."""
    with storage.engine.begin() as connection:
        connection.execute(
            text("UPDATE trials SET state = :state WHERE trial_id = :trial"), {"state": state.name, "trial": trial}
        )


def amend(
    storage: RDBStorage, trial: int, value: float, state: optuna.trial.TrialState, attributes: Mapping[str, Any]
) -> None:
    """Changes a trial that has ended, which Optuna itself refuses.

    Args:
        storage: has the trial.
        trial: its number there.
        value: of the objective.
        state: another one of those that have ended.
        attributes: of its user attributes those that change.
    """
    row = {"trial": trial, "value": value, "state": state.name}
    with storage.engine.begin() as connection:
        connection.execute(text("UPDATE trials SET state = :state WHERE trial_id = :trial"), row)
        connection.execute(
            text("UPDATE trial_values SET value = :value WHERE trial_id = :trial AND objective = 0"), row
        )
        for key, content in attributes.items():
            row = {"trial": trial, "key": key, "content": json.dumps(content)}
            connection.execute(text("DELETE FROM trial_user_attributes WHERE trial_id = :trial AND key = :key"), row)
            connection.execute(
                text("INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (:trial, :key, :content)"),
                row,
            )


def _copy(memory: sqlite3.Connection, path: Path) -> None:
    """Makes a file's content that of a database, in one transaction: others see the old one or the new one.

    Raises:
        sqlite3.OperationalError: another process locks it.
    """
    until = time.monotonic() + LOCKED_SECONDS

    def give_up(status: int, _remaining: int, _pages: int) -> None:
        if status in LOCKED and time.monotonic() > until:  # SQLite itself would wait for ever
            raise sqlite3.OperationalError("database is locked")

    with contextlib.closing(_connect(path)) as target:
        memory.backup(target, progress=give_up, sleep=LOCKED_SECONDS / 10)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCKED_SECONDS, check_same_thread=False)
    # Does not wait for the disk: a killed process leaves the file whole, and after a power cut it is written anew.
    connection.execute("PRAGMA synchronous=OFF")
    return connection


def _storage(connect: Callable[[], sqlite3.Connection], **more: Any) -> RDBStorage:
    # Not by a URL with the path in it, which may hold a question mark or a brace.
    return RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect, **more})
