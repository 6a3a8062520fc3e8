"""The model card of a promoted encoder."""

import json
import re
from typing import Any

from analysis.run_directory.paths import FinalDirectory
from analysis.text import printable
from salt_tune.report.conclusions import worth
from salt_tune.ui.format import number
from trainable.data.store.clip_store import ClipStore
from trainable.evaluate.baselines import BASELINE_NAMES, Baselines
from trainable.files import atomic_write
from trainable.metrics import computed

CARD = """\
# {name}: a video encoder

A {student} student, {parameters:,} parameters, pretrained with V-JEPA and a frozen teacher (SALT);
hyperparameters found by the search {run}.

| result | after {config[epochs]} epochs | in the search, after {searched_epochs:g} |
| --- | --- | --- |
{results}

All on the held-out clips and under the masks that every trial of the search was judged on; one seed.
val_loss is the mean squared error on the teacher's latents, val_r2 the share of the training mean's error that is taken
away, probe_top1 the accuracy of a ridge regression on {classes} classes.

| without learning | val_loss |
| --- | --- |
{baselines}

These copy or average latents and never look at pixels; the val_loss of this encoder and its predictor is {worth}.

## Input and output

uint8 RGB clips of shape (clips, {view[frames]}, {view[size]}, {view[size]}, 3): frames taken by the rule
`{view[frame_rule]}`, `{view[crop_rule]}`. Out come features of {tokens} tokens a clip, {grid} along time, rows and
columns.

```python
import trainable
encoder = trainable.load_encoder({path!r})
features = encoder(clips)
```

## Where it comes from

Search {run}, trial {trial}. Clip store {store}: {train} training and {val} held-out clips, view `{view_hash:.12}`.
Teacher {teacher}, weights `{teacher_hash:.12}`.

| hyperparameter | value |
| --- | --- |
{hyperparameters}
"""

_BACKTICKS = re.compile("`+")


def write_card(
    final: FinalDirectory,
    searched: dict[str, Any],
    last: dict[str, Any],
    store: ClipStore,
    run: str,
    baselines: Baselines,
) -> None:
    """Writes README.md beside an exported encoder.

    Args:
        final: where the encoder lies.
        searched: the trial's entry in the search's summary.
        last: the last report of the final run.
        store: the clips it was trained on.
        run: name of the search.
        baselines: what the search was measured against.
    """
    config = json.loads(final.config.read_text(encoding="utf-8"))["config"]
    errors = baselines.to_dict()
    results = [name for name, metric in computed().items() if metric.error_of is None]
    text = CARD.format(
        name=code(final.path.name),
        path=str(final.path),
        student=code(config["student"]),
        config=config,
        parameters=last["student_parameters"],
        run=code(run),
        trial=code(searched["id"]),
        searched_epochs=searched["epochs"],
        results="\n".join(f"| {name} | {number(last.get(name))} | {number(searched.get(name))} |" for name in results),
        classes=len(store.labels),
        baselines="\n".join(f"| {BASELINE_NAMES[name]} | {number(error)} |" for name, error in errors.items()),
        worth=worth(last["val_loss"], baselines),
        view=store.view.describe(),
        view_hash=store.view.hash,
        tokens=store.view.tokens,
        grid=" x ".join(map(str, store.view.grid)),
        store=code(str(store.path)),
        train=len(store.train),
        val=len(store.val),
        teacher=code(store.teacher.name),
        teacher_hash=store.teacher.sha256,
        hyperparameters="\n".join(f"| {name} | {_cell(value)} |" for name, value in config.items()),
    )
    with atomic_write(final.card) as temporary:
        temporary.write_text(text, encoding="utf-8")


def code(text: str) -> str:
    """Text as Markdown shows it letter by letter, whatever it holds."""
    shown = printable(text)
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    room = " " if shown[:1] in ("", "`", " ") or shown[-1:] in ("`", " ") else ""
    return f"{fence}{room}{shown}{room}{fence}"


def _cell(value: Any) -> str:
    """A value as a cell of a table, which a bar would end even within code."""
    return code(value).replace("|", r"\|") if isinstance(value, str) else str(value)
