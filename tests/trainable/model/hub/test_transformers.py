"""What is saved is a model repository that transformers opens, in a process that has neither timm nor this package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainable.conftest import MakeTraining
from trainable.data.store.clip_store import ClipStore
from trainable.data.video.crops import CENTRE, cut_image
from trainable.model.encoder import load_encoder, save_encoder

# Run by a Python that is isolated from this process: of its own folder, without PYTHONPATH, and with these barred.
PROGRAM = """
import sys
sys.modules.update(dict.fromkeys(("trainable", "salt_tune", "analysis", "timm")))
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoVideoProcessor

folder, given = sys.argv[1], load_file("given.safetensors")
config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
assert (config.model_type, model.training) == ("salt_video", False)
found = {}
with torch.no_grad():
    for name in ("clips", "longer", "floats"):
        output = model(given[name])
        found[name], found[name + ".pooled"] = output.last_hidden_state, output.pooler_output
    found["visible"] = model(pixel_values_videos=given["clips"], index=given["index"]).last_hidden_state
    found["pooled"] = model(given["clips"], return_dict=False)[1]
    processed = processor([given["video"].numpy()], return_tensors="pt")
    model(**processed)
found["processed"] = processed["pixel_values_videos"]
try:
    model(given["clips"][:, :3])
except ValueError as error:
    print(error)
model.save_pretrained("again")
processor.save_pretrained("again")
save_file({name: tensor.contiguous() for name, tensor in found.items()}, "found.safetensors")
"""


@pytest.fixture
def folder(make_training: MakeTraining, store: ClipStore, tmp_path: Path) -> Path:
    training = make_training(student_depth=2)
    training.train_to(2)
    path = tmp_path / "promoted"
    path.mkdir()
    save_encoder(path, training.model.student, training.config, store.view, {"run": "first"})
    return path


def test_transformers_alone_gives_the_same_features(folder: Path, store: ClipStore, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    view, encoder = store.view, load_encoder(folder)
    clips = torch.from_numpy(np.stack([view.to_frames(store.pixels(store.val, number)) for number in range(3)]))
    given = {
        "clips": clips,
        "longer": torch.randint(0, 256, (1, 12, 48, 32, 3), dtype=torch.uint8, generator=generator),
        "floats": clips.float() / 255,
        "index": torch.stack([torch.randperm(view.tokens, generator=generator)[:20] for _ in clips]),
        "video": torch.randint(0, 256, (29, 50, 71, 3), dtype=torch.uint8, generator=generator),
    }
    save_file(given, tmp_path / "given.safetensors")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-I", "-c", PROGRAM, str(folder)]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "frames = 3 must be a multiple of tubelet = 2" in done.stdout

    found = load_file(tmp_path / "found.safetensors")
    with torch.no_grad():
        for name in ("clips", "longer", "floats"):
            features = encoder(given[name])
            torch.testing.assert_close(found[name], features.tokens, atol=1e-5, rtol=0)
            torch.testing.assert_close(found[f"{name}.pooled"], features.pooled, atol=1e-5, rtol=0)
        visible = encoder(given["clips"], given["index"]).tokens
        torch.testing.assert_close(found["visible"], visible, atol=1e-5, rtol=0)
    torch.testing.assert_close(found["pooled"], found["clips.pooled"])

    video = given["video"].numpy()
    expected = np.stack([cut_image(video[frame], view.size, CENTRE) for frame in view.frame_indices(len(video))])
    np.testing.assert_array_equal(found["processed"][0].numpy(), expected)

    again = load_encoder(tmp_path / "again")  # as transformers saves it, after fine-tuning say
    assert json.loads((tmp_path / "again" / "config.json").read_text())["weights_sha256"] is None
    assert (again.view, again.config, again.provenance) == (encoder.view, encoder.config, encoder.provenance)
    with torch.no_grad():
        torch.testing.assert_close(again(clips).tokens, encoder(clips).tokens)
