"""A final run writes the encoder that was judged."""

from pathlib import Path
from threading import Event

import pytest
from safetensors.torch import load_file

from tests.trainable.small import SMALL, assert_equal_tensors
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.config import EvaluationConfig
from trainable.model.encoder import load_encoder
from trainable.trial.final_run import SaltFinal
from trainable.worker import FinalSpec


@pytest.mark.parametrize(("ema", "saved"), [(0.0, "model"), (0.5, "averaged")])
def test_the_encoder_has_the_weights_that_were_judged(store: ClipStore, tmp_path: Path, ema: float, saved: str) -> None:
    config, evaluation = SMALL.replace(ema=ema).to_dict(), EvaluationConfig(clips=8).to_dict()
    spec = FinalSpec(config, evaluation, reports_per_epoch=1, folder=tmp_path, threads=1, provenance={})
    final = SaltFinal(spec, store)
    assert final.train(lambda _: None, Event(), lambda _: None) is not None
    final.close()
    weights, encoder = load_file(spec.checkpoint), load_encoder(tmp_path).state_dict()
    assert_equal_tensors(encoder, {name: weights[f"{saved}.student.{name}"] for name in encoder})
