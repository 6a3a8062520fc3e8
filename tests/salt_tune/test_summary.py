"""The end of a search, and the card of its encoder, say what a loss is worth."""

import json
from pathlib import Path
from typing import Any

import pytest

from salt_tune.card import write_card
from salt_tune.run import RunDirectory
from salt_tune.summary import print_summary, standing, without_learning
from tests.small_store import build_store
from trainable.config import TrialConfig
from trainable.references import References

REFERENCES = References(training_mean=0.652, position_mean=0.61, nearest_visible=0.702)


def summary(val_loss: float | None) -> dict[str, Any]:
    """A summary of one trial, as far as it is printed."""
    trial = {
        "id": "T0",
        "state": "failed" if val_loss is None else "finished",
        "parameters": {"lr": 1e-3},
        "epochs": 2.0,
        "val_loss": val_loss,
        "val_loss_se": val_loss and 0.01,
        "val_r2": val_loss and 1 - val_loss / REFERENCES.training_mean,
        "probe_top1": None,
        "effective_rank": None,
        "rank": None if val_loss is None else 1,
        "error": None,
        "student_parameters": 1000,
    }
    return {
        "references": REFERENCES.to_dict(),
        "parameters": ["lr"],
        "trials": [trial],
        "best": None if val_loss is None else "T0",
        "against_runner_up": None,
        "epochs_trained": 2.0,
        "epochs_without_pruning": 2.0,
        "training_seconds": 1.0,
        "wall_seconds": 1.0,
    }


LINE = "Without learning: training mean 0.6520, mean per position 0.6100, nearest visible token 0.7020"


def printed(val_loss: float | None, run: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_summary(RunDirectory(run), summary(val_loss))
    return [text.strip() for text in capsys.readouterr().out.splitlines()]


def test_a_winner_is_set_beside_what_needs_no_learning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(0.4697, tmp_path, capsys)
    after = lines[lines.index("Winner: T0  lr 0.001") + 2 :]
    assert after[:2] == [LINE, "T0 is 23.0% below the best of them"]


def test_a_winner_that_is_no_better_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for val_loss in (0.61, 0.63, 9.0):
        verdict = "T0 is not better than the mean per position, which takes no training"
        assert verdict in printed(val_loss, tmp_path, capsys)


def test_without_a_winner_the_references_stand_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(None, tmp_path, capsys)
    assert LINE in lines
    assert not any("below" in text or "not better" in text for text in lines)


def test_a_loss_stands_against_the_best_reference() -> None:
    assert standing(0.61 * 0.5, REFERENCES) == "50.0% below the best of them"
    assert standing(0.5, References(0.4, 0.6, 0.7)).startswith("not better than the training mean")
    assert without_learning(References(11.5, 11.5, 11.5)).count("11.5000") == 3


def test_the_card_says_what_a_loss_is_worth(tmp_path: Path, videos: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    final = run.final("T0", 4)
    final.path.mkdir(parents=True)
    final.config.write_text(json.dumps({"config": TrialConfig(epochs=4).to_dict()}))
    last = {"val_loss": 0.305, "val_r2": 0.5, "effective_rank": 7.0}
    write_card(final, summary(0.5)["trials"][0], last, build_store(tmp_path / "store", videos), "run", REFERENCES)
    card = final.card.read_text()
    assert "| training mean | 0.652 |\n| mean per position | 0.61 |\n| nearest visible token | 0.702 |\n" in card
    assert "the val_loss of this encoder and its predictor is 50.0% below the best of them." in card
