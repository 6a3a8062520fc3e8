"""`SaltTask`: the method of this package behind the protocol of `trainable.task`; imports no torch.

A V-JEPA student and predictor are trained on the latents of a frozen teacher, which a clip store holds.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from trainable.config import CHECKED_TOGETHER, TrialConfig
from trainable.data.store.dataset import StoreDataset
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.evaluate.baselines import BASELINE_NAMES, baseline_losses
from trainable.evaluate.config import EvaluationConfig
from trainable.masking.masks import Masks
from trainable.metrics import METRICS
from trainable.model.size import ModelSize
from trainable.registry import LR_SCHEDULES
from trainable.store_task import StoreTask
from trainable.task import Card, Quote
from trainable.worker import Beside, Config, Dataset, FinalRun, FinalSpec, FinalTable, Report, RunSpec, Worker

FINE: Final = 10**9  # steps, so many that their rounding does not matter
MOST_BUILT: Final = 48  # students, beside one of each name: a second's worth

MEASURED: Final = """\
All on the clips and under the masks that every trial of the search was judged on; one seed.
val_loss is the mean squared error on the teacher's latents of held-out clips, val_r2 the share of the training mean's
error that is taken away. Accuracies are those of cross-validated probes on frozen features of training and held-out
clips, probe_top1 that of a linear probe on {classes} classes; above_untrained is that accuracy less the one of students
with random weights."""

BESIDE: Final = (
    "These copy or average latents and never look at pixels; the val_loss of this encoder and its predictor is"
)

USE: Final = """\
## Input and output

RGB clips of shape (clips, {view[frames]}, {view[size]}, {view[size]}, 3), uint8 or floats from 0 to 1: frames taken by
the rule `{view[frame_rule]}`, `{view[crop_rule]}`. Out come features of {tokens} tokens a clip, {grid} along time,
rows and columns, and their mean. Frames may be any multiple of {view[tubelet]}, height and width of {view[patch]}.

With transformers alone, `frames` being all frames of a video, (frames, height, width, 3):

```python
from transformers import AutoModel, AutoVideoProcessor
folder = {name!r}
processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
model = AutoModel.from_pretrained(folder, trust_remote_code=True)
output = model(**processor(frames, return_tensors="pt"))
output.last_hidden_state, output.pooler_output
```

With salt_tune, also `salt-tune encode VIDEOS --model FOLDER --out features.parquet`:

