"""A final run that two processes share, as `promote --workers 2` has them: real processes, without Ray."""

import json
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch.distributed as dist

from tests.forked import fork_server
from tests.trainable.small import SMALL
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.model.encoder import load_encoder
from trainable.trial.final_run import SaltFinal
from trainable.worker import FinalSpec

TOLD = ("epoch", "step", "val_loss", "val_r2", "train_loss", "grad_norm", "clipped_share", "lr")
COUNT = 2


def _train(rank: int, spec: FinalSpec, store: Path) -> None:
    if spec.workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{spec.folder / 'group'}", rank=rank, world_size=COUNT)
    final, reports = SaltFinal(replace(spec, rank=rank), ClipStore.open(store)), []

    def on_report(report: dict[str, Any]) -> None:
        reports.append({name: report[name] for name in TOLD})

    last = final.train(on_report, Event(), lambda _: None)
    final.close()
    ended = None if last is None else {name: last[name] for name in TOLD if name in last}
    (spec.folder / f"{rank}.json").write_text(json.dumps({"last": ended, "reports": reports}))


def test_the_first_reports_for_both_what_one_would(store: ClipStore, tmp_path: Path) -> None:
    config = SMALL.replace(ema=0.3, epochs=3, batch_size=7).to_dict()
    told: dict[str, list[dict[str, Any]]] = {}
    for name, workers in (("alone", 1), ("shared", COUNT)):
        evaluation = EvaluationConfig(clips=8, panel_clips=16).to_dict()
        spec = FinalSpec(config, evaluation, 2, tmp_path / name, 1, {}, tmp_path / "baselines", workers=workers)
        spec.folder.mkdir()
        processes = [fork_server().Process(target=_train, args=(rank, spec, store.path)) for rank in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(300)
            assert process.exitcode == 0
        told[name] = [json.loads((spec.folder / f"{rank}.json").read_text()) for rank in range(workers)]
    (alone,), (first, second) = told["alone"], told["shared"]
    assert len(first["reports"]) == 6 and first["last"] == first["reports"][-1]
    assert second == {"last": {}, "reports": []}
    for one, other in zip(first["reports"], alone["reports"], strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert load_encoder(tmp_path / "shared").dim == load_encoder(tmp_path / "alone").dim
