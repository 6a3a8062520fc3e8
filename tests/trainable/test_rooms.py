"""The loop knows no Ray, and of analysis its statistics alone; what only describes or decodes does without torch."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

ADAPTER = "trainable.ray_trainable"
HUB = "trainable.model.hub."  # source files of what is saved, for transformers
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "trainable").rglob("*.py")
)
LIGHT = [
    "trainable",
    "trainable.budget",
    "trainable.fields",
    "trainable.salt",
    "trainable.trial_process",
    "trainable.task",
    "trainable.worker",
    "trainable.config",
    "trainable.data.store.codecs",
    "trainable.data.build.copies",
    "trainable.data.video.crops",
    "trainable.data.build.decoding",
    "trainable.data.video.grouping",
    "trainable.hashing",
    "trainable.data.store.index",
    "trainable.data.store.manifest",
    "trainable.data.store.clip_store",
    "trainable.data.video.video_dataset",
    "trainable.data.video.splitting",
    "trainable.data.video.synthetic",
    "trainable.errors",
    "trainable.files",
    "trainable.masking.masks",
    "trainable.masking.multiblock",
    "trainable.masking.nearest",
    "trainable.masking.random_tokens",
    "trainable.masking.tube",
    "trainable.metrics",
    "trainable.registry",
    "trainable.model.size",
    "trainable.evaluate.config",
    "trainable.train.lr_schedule",
    "trainable.teachers.videomae_layout",
]


def loaded_by(modules: list[str]) -> set[str]:
    """Packages and modules that are there after importing `modules` in a new process."""
    program = f"import sys\nfor name in {modules!r}: __import__(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_nothing_but_the_adapter_imports_ray_or_the_search() -> None:
    loop = [name for name in MODULES if name != ADAPTER and not name.startswith(HUB)]
    assert {"trainable.train.training", "trainable.data.build.builder"} < set(loop)
    loaded = loaded_by(loop)
    assert "torch" in loaded
    assert not loaded & {"ray", "salt_tune", "optuna", "sklearn"}
    of_analysis = {name for name in loaded if name.partition(".")[0] == "analysis"}
    assert all(name.startswith(("analysis.statistics", "analysis.verdict")) for name in of_analysis - {"analysis"})


@pytest.mark.parametrize("modules", [LIGHT, [ADAPTER]], ids=["light", "adapter"])
def test_torch_is_not_imported_where_it_is_not_needed(modules: list[str]) -> None:
    assert not loaded_by(modules) & {"torch", "timm", "sklearn"}
