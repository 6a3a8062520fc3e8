"""What a step is said to compute is what the formulas of its layers say, and a checkpoint is as large as announced."""

from pathlib import Path
from typing import Any

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.trainable.conftest import MakeTraining
from tests.trainable.small import SMALL
from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.model.flops import measure_model
from trainable.model.predictor import VJepa
from trainable.train.checkpoint import save_checkpoint
from trainable.trial_process import check_models, measure_models

VIEW, TARGET_DIM = View(frames=8, size=48, patch=8, tubelet=2), 40

CONFIGS = {
    "small": SMALL,
    "one clip": SMALL.replace(batch_size=1),
    "deep": SMALL.replace(student_depth=3, predictor_depth=4),
    "narrow predictor, many heads": SMALL.replace(student_dim=192, predictor_dim=96, predictor_num_heads=8),
    "little hidden": SMALL.replace(mask_ratio=0.25, masking="random", loss="l1"),
    "long blocks": SMALL.replace(masking="multiblock_long"),
    "two masks": SMALL.replace(masking="multiblock_both"),
    "a part": SMALL.replace(predict_share=0.3),
    "context": SMALL.replace(context_weight=0.2),
    "all three": SMALL.replace(masking="multiblock_both", predict_share=0.01, context_weight=2, batch_size=3),
    "recomputed": SMALL.replace(grad_checkpointing=True, precision="bf16"),
    "the seed": TrialConfig(),
}


def blocks_forward(depth: int, clips: int, tokens: int, width: int) -> int:
    """Transformer blocks with MLPs of four times the width; a product of (n, k) and (k, m) takes 2 * n * k * m."""
    qkv = 2 * tokens * width * 3 * width
    scores = 2 * tokens * tokens * width  # all heads together are as wide as the block
    weighted_sum = 2 * tokens * tokens * width
    projection = 2 * tokens * width * width
    mlp = 2 * (2 * tokens * width * 4 * width)
    return depth * clips * (qkv + scores + weighted_sum + projection + mlp)


def step_by_hand(config: TrialConfig, width: int, depth: int) -> int:
    clips, predictor_width = config.batch_size, config.predictor_dim
    if config.masking == "multiblock_both":
        clips *= 2  # each is encoded under both masks
    masked = VIEW.masked_per_slot(config.mask_ratio) * VIEW.grid[0]
    visible, predicted = VIEW.tokens - masked, max(1, round(config.predict_share * masked))
    patch_embedding = 2 * clips * visible * VIEW.token_values * width
    student = blocks_forward(depth, clips, visible, width)
    predictor_embedding = 2 * clips * visible * width * predictor_width
    predictor = blocks_forward(config.predictor_depth, clips, visible + predicted, predictor_width)
    projection = 2 * clips * (predicted + (visible if config.context_weight else 0)) * predictor_width * TARGET_DIM
    # Backward: one product for the gradient of the input and one for that of the weights (or of both factors of
    # attention); but nobody asks for the gradient of the pixels.
    return 2 * patch_embedding + 3 * (student + predictor_embedding + predictor + projection)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_step_computes_what_the_formulas_say(config: TrialConfig) -> None:
    width, depth = config.student_dim or 768, config.student_depth or 12
    size = measure_model(config, VIEW, TARGET_DIM)
    assert size.tflop_per_step == pytest.approx(step_by_hand(config, width, depth) / 1e12, rel=1e-12)


@pytest.mark.parametrize(
    "changes", [{}, {"student_depth": 2, "predictor_depth": 3, "mask_ratio": 0.5, "batch_size": 5}]
)
def test_a_real_step_is_counted_as_announced(make_training: MakeTraining, changes: dict[str, Any]) -> None:
    training = make_training(**changes)
    size = measure_model(training.config, training.store.view, training.target_dim)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        training.train_to(1)
    assert counter.get_total_flops() / 1e12 == pytest.approx(size.tflop_per_step, rel=1e-12)


@pytest.mark.parametrize("context_weight", [0.0, 0.5])
def test_parameters_are_those_of_the_model(context_weight: float) -> None:
    config = SMALL.replace(context_weight=context_weight)
    model = VJepa(config, VIEW, TARGET_DIM)
    size = measure_model(config, VIEW, TARGET_DIM)
    assert size.student_parameters == sum(p.numel() for p in model.student.parameters())
    assert size.predictor_parameters == sum(p.numel() for p in model.predictor.parameters())


@pytest.mark.parametrize("changes", [{"predictor_depth": 1}, {"predictor_depth": 6}, {"context_weight": 0.5}], ids=str)
def test_a_checkpoint_takes_no_more_than_announced(
    make_training: MakeTraining, tmp_path: Path, changes: dict[str, Any]
) -> None:
    training = make_training(**changes)
    training.train_to(1)
    save_checkpoint(tmp_path / "checkpoint", training, {"report": {f"field {number}": 0.123 for number in range(50)}})
    size = measure_model(training.config, training.store.view, training.target_dim)
    taken = (tmp_path / "checkpoint").stat().st_size
    assert 0.9 * size.checkpoint_bytes < taken <= size.checkpoint_bytes


def test_configurations_are_measured_in_order_and_the_wrong_ones_are_named() -> None:
    configs = [SMALL, SMALL.replace(predictor_depth=3)]
    sizes = measure_models("salt", [config.to_dict() for config in configs], (VIEW, TARGET_DIM))
    assert sizes == [measure_model(config, VIEW, TARGET_DIM) for config in configs]
    wrong = {**SMALL.to_dict(), "student": "vit_tinny_patch16_224"}
    measured, unknown, impossible = measure_models("salt", [SMALL.to_dict(), wrong, {"lr": -1}], (VIEW, TARGET_DIM))
    assert measured == sizes[0]
    assert isinstance(unknown, ConfigError) and isinstance(impossible, ConfigError)
    assert str(unknown).startswith("student = 'vit_tinny_patch16_224': is no timm model; did you mean 'vit_tiny_patch")
    assert str(impossible) == "lr = -1.0: must be above 0 and finite"


def test_the_first_student_that_cannot_be_built_is_named() -> None:
    right, wrong = SMALL.to_dict(), {**SMALL.to_dict(), "student_dim": None, "student_heads": 5}
    assert check_models("salt", [right, right]) is None
    number, error = check_models("salt", [right, wrong, {**wrong, "student": "resnet18"}]) or (None, None)
    assert (number, str(error)) == (1, "student_heads = 5: must divide the width 192 of vit_tiny_patch16_224")
