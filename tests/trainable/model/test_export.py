"""An exported program computes what the encoder does, for any number of clips."""

from pathlib import Path

import pytest
import torch

import trainable
from tests.small_encoder import save_small_encoder
from trainable.errors import CheckpointError, UserError


def test_the_program_agrees_with_the_encoder_for_any_number_of_clips(tmp_path: Path) -> None:
    folder = save_small_encoder(tmp_path / "model")
    trainable.export_encoder(folder, tmp_path / "encoder.pt2")
    program, encoder = torch.export.load(tmp_path / "encoder.pt2").module(), trainable.load_encoder(folder)
    for count in (1, 2, 5):
        clips = torch.randint(0, 256, (count, 8, 32, 32, 3), dtype=torch.uint8)
        with torch.no_grad():
            tokens, pooled = program(clips)
            expected = encoder(clips)
        torch.testing.assert_close(tokens, expected.tokens, atol=1e-4, rtol=0)
        torch.testing.assert_close(pooled, expected.pooled, atol=1e-4, rtol=0)
    with torch.no_grad():  # nothing of the tracing is kept
        assert encoder(clips).tokens.isfinite().all()


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    folder = save_small_encoder(tmp_path / "model")
    with pytest.raises(UserError, match=r"encoder\.onnx: must end in \.pt2"):
        trainable.export_encoder(folder, tmp_path / "encoder.onnx")
    with pytest.raises(CheckpointError, match="no encoder that can be loaded"):
        trainable.export_encoder(tmp_path, tmp_path / "encoder.pt2")
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
