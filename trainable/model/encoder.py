"""An encoder as others use it: a folder that is a Hugging Face model repository, and `load_encoder` to get it back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from trainable.config import TrialConfig
from trainable.data.video.view import GEOMETRY, View
from trainable.errors import CheckpointError, ConfigError, UserError
from trainable.files import atomic_write, write_json
from trainable.hashing import file_sha256
from trainable.model.architecture import architecture_of
from trainable.model.hub.video_transformer import Architecture, Features, VideoTransformer
from trainable.model.student import Student

FORMAT_VERSION: Final = 2

# Stores that were made before have a teacher of format 1: the trial's configuration and weights alone.
WEIGHTS: Final = {1: "encoder.safetensors", FORMAT_VERSION: "model.safetensors"}

HUB: Final = Path(__file__).parent / "hub"
SOURCES: Final = (
    "video_transformer.py",
    "configuration_salt_video.py",
    "modeling_salt_video.py",
    "video_processing_salt_video.py",
)
PROCESSOR: Final = "video_preprocessor_config.json"
FILES: Final = (WEIGHTS[FORMAT_VERSION], "config.json", PROCESSOR, *SOURCES)


class Encoder(VideoTransformer):
    """A trained student for whole clips.

    Attributes:
        architecture: its sizes.
        view: geometry of the clips that it was trained on; it takes others too.
        dim: width of its features.
        config: hyperparameters it was trained with.
        provenance: where it came from, as plain JSON.
        sha256: of the file of its weights.
    """

    def __init__(
        self,
        architecture: Architecture,
        view: View,
        config: TrialConfig,
        provenance: dict[str, Any],
        sha256: str,
    ) -> None:
        super().__init__()
        self.build(architecture)
        self.view, self.config, self.provenance, self.sha256 = view, config, provenance, sha256
        self.dim = architecture.hidden_size

    def forward(self, clips: torch.Tensor, index: torch.Tensor | None = None) -> Features:
        """Encodes clips, of the size that it was trained at or of another one.

        Frames must be a multiple of the tubelet, height and width of the patch. The positions of another grid are those
        that a student of that grid would be trained with; see `VideoTransformer.encode`, which this is.

        Args:
            clips: RGB frames, shape (clips, frames, height, width, 3): uint8, or floats from 0 to 1. Both are
                normalised here.
            index: the visible tokens, shape (clips, n), of an integer type; None: all.

        Returns:
            `tokens`, shape (clips, tokens, dim), ordered time, row, column, and `pooled`, their mean, (clips, dim).

        Raises:
            ValueError: a shape, a type or a value that does not fit; says what would be right.
        """
        return self.encode(clips, index)


def save_encoder(folder: Path, student: Student, config: TrialConfig, view: View, provenance: dict[str, Any]) -> None:
    """Writes a Hugging Face model repository into `folder`: weights, source files, configurations; each atomically.

    config.json is written last. `AutoModel` and `AutoVideoProcessor` of transformers read the folder without this
    package.

    Args:
        folder: an existing folder.
        student: the trained student.
        config: its hyperparameters.
        view: geometry of its clips.
        provenance: plain JSON that says where it came from; it goes wherever the folder goes.
    """
    weights = folder / WEIGHTS[FORMAT_VERSION]
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    with atomic_write(weights) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    for name in SOURCES:
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes((HUB / name).read_bytes())
    write_json(folder / PROCESSOR, _processor(view))
    described = view.describe()
    write_json(
        folder / "config.json",
        {
            "format_version": FORMAT_VERSION,
            "model_type": "salt_video",
            "architectures": ["SaltVideoModel"],
            "auto_map": {
                "AutoConfig": "configuration_salt_video.SaltVideoConfig",
                "AutoModel": "modeling_salt_video.SaltVideoModel",
            },
            "dtype": "float32",
            **asdict(architecture_of(student.blocks, view)),
            "view": {name: value for name, value in described.items() if name not in GEOMETRY},
            "config": config.to_dict(),
            "provenance": provenance,
            "weights_sha256": file_sha256(weights),
        },
    )


def load_encoder(path: str | Path, device: torch.device | str = "cpu") -> Encoder:
    """Loads an encoder that `promote` (or a store's teacher) wrote.

    Args:
        path: the folder with `model.safetensors` and `config.json`.
        device: where the encoder goes.

    Returns:
        The encoder in evaluation mode and float32; `encoder(clips)` gives `tokens` and `pooled`.

    Raises:
        CheckpointError: a file is missing or damaged, or the two do not fit each other.
    """
    folder = Path(path)
    try:
        saved = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        version = saved["format_version"]
        if version not in WEIGHTS:
            raise ValueError(f"format_version = {version!r}: this version reads {' and '.join(map(str, WEIGHTS))}")
        weights = folder / WEIGHTS[version]
        sha256, expected = file_sha256(weights), saved.get("weights_sha256")
        if expected not in (None, sha256):
            raise ValueError(f"{weights.name} is not the file that config.json was written for: its SHA-256 differs")
        with torch.device("meta"):
            encoder = _described(saved, sha256)
        tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
        _check_fit(encoder, tensors)
        encoder.load_state_dict(tensors, assign=True)
    except (OSError, ValueError, KeyError, TypeError, ConfigError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: no encoder that can be loaded ({_reason(error)})") from error
    return encoder.to(device).eval()


def _processor(view: View) -> dict[str, Any]:
    """Returns the configuration of a `SaltVideoProcessor`."""
    return {
        "video_processor_type": "SaltVideoProcessor",
        "auto_map": {"AutoVideoProcessor": "video_processing_salt_video.SaltVideoProcessor"},
        "num_frames": view.frames,
        "crop_size": {"height": view.size, "width": view.size},
    }


def _described(saved: Mapping[str, Any], sha256: str) -> Encoder:
    """Builds the encoder that a config.json describes, with random weights."""
    config, provenance = TrialConfig.from_dict(dict(saved["config"])), dict(saved["provenance"])
    if saved["format_version"] == 1:
        view = View.from_description(saved["view"])
        architecture = architecture_of(Student(config, view).blocks, view)
    else:
        architecture = Architecture(**{field.name: saved[field.name] for field in fields(Architecture)})
        a = architecture
        geometry = {"frames": a.num_frames, "size": a.image_size, "patch": a.patch_size, "tubelet": a.tubelet_size}
        view = View.from_description({**saved["view"], **geometry})
    return Encoder(architecture, view, config, provenance, sha256)


def _check_fit(encoder: Encoder, tensors: Mapping[str, torch.Tensor]) -> None:
    """Checks names and shapes of the weights against the layers.

    Raises:
        ValueError: names the first that differs.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            asked, has = wanted.get(name, "none"), found.get(name, "none")
            raise ValueError(f"{name}: the weights have {has}, and config.json asks for {asked}")


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError) and not isinstance(error, ConfigError):
        return f"config.json: {error.args[0]} is missing"
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_init(folder: Path, config: TrialConfig, view: View) -> str:
    """Checks that a student can begin with the weights of the encoder in a folder; returns their SHA-256.

    The two may differ in frames and size: positions are not learned.

    Raises:
        UserError: there is no encoder, it is damaged, or a weight has another shape.
    """
    try:
        encoder = load_encoder(folder)
    except CheckpointError as error:
        raise UserError(f"--init = {error}") from error
    with torch.device("meta"):
        wanted = Student(config, view).state_dict()
    there = encoder.state_dict()
    for name in dict.fromkeys((*wanted, *there)):
        shapes = [tuple(state[name].shape) if name in state else None for state in (there, wanted)]
        if shapes[0] != shapes[1]:
            differs = f"{name} has shape {shapes[0]} there, and must have {shapes[1]}"
            raise UserError(f"--init = {folder}: {differs}; give a model of the same student, patch and tubelet")
    return encoder.sha256
