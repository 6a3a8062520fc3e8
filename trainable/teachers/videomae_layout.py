"""The members of the VideoMAE family that serve as teachers: sizes, view and published tensors. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trainable.data.video.view import View
from trainable.errors import ConfigError, UnknownNameError
from trainable.registry import nearest


@dataclass(frozen=True)
class Size:
    """Size of an encoder, as the authors' model code has it (OpenGVLab/VideoMAEv2, models/modeling_finetune.py).

    Attributes:
        dim: width of a token.
        depth: number of blocks.
        heads: attention heads of a block.
        hidden: width of the MLP's hidden layer.
        patch: height and width of a patch in pixels.
    """

    dim: int
    depth: int
    heads: int
    hidden: int
    patch: int = 16


_SIZES = {
    "small": Size(384, 12, 6, 1536),
    "base": Size(768, 12, 12, 3072),
    "large": Size(1024, 24, 16, 4096),
    "huge": Size(1280, 32, 16, 5120),
    "giant": Size(1408, 40, 16, 6144, patch=14),
}

VIDEOMAE_TEACHERS: Mapping[str, Size] = MappingProxyType(
    {f"videomae_{name}": size for name, size in _SIZES.items() if name != "giant"}
    | {f"videomaev2_{name}": size for name, size in _SIZES.items()}
)
"""The names of the teachers, and their sizes. The two generations differ in their weights only."""

Shape = tuple[int, ...]

QKV = ("query", "key", "value")
# Tensors of a block that the authors' code, transformers and timm have alike, up to the name.
AS_THEY_ARE = tuple(
    f"{module}.{kind}"
    for module in ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    for kind in ("weight", "bias")
)
# From the authors' names to those of transformers, in this order.
_TRANSFORMERS = (
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("blocks.", "layer."),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("attn.proj", "attention.output.dense"),
    ("attn.", "attention.attention."),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)


def teacher_size(name: str) -> Size:
    """Returns the size of a teacher.

    Raises:
        ConfigError: there is no such teacher.
    """
    if name not in VIDEOMAE_TEACHERS:
        raise UnknownNameError("teacher", name, nearest(name, tuple(VIDEOMAE_TEACHERS)))
    return VIDEOMAE_TEACHERS[name]


def teacher_view(name: str) -> View:
    """Returns the view that a teacher was trained with: 16 frames of 224 x 224 pixels, in tubelets of 2.

    Raises:
        ConfigError: there is no such teacher.
    """
    return View(frames=16, size=224, patch=teacher_size(name).patch, tubelet=2)


def check_view(name: str, view: View) -> None:
    """Refuses the view of a store that gives other tokens than the teacher's.

    Args:
        name: of the teacher.
        view: of the store.

    Raises:
        ConfigError: there is no such teacher, or its frames, size, patch or tubelet are others.
    """
    needed = teacher_view(name)
    for field in ("frames", "size", "patch", "tubelet"):
        value, right = getattr(view, field), getattr(needed, field)
        if value != right:
            raise ConfigError(field, value, f"must be {right} for the teacher {name}")


def tensor_shapes(name: str, *, transformers: bool) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Lists the tensors of a teacher's encoder, as files name them behind their prefixes.

    Args:
        name: of the teacher.
        transformers: in the naming of Hugging Face's transformers, not in the authors'.

    Returns:
        The shapes of the tensors that must be there, and of those that may.

    Raises:
        ConfigError: there is no such teacher.
    """
    size = teacher_size(name)
    dim, hidden, patch = size.dim, size.hidden, size.patch
    qkv: dict[str, Shape] = {f"attn.{part}.weight": (dim, dim) for part in QKV}
    block: dict[str, Shape] = {
        **(qkv if transformers else {"attn.qkv.weight": (3 * dim, dim)}),
        **dict.fromkeys(("attn.q_bias", "attn.v_bias", *AS_THEY_ARE), (dim,)),
        "attn.proj.weight": (dim, dim),
        "mlp.fc1.weight": (hidden, dim),
        "mlp.fc1.bias": (hidden,),
        "mlp.fc2.weight": (dim, hidden),
    }
    required: dict[str, Shape] = {"patch_embed.proj.weight": (dim, 3, 2, patch, patch), "patch_embed.proj.bias": (dim,)}
    required |= {f"blocks.{layer}.{part}": shape for layer in range(size.depth) for part, shape in block.items()}
    optional: dict[str, Shape] = {"pos_embed": (1, teacher_view(name).tokens, dim)}
    if transformers:
        optional |= {f"blocks.{layer}.attn.k_bias": (dim,) for layer in range(size.depth)}
        required = {transformers_name(key): shape for key, shape in required.items()}
        optional = {transformers_name(key): shape for key, shape in optional.items()}
    return required, optional


def transformers_name(name: str) -> str:
    """Returns the name that transformers gives to the tensor that the authors call `name`."""
    for authors, theirs in _TRANSFORMERS:
        name = name.replace(authors, theirs)
    return name
