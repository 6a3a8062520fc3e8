"""VideoMAE's encoders agree with the published equations, from every form in which their weights are released."""

import argparse
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file

from trainable.data.video.view import View
from trainable.errors import CheckpointError, ConfigError
from trainable.hashing import file_sha256
from trainable.teachers.videomae import VideoMaeTeacher
from trainable.teachers.videomae_layout import VIDEOMAE_TEACHERS, Size, check_view, teacher_view

StateDict = dict[str, torch.Tensor]

SMALL = VIDEOMAE_TEACHERS["videomae_small"]
TRANSFORMERS_BLOCK = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def published_shapes(size: Size) -> dict[str, tuple[int, ...]]:
    """The tensors of a fine-tuned model's encoder, as the authors name them."""
    dim, hidden = size.dim, size.hidden
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (dim, 3, 2, size.patch, size.patch),
        "patch_embed.proj.bias": (dim,),
    }
    for layer in range(size.depth):
        for name, shape in {
            "norm1.weight": (dim,),
            "norm1.bias": (dim,),
            "attn.q_bias": (dim,),
            "attn.v_bias": (dim,),
            "attn.qkv.weight": (3 * dim, dim),
            "attn.proj.weight": (dim, dim),
            "attn.proj.bias": (dim,),
            "norm2.weight": (dim,),
            "norm2.bias": (dim,),
            "mlp.fc1.weight": (hidden, dim),
            "mlp.fc1.bias": (hidden,),
            "mlp.fc2.weight": (dim, hidden),
            "mlp.fc2.bias": (dim,),
        }.items():
            shapes[f"blocks.{layer}.{name}"] = shape
    return shapes | {"fc_norm.weight": (dim,), "fc_norm.bias": (dim,)}


def blank(size: Size) -> StateDict:
    """Tensors of the published names and shapes that take no room in a file of `torch.save`."""
    return {name: torch.ones(1).expand(shape) for name, shape in published_shapes(size).items()}


