"""What an option does to the panel: its interval holds as often as it says, and a small experiment goes on."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.step_options import main, table
from benchmarks.training_step.effects import effects, paired
from benchmarks.training_step.judged import BASE
from benchmarks.transfer.records import Record
from trainable.data.store.clip_store import ClipStore

SPACE = """
name: small
fixed: {student: vit_tiny_patch16_224, student_dim: 64, student_depth: 1, predictor_dim: 64, predictor_depth: 1,
        batch_size: 8, lr_schedule: wsd, warmup_steps: 2, ema: 0.1}
parameters: {lr: {type: log_uniform, low: 1e-4, high: 1e-2}}
start_from: [{lr: 3e-4}]
evaluation: {panel_clips: 16}
schedule: {epochs: 1}
trials: 1
"""
OPTIONS = ["predict_share 0.25", "gradient checkpointing"]


@pytest.mark.parametrize(("of_seeds", "of_clips"), [(1.0, 0.0), (0.0, 1.0), (0.3, 1.0)])
def test_intervals_count_seeds_and_clips(of_seeds: float, of_clips: float) -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        seeds, clips = rng.normal(0, of_seeds, (3, 1)), rng.normal(0, of_clips, (1, 60))
        found = paired(0.5 + seeds + clips + rng.normal(0, 0.1, (3, 60)))
        inside += found.low <= 0.5 <= found.high
    assert inside / 1000 > 0.935


def test_an_interval_is_no_wider_than_it_must_be() -> None:
    rng = np.random.default_rng(0)
    found = paired(0.5 + rng.normal(0, 0.1, (3, 400)))
    assert found.low > 0.45 and found.high < 0.55


def record(option: str, seed: int, loss: float, right: list[float] | None = None) -> Record:
    return {
        "option": option,
        "seed": seed,
        "clip_losses": [loss, loss + 0.2],
        "right": right or [1.0, 0.5],
        "effective_rank": 4.0 + loss,
    }


def test_differences_are_those_of_the_same_seed_and_clip() -> None:
    records = [record(BASE.name, seed, seed) for seed in range(3)]
    records += [record("other", seed, seed + 0.25, [0.5, 1.0]) for seed in range(3)]
    found = effects(records, "other")
    assert isinstance(found, dict)
    assert (found["val_loss"].mean, found["val_loss"].standard_error) == pytest.approx((0.25, 0))
    assert found["probe"].mean == 0 and found["probe"].standard_error > 0.4
    assert found["effective_rank"].mean == pytest.approx(0.25)


def test_why_there_is_no_difference_is_said() -> None:
    records = [record(BASE.name, seed, seed) for seed in range(3)]
    assert effects([*records, record("other", 0, 1.0)], "other") == "fewer than two seeds"
    failed = [{"option": "other", "seed": 1, "failed": "no kernel"}]
    assert effects(records + failed, "other") == "seed 1 failed: no kernel"
    row = table({"other": {"why": "needs CUDA"}}, {}).splitlines()[-1]
    assert row == "| other |  | needs CUDA |  |  |"


def test_a_small_experiment_goes_on_where_it_was(
    store: ClipStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    words = ["--store", store.path, "--space", tmp_path / "space.yaml", "--out", tmp_path, "--processes", 1]
    words += ["--options", *OPTIONS]
    main([*map(str, words), "--seeds", "1"])
    (file,) = tmp_path.glob("step-options-*.jsonl")
    before = file.read_text().splitlines()
    assert "| predict_share 0.25 | " in capsys.readouterr().out
    file.write_text("".join(f"{line}\n" for line in before[:-1]))  # the last training was cut off
    main([*map(str, words), "--seeds", "2"])
    after = file.read_text().splitlines()
    assert after[: len(before) - 1] == before[:-1] and len(after) == 1 + 2 + 2 * 3
    assert json.loads(after[len(before) - 1]) | {"seconds": 0} == json.loads(before[-1]) | {"seconds": 0}
    rows = json.loads(next(tmp_path.glob("*.json")).read_text())["options"]
    assert list(rows) == OPTIONS
    assert rows["gradient checkpointing"]["val_loss"] == pytest.approx([0, 0, 0], abs=1e-5)
    assert rows["predict_share 0.25"]["val_loss"][0] != 0


def test_unknown_options_are_refused(store: ClipStore, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--store", str(store.path), "--options", "faster"])
    assert ended.value.code == 2
    assert "--options = 'faster': must be of 'precision bf16', 'predict_share 0.5', " in capsys.readouterr().err