```python
import trainable
encoder = trainable.load_encoder({name!r})
features = encoder(clips)
features.tokens, features.pooled
```"""

MODEL_FILES: Final = "model.safetensors, config.json, video_preprocessor_config.json, modeling_salt_video.py"

# The hub has no task of its own for features of videos; transformers gives VideoMAE's model this one.
HUB: Final = MappingProxyType(
    {
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",
        "tags": ["salt_tune", "video", "video-feature-extraction", "self-supervised", "v-jepa"],
    }
)

ORIGIN: Final = """\
Clip store {store}: {train} training and {val} held-out clips, view `{view_hash:.12}`.
Teacher {teacher}, SHA-256 `{teacher_hash:.12}`."""


class SaltTask(StoreTask):
    """See the module. Its datasets are clip stores with latents, its hyperparameters the fields of `TrialConfig`."""

    defaults = MappingProxyType({field.name: field.default for field in dataclasses.fields(TrialConfig)})
    metrics = METRICS
    evaluation_defaults = MappingProxyType(EvaluationConfig().to_dict())
    baseline_labels = BASELINE_NAMES
    resources = ("epoch", "tflop", "second")
    checked_together = CHECKED_TOGETHER
    built_from = ("student", "student_dim", "student_heads")
    sized_by = ("student", "student_dim", "student_depth", "predictor_dim", "predictor_depth", "context_weight")
    measures_packing = True
    data_parallel = True

    def config(self, values: Mapping[str, Any]) -> Config:
        """See `Task`."""
        return TrialConfig.from_dict(values).to_dict()

    def evaluation(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `Task`."""
        return EvaluationConfig.from_dict(values).to_dict()

    def check(self, config: Config, data: Dataset) -> None:
        """Checks the batch and the mask against clips and view; see `Task`."""
        TrialConfig.from_dict(config).check_data(data.geometry[0], data.train_size)

    def check_evaluation(self, evaluation: dict[str, Any], data: Dataset) -> None:
        """Checks the masks against the view; see `Task`."""
        Masks(data.geometry[0], evaluation["masking"], evaluation["mask_ratio"], evaluation["seed"])

    def baselines(self, evaluation: dict[str, Any], data: Dataset) -> dict[str, float]:
        """Computes errors on the clips and under the masks that trials are judged on; see `Task`."""
        return baseline_losses(_store_of(data).store, EvaluationConfig(**evaluation)).to_dict()

    def largest(self, configs: Iterable[Config]) -> list[Config]:
        """Finds for each student the configuration with the largest predictor, with and without a second output."""
        found: dict[tuple[Any, ...], Config] = {}
        for config in configs:
            part = (config["student"], config["student_dim"], config["student_depth"], config["context_weight"] > 0)
            if part not in found or _predictor_weights(config) > _predictor_weights(found[part]):
                found[part] = config
        return list(found.values())

    def check_models(self, configs: Sequence[Config]) -> tuple[int, ConfigError] | None:
        """Builds the students of `students_to_build`, with timm; see `Task`."""
        from trainable.model.student import check_student

        for number in students_to_build(configs):
            try:
                check_student(TrialConfig.from_dict({**configs[number], "student_depth": 1}))
            except ConfigError as error:
                return number, error
        return None

    def size(self, config: Config, geometry: tuple[View, int]) -> ModelSize:
        """See `Task`."""
        from trainable.model.flops import measure_model

        return measure_model(TrialConfig.from_dict(config), *geometry)

    def trunk_epochs(self, config: Config) -> float:
        """Returns the epochs before the cooldown; see `Task`."""
        trunk = LR_SCHEDULES[config["lr_schedule"]].trunk_steps
        return 0.0 if trunk is None else trunk(TrialConfig.from_dict(config), FINE) / FINE * config["epochs"]

    def trained_epochs(self, trunk: Path) -> float:
        """See `Task`."""
        from trainable.train.checkpoint import read_note

        return float(read_note(trunk)["epoch"])

    def open_worker(self, run: RunSpec) -> Worker:
        """See `Task`; the held-out clips are chosen once for all trials."""
        from trainable.trial.salt_worker import SaltWorker

        return SaltWorker(run, StoreDataset.open(run.data).store)

    def open_final(self, spec: FinalSpec, data: Dataset) -> FinalRun:
        """See `Task`."""
        from trainable.trial.final_run import SaltFinal

        return SaltFinal(spec, _store_of(data).store)

    def how(self, folder: Path) -> str:
        """Returns a line of Python; see `Task`."""
        return f"trainable.load_encoder({str(folder)!r})"

    def check_init(self, init: Path, config: Config, data: Dataset) -> str:
        """Loads the other encoder, and compares its weights with those of the student; see `Task`."""
        from trainable.model.encoder import check_init

        return check_init(init, TrialConfig.from_dict(config), _store_of(data).store.view)

    def check_against(self, folder: Path, data: Dataset) -> None:
        """Loads the other encoder, and compares the views; see `Task`."""
        from trainable.trial.final_table import check_against

        check_against(folder, _store_of(data).store)

    def evaluate_final(
        self, spec: FinalSpec, beside: Beside, last: Report, data: Dataset, tell: Callable[[str], None]
    ) -> FinalTable:
        """Measures the panel and the attentive probe; see `Task`."""
        from trainable.trial.final_table import evaluate_final

        return evaluate_final(spec, beside, last, _store_of(data).store, tell)

    def card(self, spec: FinalSpec, last: Report, data: Dataset, quote: Quote) -> Card:
        """See `Task`."""
        store = _store_of(data).store
        return Card(
            title="a video encoder",
            about=f"A {quote(spec.config['student'])} student, {last['student_parameters']:,} parameters, pretrained "
            "with V-JEPA and a frozen teacher (SALT);",
            measured=MEASURED.format(classes=len(store.labels)),
            beside=BESIDE,
            use=USE.format(
                view=store.view.describe(),
                tokens=store.view.tokens,
                grid=" x ".join(map(str, store.view.grid)),
                name=spec.folder.name,
            ),
            origin=ORIGIN.format(
                store=quote(store.path.resolve().name),
                train=len(store.train),
                val=len(store.val),
                view_hash=store.view.hash,
                teacher=quote(store.teacher.name),
                teacher_hash=store.teacher.sha256,
            ),
            files=MODEL_FILES,
            dataset=store.videos.name,
            hub=HUB,
        )


def _store_of(data: Dataset) -> StoreDataset:
    if not isinstance(data, StoreDataset):
        raise TypeError(f"{data!r} was not opened by this task")
    return data


def _predictor_weights(config: Config) -> int:
    return int(config["predictor_depth"]) * int(config["predictor_dim"]) ** 2


def students_to_build(configs: Sequence[Config]) -> list[int]:
    """Returns the positions of one configuration of each student's name, and of some of the others, evenly."""
    names = {config["student"]: number for number, config in reversed([*enumerate(configs)])}
    rest = [number for number in range(len(configs)) if number not in names.values()]
    return sorted([*names.values(), *rest[:: math.ceil(len(rest) / MOST_BUILT) or 1]])