def random_weights(size: Size) -> StateDict:
    """Weights under which every tensor matters: activations stay of order one, and no bias or gain is trivial."""
    generator = torch.Generator().manual_seed(0)

    def draw(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        values = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            return values / math.sqrt(math.prod(shape[1:]))
        return 0.3 * values + ("norm" in name and name.endswith("weight"))

    return {name: draw(name, shape) for name, shape in published_shapes(size).items()}


def random_clip() -> torch.Tensor:
    """uint8 frames of one clip, shape (frames, height, width, 3)."""
    return torch.randint(0, 256, (16, 224, 224, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def tokens_of(frames: torch.Tensor, patch: int = 16) -> torch.Tensor:
    return torch.from_numpy(View(patch=patch).to_tokens(frames.numpy()))[None]


def published_latents(weights: StateDict, size: Size, frames: torch.Tensor) -> torch.Tensor:
    """The published equations in plain tensor operations, to the residual stream after the last block."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    video = ((frames / 255 - mean) / std).permute(3, 0, 1, 2)[None]
    stride = (2, size.patch, size.patch)
    x = F.conv3d(video, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], stride=stride)
    x = x.flatten(2).transpose(1, 2)
    index, j = np.arange(x.shape[1])[:, None], np.arange(size.dim)
    table = index / 10000 ** (2 * (j // 2) / size.dim)
    table[:, 0::2], table[:, 1::2] = np.sin(table[:, 0::2]), np.cos(table[:, 1::2])
    x = x + torch.from_numpy(table).float()
    for layer in range(size.depth):
        block = {name: weights[f"blocks.{layer}.{name}"] for name in block_names()}
        x = x + attention(layer_norm(x, block["norm1.weight"], block["norm1.bias"]), block, size.heads)
        y = (
            layer_norm(x, block["norm2.weight"], block["norm2.bias"]) @ block["mlp.fc1.weight"].T
            + block["mlp.fc1.bias"]
        )
        y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
        x = x + y @ block["mlp.fc2.weight"].T + block["mlp.fc2.bias"]
    return x


def block_names() -> list[str]:
    return [name.removeprefix("blocks.0.") for name in published_shapes(SMALL) if name.startswith("blocks.0.")]


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def attention(x: torch.Tensor, block: StateDict, heads: int) -> torch.Tensor:
    bias = torch.cat([block["attn.q_bias"], torch.zeros_like(block["attn.v_bias"]), block["attn.v_bias"]])
    query, key, value = (
        part.reshape(*x.shape[:2], heads, -1).transpose(1, 2)
        for part in (x @ block["attn.qkv.weight"].T + bias).chunk(3, dim=-1)
    )
    shares = (query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])).softmax(dim=-1)
    mixed = (shares @ value).transpose(1, 2).flatten(2)
    return mixed @ block["attn.proj.weight"].T + block["attn.proj.bias"]


@pytest.fixture(scope="module")
def small() -> tuple[StateDict, torch.Tensor]:
    """Weights of a small encoder that float16 holds exactly, and the latents of `random_clip`."""
    weights = {name: tensor.half().float() for name, tensor in random_weights(SMALL).items()}
    return weights, published_latents(weights, SMALL, random_clip())


@pytest.mark.slow  # the smaller models have the same equations
def test_latents_of_the_base_model_are_those_of_the_published_equations(tmp_path: Path) -> None:
    size, weights = VIDEOMAE_TEACHERS["videomaev2_base"], random_weights(VIDEOMAE_TEACHERS["videomaev2_base"])
    assert (len(weights), sum(tensor.numel() for tensor in weights.values())) == (160, 86_227_200)
    path = tmp_path / "base.pth"
    torch.save({"module": weights | {"head.weight": torch.randn(710, 768), "head.bias": torch.randn(710)}}, path)
    teacher = VideoMaeTeacher("videomaev2_base", path, "cpu")
    latents = teacher.latents(tokens_of(random_clip()))
    expected = published_latents(weights, size, random_clip())
    assert 1 < expected.std() < 10
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=0)
    assert (latents.shape, latents.dtype, latents.requires_grad) == ((1, 1568, 768), torch.float32, False)
    assert (teacher.name, teacher.dim, teacher.sha256) == ("videomaev2_base", 768, file_sha256(path))


def finetuned(weights: StateDict, path: Path) -> Path:
    """As VideoMAEv2's distilled models: float16, under `module`, with a head."""
    head = {"head.weight": torch.zeros(710, SMALL.dim), "head.bias": torch.zeros(710)}
    torch.save({"module": {name: tensor.half() for name, tensor in (weights | head).items()}}, path / "model.pth")
    return path / "model.pth"


def safetensors(weights: StateDict, path: Path) -> Path:
    """As OpenGVLab's models on the Hugging Face Hub."""
    save_file({f"model.{name}": tensor for name, tensor in weights.items()}, path / "model.safetensors")
    return path / "model.safetensors"


def pretrained(weights: StateDict, path: Path) -> Path:
    """As the authors' pretraining saves: with the decoder, the optimiser's NumPy scalars and the arguments."""
    encoder = {f"module.encoder.{name.replace('fc_norm', 'norm')}": tensor for name, tensor in weights.items()}
    decoder = {
        "module.encoder.pos_embed": sinusoids(SMALL.dim),
        "module.decoder.blocks.0.attn.qkv.weight": torch.zeros(576, 192),
        "module.decoder.norm.weight": torch.zeros(192),
        "module.decoder.head.weight": torch.zeros(1536, 192),
        "module.encoder_to_decoder.weight": torch.zeros(192, 384),
        "module.mask_token": torch.zeros(1, 1, 192),
    }
    optimizer = {"state": {}, "param_groups": [{"lr": np.float64(1e-3), "params": [0]}]}
    rest = {"optimizer": optimizer, "epoch": 1599, "scaler": {"scale": 1.0}, "args": argparse.Namespace(lr=1e-3)}
    torch.save({"model": encoder | decoder, **rest}, path / "checkpoint.pth")
    return path / "checkpoint.pth"


def sinusoids(dim: int) -> torch.Tensor:
    angles = torch.arange(1568.0).double()[:, None] / 10000 ** (torch.arange(0, dim, 2).double() / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).reshape(1, 1568, dim).float()


def transformers(weights: StateDict, path: Path) -> Path:
    """As transformers 4 saves, and releases of transformers 5 that know the old names."""
    torch.save(transformers_names(weights), path / "pytorch_model.bin")
    return path / "pytorch_model.bin"


def transformers_separate(weights: StateDict, path: Path) -> Path:
    """As the first releases of transformers 5 save: a bias for each of query, key and value."""
    named = {}
    for name, tensor in transformers_names(weights).items():
        named[re.sub("(q|v)_bias", lambda found: {"q": "query", "v": "value"}[found[1]] + ".bias", name)] = tensor
        if name.endswith("q_bias"):
            named[name.replace("q_bias", "key.bias")] = torch.zeros_like(tensor)
    save_file(named, path / "model.safetensors")
    return path / "model.safetensors"


def transformers_names(weights: StateDict) -> StateDict:
    named = {"classifier.weight": torch.zeros(400, SMALL.dim), "classifier.bias": torch.zeros(400)}
    for name, tensor in weights.items():
        if name.startswith("patch_embed"):
            kind = name.rsplit(".", 1)[1]
            named[f"videomae.embeddings.patch_embeddings.projection.{kind}"] = tensor
        elif name.startswith("fc_norm"):
            named[name] = tensor
        else:
            layer, part = name.removeprefix("blocks.").split(".", 1)
            prefix = f"videomae.encoder.layer.{layer}."
            module, kind = part.rsplit(".", 1)
            if part == "attn.qkv.weight":
                for third, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    named[f"{prefix}attention.attention.{third}.weight"] = rows.clone()
            elif module == "attn":
                named[f"{prefix}attention.attention.{kind}"] = tensor
            else:
                named[f"{prefix}{TRANSFORMERS_BLOCK[module]}.{kind}"] = tensor
    return named


@pytest.mark.parametrize("write", [finetuned, safetensors, pretrained, transformers, transformers_separate])
def test_every_published_form_gives_the_same_latents(
    write: Callable[[StateDict, Path], Path], small: tuple[StateDict, torch.Tensor], tmp_path: Path
) -> None:
    weights, expected = small
    latents = VideoMaeTeacher("videomae_small", write(weights, tmp_path), "cpu").latents(tokens_of(random_clip()))
    torch.testing.assert_close(latents, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("wrappers", [("state_dict",), ("model_state",), ("model", "module"), ()])
@pytest.mark.parametrize("prefix", ["", "backbone.", "module.model.", "module.videomae.encoder."])
def test_wrappers_and_prefixes_are_looked_through(wrappers: tuple[str, ...], prefix: str, tmp_path: Path) -> None:
    saved: dict[str, Any] = {prefix + name: tensor for name, tensor in blank(SMALL).items()}
    for wrapper in wrappers:
        saved = {wrapper: saved, "epoch": 3}
    torch.save(saved, tmp_path / "weights.pt")
    assert VideoMaeTeacher("videomae_small", tmp_path / "weights.pt", "cpu").dim == SMALL.dim


def test_files_of_early_releases_of_torch_are_read(tmp_path: Path) -> None:
    torch.save({"model": blank(SMALL)}, tmp_path / "weights.pth", _use_new_zipfile_serialization=False)
    assert VideoMaeTeacher("videomae_small", tmp_path / "weights.pth", "cpu").dim == SMALL.dim


def refusal(path: Path, name: str = "videomae_small") -> str:
    """What is said of a file of weights that is refused, less the file's name, which must come first."""
    with pytest.raises(CheckpointError) as caught:
        VideoMaeTeacher(name, path, "cpu")
    said = str(caught.value)
    assert said.startswith(f"{path}: ") and "\n" not in said
    return said.removeprefix(f"{path}: ")


def saved(tensors: StateDict, tmp_path: Path) -> Path:
    torch.save({"model": tensors}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


@pytest.mark.parametrize(
    ("key", "tensor", "says"),
    [
        ("blocks.3.norm2.bias", None, "blocks.3.norm2.bias of shape (384,) is missing"),
        ("cls_token", torch.zeros(1, 1, 384), "cls_token of shape (1, 1, 384) is no tensor of videomae_small"),
        (
            "blocks.12.norm1.bias",
            torch.zeros(384),
            "blocks.12.norm1.bias of shape (384,) is no tensor of videomae_small",
        ),
        ("blocks.0.attn.q_bias", torch.zeros(6), "blocks.0.attn.q_bias has shape (6,); videomae_small has (384,)"),
        ("backbone.blocks.0.attn.q_bias", torch.zeros(384), "blocks.0.attn.q_bias and backbone.blocks.0.attn.q_bias"),
        ("blocks.0.attn.q_bias", torch.zeros(384, dtype=torch.int8), "blocks.0.attn.q_bias is torch.int8"),
        ("blocks.0.attn.q_bias", torch.full((384,), math.nan), "blocks.0.attn.q_bias holds values that are not finite"),
        ("pos_embed", torch.zeros(1, 1569, 384), "pos_embed has shape (1, 1569, 384)"),
        ("pos_embed", torch.zeros(1, 1568, 384), "pos_embed differs from the fixed sinusoids of videomae_small"),
    ],
)
def test_a_tensor_that_does_not_belong_is_named(
    key: str, tensor: torch.Tensor | None, says: str, tmp_path: Path
) -> None:
    tensors = blank(SMALL)
    if tensor is None:
        del tensors[key]
    else:
        tensors[key] = tensor
    assert says in refusal(saved(tensors, tmp_path))


@pytest.mark.parametrize(
    ("asked", "size", "fitting"),
    [
        ("videomae_base", "videomae_large", "videomae_large"),
        ("videomaev2_base", "videomae_large", "videomaev2_large"),
        ("videomae_huge", "videomaev2_giant", "videomaev2_giant"),
    ],
)
def test_weights_of_another_size_are_recognised(asked: str, size: str, fitting: str, tmp_path: Path) -> None:
    said = refusal(saved(blank(VIDEOMAE_TEACHERS[size]), tmp_path), asked)
    assert said == f"these are the weights of {fitting}; use --teacher {fitting}"


def test_biases_that_transformers_lost_are_refused(tmp_path: Path) -> None:
    lost = {name: torch.zeros_like(tensor) if "_bias" in name else tensor for name, tensor in blank(SMALL).items()}
    lost = {name: tensor.contiguous() for name, tensor in lost.items()}
    assert "query.bias and value.bias are zero" in refusal(transformers_separate(lost, tmp_path))


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Rename:
    """An object whose unpickling calls a function of the system."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.rename, self.paths


@pytest.mark.parametrize("pickled", ["torch.save", "pickle"])
@pytest.mark.parametrize("system", [False, True])
def test_an_object_is_refused_and_never_unpickled(pickled: str, system: bool, tmp_path: Path) -> None:
    before, trace = tmp_path / "before", tmp_path / "trace"
    before.touch()
    content = {"model": blank(SMALL), "extra": Rename(str(before), str(trace)) if system else Touch(trace)}
    path = tmp_path / "weights.pth"
    if pickled == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path)
    said = refusal(path)
    assert not trace.exists()
    assert re.search(r"holds a pickled [\w.]+, which is never loaded", said)
    pickle.loads(pickle.dumps(content["extra"]))  # noqa: S301
    assert trace.exists()  # it would have


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors", "weights.bin"])
@pytest.mark.parametrize("content", [b"", b"version 1\nnot weights\n", b"corrupt\ntext\n", b"PK\x03\x04", b"\x80\x02"])
def test_a_file_of_another_kind_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    refusal(tmp_path / name)


@pytest.mark.parametrize("write", [safetensors, transformers])
@pytest.mark.parametrize("kept", [0.999, 0.5, 0.001])
def test_a_truncated_file_is_refused(write: Callable[[StateDict, Path], Path], kept: float, tmp_path: Path) -> None:
    path = write({name: tensor.contiguous() for name, tensor in blank(SMALL).items()}, tmp_path)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * kept))
    assert "cut short" in refusal(path)


@pytest.mark.parametrize("content", [{}, {"model": {}}, [torch.zeros(3)], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_named_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    assert "no tensors by name" in refusal(tmp_path / "weights.pth")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "weights.pth")
    assert "no such file" in refusal(tmp_path)


def test_a_teacher_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for use in (teacher_view, lambda name: VideoMaeTeacher(name, tmp_path / "weights.pth", "cpu")):
        with pytest.raises(ConfigError, match=r"^teacher = 'videomae_giant': did you mean 'videomaev2_giant'"):
            use("videomae_giant")


@pytest.mark.parametrize("name", VIDEOMAE_TEACHERS)
def test_the_view_of_a_store_must_be_the_teachers(name: str) -> None:
    view = teacher_view(name)
    assert view.tokens == (2048 if name.endswith("giant") else 1568)
    check_view(name, view)
    changes: tuple[tuple[str, int, dict[str, int]], ...] = (
        ("frames", 8, {"frames": 8}),
        ("size", 112, {"size": 112}),
        ("patch", 28, {"patch": 28}),
        ("tubelet", 4, {"tubelet": 4}),
    )
    for field, value, change in changes:
        given: dict[str, Any] = {"frames": 16, "size": 224, "patch": view.patch, "tubelet": 2} | change
        with pytest.raises(ConfigError, match=f"must be .* for the teacher {name}") as caught:
            check_view(name, View(**given))
        assert (caught.value.field, caught.value.value) == (field, value)


def test_the_table_of_teachers_needs_no_torch() -> None:
    code = "import sys\nfrom trainable.teachers.videomae_layout import *\n"
    code += "print(*VIDEOMAE_TEACHERS, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [*VIDEOMAE_TEACHERS, "False"]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("compiled", [False, True])
def test_bfloat16_on_cuda_is_close_to_float32(
    compiled: bool, small: tuple[StateDict, torch.Tensor], tmp_path: Path
) -> None:
    weights, expected = small
    teacher = VideoMaeTeacher("videomae_small", safetensors(weights, tmp_path), "cuda", compile=compiled)
    latents = teacher.latents(tokens_of(random_clip()))
    assert (latents.device.type, latents.dtype) == ("cuda", torch.float32)
    assert (latents.cpu() - expected).norm() / expected.norm() < 0.03
