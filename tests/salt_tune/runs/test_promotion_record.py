"""What a promotion keeps in its folder: its promise stays, and an error stays until a next attempt ends well."""

from pathlib import Path

import pytest

from analysis.errors import RunError
from analysis.run_directory.paths import FinalDirectory
from analysis.run_directory.progress import final_progress
from analysis.run_directory.promotions import read_promotion
from salt_tune.runs.promotion_record import error_kept, record_promotion
from tests.analysis.fake_run import write_final, write_run
from trainable.errors import UserError


@pytest.fixture
def final(tmp_path: Path) -> FinalDirectory:
    """A promoted run that was left at its sixth epoch."""
    return write_final(write_run(tmp_path, promoted=False), finished=False)


def test_a_promise_is_given_once(final: FinalDirectory) -> None:
    begun = read_promotion(final)
    assert begun is not None and begun["predicted"]["loss"] == 0.36
    later = {**begun, "predicted": None}
    assert record_promotion(final, lambda: later) == read_promotion(final) == begun
    final.reports.unlink()  # nothing was trained on it yet
    assert record_promotion(final, lambda: later) == read_promotion(final) == later


def test_a_damaged_promise_is_named(final: FinalDirectory) -> None:
    final.promotion.write_text("{")
    with pytest.raises(RunError, match=r"promotion\.json: cannot be read, and must be JSON"):
        read_promotion(final)
    final.promotion.write_text("{}")
    with pytest.raises(RunError, match=r"promotion\.json has no field trial"):
        read_promotion(final)


def test_an_error_is_kept_until_an_attempt_ends_well(final: FinalDirectory) -> None:
    def told() -> str | None:
        error: str | None = final_progress(final, running=False, killed=False)["error"]
        return error

    assert told() is None
    with pytest.raises(UserError), error_kept(final):
        raise UserError("the training diverged in epoch 4.5")
    assert told() == "the training diverged in epoch 4.5"
    assert final_progress(final, running=True, killed=False)["error"] is None
    with pytest.raises(KeyboardInterrupt), error_kept(final):
        raise KeyboardInterrupt
    assert told() == "the training diverged in epoch 4.5"
    with pytest.raises(ZeroDivisionError), error_kept(final):
        raise ZeroDivisionError("of its own")
    lines = (told() or "").splitlines()
    assert lines[0].startswith("Traceback") and lines[-1] == "ZeroDivisionError: of its own"
    with error_kept(final):
        pass
    assert told() is None
