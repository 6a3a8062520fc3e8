"""What a training step computes: the operations of student and predictor, counted without computing them.

PyTorch's counter watches a forward and a backward pass on the meta device, where tensors have shapes only. It counts
the matrix products, a multiplication and an addition as two, and leaves out what is far less: norms, activations, the
loss, the optimiser. Attention takes its plain path there: the fused kernels' backward computes the scores again. How
fast a step is done must not change what it is worth. Checkpointed activations do not count twice either.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainable.config import TrialConfig
from trainable.data.video.view import View
from trainable.masking.masks import Masks
from trainable.model.predictor import VJepa
from trainable.model.size import ModelSize

COUNTED = ("student", "student_dim", "student_depth", "student_heads", "predictor_dim", "predictor_depth",
           "predictor_num_heads", "mask_ratio", "masking", "predict_share")  # fmt: skip

STATES = 3  # a checkpoint's float32 values of a parameter: the weight and AdamW's two moments; the averaged is one more
HEADER_BYTES = 1024  # of a checkpoint, at most: names and shapes of a parameter's weights, moments and step
FIXED_BYTES = 32 * 1024  # of a checkpoint, at most: state of the random numbers, configuration, report


def measure_model(config: TrialConfig, view: View, target_dim: int) -> ModelSize:
    """Measures parameters, operations of a step and bytes of a checkpoint; takes no memory to speak of.

    Raises:
        ConfigError: timm cannot build the student, or a mask leaves nothing to see or to predict.
    """
    counted = {name: getattr(config, name) for name in COUNTED}
    architecture = TrialConfig(**counted, context_weight=float(config.context_weight > 0), batch_size=1)
    size = _measure(architecture, view, target_dim, STATES + (config.ema > 0))
    return replace(size, tflop_per_step=size.tflop_per_step * config.batch_size)


@lru_cache
def _measure(config: TrialConfig, view: View, target_dim: int, states: int) -> ModelSize:
    """Measures the size of a model that is trained on one clip a step."""
    masks = Masks(view, config.masking, config.mask_ratio, config.seed, config.predict_share)
    rows, visible, asked = masks.per_clip, masks.visible_tokens, masks.predicted_tokens
    with torch.device("meta"):
        model = VJepa(config, view, target_dim)
        pixels = torch.empty(rows, visible, view.token_values, dtype=torch.uint8)
        tokens = [torch.empty(rows, count, dtype=torch.int64) for count in (visible, asked)]
    student, predictor = (sum(p.numel() for p in part.parameters()) for part in (model.student, model.predictor))
    tensors = sum(1 for _ in model.parameters())
    flops = 0
    for part, count, width in ((model.student, visible, model.student.dim),
                               (model.predictor, visible + asked, config.predictor_dim)):  # fmt: skip
        block, depth = part.blocks[0], len(part.blocks)
        part.blocks = part.blocks[:1]  # all compute the same: one is counted
        features = torch.empty(rows, count, width, device="meta", requires_grad=True)
        flops += (depth - 1) * _flops(partial(block, features))
    flops += _flops(partial(model, pixels, *tokens, context=config.context_weight > 0))
    return ModelSize(
        student_parameters=student,
        predictor_parameters=predictor,
        tflop_per_step=flops / 1e12,
        checkpoint_bytes=(student + predictor) * states * 4 + tensors * HEADER_BYTES + FIXED_BYTES,
    )


def _flops(forward: Callable[[], torch.Tensor]) -> int:
    """Counts the operations of a forward and a backward pass."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        forward().sum().backward()
    return int(counter.get_total_flops())
