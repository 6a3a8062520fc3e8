"""What timm builds is described by its sizes, or refused where the encoder has no such blocks."""

import pytest
import timm
import torch

from tests.trainable.small import SMALL
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.model.architecture import architecture_of
from trainable.model.student import check_student


def test_the_sizes_are_those_of_the_student_and_its_view() -> None:
    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_clip_224", pretrained=False)
    described = architecture_of(vit.blocks, View(8, 64, 16, 2))
    sizes = (described.num_frames, described.image_size, described.patch_size, described.tubelet_size)
    assert sizes == (8, 64, 16, 2)
    assert (described.hidden_size, described.num_hidden_layers, described.num_attention_heads) == (768, 12, 12)
    assert (described.intermediate_size, described.hidden_act, described.layer_norm_eps) == (3072, "gelu", 1e-5)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("vit_dwee_patch16_reg1_gap_256", "DiffAttention"),
        ("vit_base_patch16_rpn_224", "ResPostBlock"),
        ("aimv2_large_patch14_224", "SwiGLU"),
        ("eva02_tiny_patch14_224", ""),
    ],
)
def test_other_blocks_are_refused_before_anything_is_trained(name: str, part: str) -> None:
    words = rf"^student = '{name}': must be a plain Vision Transformer, such as vit_base_patch16_224.*{part}$"
    with pytest.raises(ConfigError, match=words):
        check_student(SMALL.replace(student=name, student_dim=None))
