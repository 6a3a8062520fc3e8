"""The model card of a promoted model."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from analysis.run_directory.paths import FinalDirectory
from analysis.text import printable
from salt_tune.report.final_table import final_section
from salt_tune.report.losses import worth
from salt_tune.ui.format import number
from trainable.files import atomic_write
from trainable.metrics import computed
from trainable.task import Card, Task
from trainable.worker import Dataset, FinalSpec, FinalTable

CARD = """\
---
# license: name yours before you publish it; https://huggingface.co/docs/hub/repositories-licenses
{head}---

# {name}: {title}

{about}
hyperparameters found by the search {run}.

| result | after {epochs} epochs | in the search, after {searched_epochs:g} |
| --- | --- | --- |
{results}

{measured}
{evaluation}{baselines}
{use}

## Where it comes from

Search {run}, trial {trial}{begun}. {origin}

| hyperparameter | value |
| --- | --- |
{hyperparameters}
"""

BASELINES = """
| without learning | val_loss |
| --- | --- |
{errors}

{beside} {worth}.
"""

# What the hub takes for the name of a dataset.
_HUB_NAME: Final = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9_.-]{0,94}[A-Za-z0-9_]")
_BACKTICKS = re.compile("`+")


def write_card(
    task: Task,
    spec: FinalSpec,
    searched: dict[str, Any],
    last: dict[str, Any],
    data: Dataset,
    baselines: Mapping[str, float],
    evaluation: FinalTable | None = None,
) -> Card:
    """Writes README.md beside a promoted model, with what the Hugging Face hub reads at its head.

    Args:
        task: that was trained.
        spec: of the final training; where it comes from, and where the model lies.
        searched: the trial's entry in the search's summary.
        last: the last report of the final training.
        data: what it was trained on.
        baselines: what the search was measured against.
        evaluation: how good the model is; None: its task does not measure that.

    Returns:
        What the task says of the model.
    """
    card, config = task.card(spec, last, data, code), spec.config
    known = computed(among=task.metrics)
    results = [name for name, metric in known.items() if metric.error_of is None and metric.at != "final"]
    labels, compared = task.baseline_labels, ""
    if baselines:
        errors = "\n".join(f"| {labels.get(name, name)} | {number(error)} |" for name, error in baselines.items())
        beaten = worth(last["val_loss"], baselines, labels)
        compared = BASELINES.format(errors=errors, beside=card.beside, worth=beaten)
    text = CARD.format(
        head=_head(card, spec, data, {name: last.get(name) for name in results}),
        name=code(spec.folder.name),
        title=card.title,
        about=card.about,
        epochs=config["epochs"],
        run=code(spec.provenance["run"]),
        trial=code(searched["id"]),
        begun=_beginning(spec.provenance),
        searched_epochs=searched["epochs"],
        results="\n".join(f"| {name} | {number(last.get(name))} | {number(searched.get(name))} |" for name in results),
        measured=card.measured,
        evaluation=final_section(evaluation) if evaluation else "",
        baselines=compared,
        use=card.use,
        origin=card.origin,
        hyperparameters="\n".join(f"| {name} | {_cell(value)} |" for name, value in config.items()),
    )
    with atomic_write(FinalDirectory(spec.folder).card) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return card


def _beginning(provenance: Mapping[str, Any]) -> str:
    """Says where the training began, where that is not its own first step."""
    if begun := provenance["begun_at_epoch"]:
        return f", whose first {begun:g} epochs are this model's"
    if init := provenance.get("init"):
        return f", begun with the weights of {code(init['name'])} (SHA-256 {init['sha256'][:12]})"
    return ""


def code(text: str) -> str:
    """Returns text as Markdown shows it letter by letter, whatever it holds."""
    shown = printable(text)
    fence = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    room = " " if shown[:1] in ("", "`", " ") or shown[-1:] in ("`", " ") else ""
    return f"{fence}{room}{shown}{room}{fence}"


def _head(card: Card, spec: FinalSpec, data: Dataset, measured: Mapping[str, Any]) -> str:
    """Returns what the hub reads of a card, as YAML: control characters of names become visible, as in its text."""
    name, dataset = (
        printable(text)
        for text in (f"{spec.provenance['run']}-{spec.folder.name}", card.dataset or data.path.resolve().name)
    )
    metrics = [
        {"type": metric, "name": metric, "value": float(value)}
        for metric, value in measured.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    result = {
        "task": {"type": card.hub.get("pipeline_tag", "other")},
        "dataset": {"type": dataset, "name": dataset},
        "metrics": metrics,
    }
    described = {
        **card.hub,
        **({"datasets": [dataset]} if _HUB_NAME.fullmatch(dataset) else {}),
        "model-index": [{"name": name, "results": [result] if metrics else []}],
    }
    return yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=math.inf)


def _cell(value: Any) -> str:
    """Returns a value as a cell of a table, which a bar would end even within code."""
    return code(value).replace("|", r"\|") if isinstance(value, str) else str(value)
