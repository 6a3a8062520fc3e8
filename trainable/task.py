"""`Task`: what a search trains, and all that a search has to know of it; needs no torch.

`trainable.salt.SaltTask` is the method of this package. Another one is a class with this base. A line in
`trainable.registry.TASKS`, an entry point of the group `salt_tune.tasks`, or `task: package.module:Class` in the space
names it.
`examples/another_task/` has one that trains on the same clip store, docs/howto/add-a-task.md says how to write one.

The search's driver makes a task by its name, and so does each worker. Nothing but names and plain values goes from one
process to another. Whatever loads torch is imported inside the methods that run in workers.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from trainable.budget import Kind
from trainable.errors import ConfigError, UserError
from trainable.fields import as_type, check_names
from trainable.final_trial import FinalTrial
from trainable.metrics import Metric
from trainable.registry import TASKS
from trainable.worker import Beside, Config, Dataset, FinalRun, FinalSpec, FinalTable, Report, RunSpec, Worker

Quote = Callable[[str], str]  # how Markdown shows a text of any content letter by letter


@dataclass(frozen=True)
class Size:
    """What a model takes.

    Attributes:
        checkpoint_bytes: what a checkpoint takes on the disk at most.
    """

    checkpoint_bytes: int


@dataclass(frozen=True)
class Card:
    """What a model card says, in Markdown, beside numbers, run and hyperparameters.

    Attributes:
        title: behind the name of the model: "a video encoder".
        about: what it is, in a sentence.
        measured: what the results mean.
        beside: what the baselines do, and what is compared with them: "These ...; the val_loss of this model is".
        use: the section on input and output, with its heading.
        origin: the data and whatever else it was trained with.
        files: that the final training has written beside the card, for people.
        dataset: name of what it was trained on; empty: that of the folder.
        hub: `library_name`, `pipeline_tag` and `tags`, as the Hugging Face hub reads them at the head of a card.
    """

    title: str
    about: str
    measured: str
    beside: str
    use: str
    origin: str
    files: str
    dataset: str = ""
    hub: Mapping[str, Any] = field(default_factory=dict)


class Task(ABC):
    """What a search trains. A subclass gives `defaults`, `metrics` and the abstract methods; the rest as it needs.

    Attributes:
        name: by which it was asked for, a name of `TASKS` or "package.module:Class".
        defaults: its hyperparameters and their defaults; `epochs`, a number, and `seed`, a whole number, are among
            them, and set by the search.
        metrics: what its trials report, of `trainable.metrics.METRICS` or its own; the held-out loss `val_loss` is
            among them. Those with a `compute` are columns of tables.
        evaluation_defaults: the entries of the section `evaluation` of a space, and their defaults.
        baseline_labels: what `baselines` measures, for people.
        resources: what the length of its trials may be counted in, see `trainable.budget.Budget`.
        checked_together: hyperparameters that must fit each other; any other is right or wrong by itself.
        built_from: hyperparameters on which it depends whether a model can be built, where `config` cannot tell;
            `check_models` is asked about them.
        sized_by: hyperparameters on which the size of a model depends: the larger the number, the larger the model.
        same_data: the facts of a dataset that searches must share for their scores to be compared.
        measures_packing: whether `--concurrent auto` can measure how its trainings share a machine.
        data_parallel: whether several processes can share a final training. `open_final` is then called in each, with
            `workers` and `rank` in its `FinalSpec`, and the default group of torch.distributed joins them. The
            hyperparameter `batch_size` is among its own, and never below their number.
    """

    name: str
    defaults: ClassVar[Mapping[str, Any]]
    metrics: ClassVar[Mapping[str, Metric]]
    evaluation_defaults: ClassVar[Mapping[str, Any]] = {}
    baseline_labels: ClassVar[Mapping[str, str]] = {}
    resources: ClassVar[tuple[Kind, ...]] = ("epoch",)
    checked_together: ClassVar[Sequence[tuple[str, ...]]] = ()
    built_from: ClassVar[tuple[str, ...]] = ()
    sized_by: ClassVar[tuple[str, ...]] = ()
    same_data: ClassVar[tuple[str, ...]] = ()
    measures_packing: ClassVar[bool] = False
    data_parallel: ClassVar[bool] = False

    def __init__(self, name: str) -> None:
        self.name = name

    # --- what the driver asks

    def config(self, values: Mapping[str, Any]) -> Config:
        """Returns all hyperparameters of a trial: `values`, checked, and defaults for the rest.

        Raises:
            ConfigError: an unknown one, or a value that does not fit.
        """
        return typed(values, self.defaults)

    def evaluation(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all entries of the section `evaluation` of a space, checked.

        Raises:
            ConfigError: an unknown entry, or a value that does not fit.
        """
        return typed(values, self.evaluation_defaults, "unknown entry")

    @abstractmethod
    def open_data(self, path: Path) -> Dataset:
        """Opens the dataset at `path`.

        Raises:
            UserError: there is none, or it cannot be trained on.
        """

    def check(self, config: Config, data: Dataset) -> None:  # noqa: B027  may be all that there is to check
        """Checks what can only be told with the data at hand.

        Raises:
            ConfigError: a hyperparameter does not fit the data.
        """

    def check_evaluation(self, evaluation: dict[str, Any], data: Dataset) -> None:  # noqa: B027
        """Checks the section `evaluation` against the data.

        Raises:
            ConfigError: an entry does not fit the data.
        """

    def judged_clips(self, evaluation: dict[str, Any], data: Dataset) -> int:  # noqa: ARG002
        """Counts the held-out clips that a trial is judged on."""
        return len(data.held_out)

    def baselines(self, evaluation: dict[str, Any], data: Dataset) -> dict[str, float]:  # noqa: ARG002
        """Returns `val_loss` of predictors that learned nothing, by name."""
        return {}

    def largest(self, configs: Iterable[Config]) -> list[Config]:
        """Returns those configurations that may have the largest models."""
        return [*{tuple(config[name] for name in self.sized_by): config for config in configs}.values()]

    def card(self, spec: FinalSpec, last: Report, data: Dataset, quote: Quote) -> Card:  # noqa: ARG002
        """Returns what the card of a promoted model says.

        Args:
            spec: of the final training.
            last: its last report.
            data: what it was trained on.
            quote: every text that may be of any content goes through it.
        """
        return Card(
            title="a trained model",
            about=f"Trained by the task {quote(self.name)};",
            measured="\n".join(f"{name} is the {metric.label}." for name, metric in self.metrics.items()),
            beside="These learned nothing; the val_loss of this model is",
            use=f"## Files\n\n`{spec.checkpoint.name}`: the checkpoint of its last report, as the task writes it.",
            origin=f"Data {quote(data.path.resolve().name)}: {data.train_size} to train on, "
            f"{len(data.held_out)} held out.",
            files=f"{spec.checkpoint.name}, config.json",
        )

    def how(self, folder: Path) -> str:  # noqa: ARG002
        """Returns how a promoted model is loaded, for people; empty where there is no such line.

        Args:
            folder: of the model.
        """
        return ""

    def check_init(self, init: Path, config: Config, data: Dataset) -> str:  # noqa: ARG002
        """Checks, before a final training begins, that it can begin with the weights of another promoted model.

        Args:
            init: folder of the other model.
            config: hyperparameters of the training.
            data: on which it trains.

        Returns:
            SHA-256 of the weights.

        Raises:
            UserError: it cannot.
        """
        raise UserError(f"--init = {init}: the task {self.name} begins from no other model; leave it out")

    def check_against(self, folder: Path, data: Dataset) -> None:  # noqa: ARG002
        """Checks, before a final training begins, that its model can be compared with another one.

        Args:
            folder: of the other promoted model.
            data: on which they are compared.

        Raises:
            UserError: it cannot.
        """
        raise UserError(f"--against = {folder}: the task {self.name} compares no promoted models; leave it out")

    def evaluate_final(
        self,
        spec: FinalSpec,  # noqa: ARG002
        beside: Beside,  # noqa: ARG002
        last: Report,  # noqa: ARG002
        data: Dataset,  # noqa: ARG002
        tell: Callable[[str], None],  # noqa: ARG002
    ) -> FinalTable | None:
        """Measures how good a promoted model is, after its training; goes on with what was stopped before.

        Args:
            spec: of the final training.
            beside: what the model is compared with.
            last: the last report of the final training.
            data: what it was trained on.
            tell: called with what is being measured, for people.

        Returns:
            The rows of a table and what follows from them, see docs/run-directory.md; None: there is no such table.
        """
        return None

    # --- what workers do

    def damage(self, path: Path) -> str:  # noqa: ARG002
        """Compares all of a dataset with checksums of its own, after it was copied to a node.

        Returns:
            What is damaged, in words for people; empty where nothing is, or there are no checksums.
        """
        return ""

    def check_models(self, configs: Sequence[Config]) -> tuple[int, ConfigError] | None:  # noqa: ARG002
        """Finds the first configuration with a model that cannot be built: its position, and why; runs in a worker.

        Args:
            configs: that differ in `built_from`.
        """
        return None

    @abstractmethod
    def size(self, config: Config, geometry: Any) -> Size:
        """Returns what the model of a configuration takes; runs in a worker.

        Args:
            config: of the model.
            geometry: of the dataset.

        Raises:
            ConfigError: it cannot be built.
        """

    @abstractmethod
    def open_worker(self, run: RunSpec) -> Worker:
        """Opens the dataset for the trials that this process will train."""

    def device(self) -> str:
        """Says where a final training runs, "cpu" or "cuda"; a search gives its trials theirs in their `RunSpec`."""
        return "cpu"

    def trunk_epochs(self, config: Config) -> float:  # noqa: ARG002
        """Returns the first epochs of a final training on which its length has no influence; 0 where it has on all.

        A trial is then the beginning of any final training with as long a trunk, which goes on from its checkpoint.
        """
        return 0.0

    def trained_epochs(self, trunk: Path) -> float:  # noqa: ARG002
        """Returns the epochs of the trunk that a final training has kept, where `trunk_epochs` are above 0.

        Raises:
            UserError: the file is damaged.
        """
        return 0.0

    def open_final(self, spec: FinalSpec, data: Dataset) -> FinalRun:
        """Builds the final training of a promoted trial: a trial of its own in `spec.folder`, unless overridden."""
        return FinalTrial(self.open_worker, self.name, self.device(), spec, data)


def typed(
    values: Mapping[str, Any], defaults: Mapping[str, Any], unknown: str = "is no hyperparameter"
) -> dict[str, Any]:
    """Returns `values` as the types of the defaults, and the defaults for the rest.

    Args:
        values: from a user, by name.
        defaults: of all names; one of None takes any value, one that is a float also whole numbers.
        unknown: what is said of a name that is none of them.

    Raises:
        ConfigError: an unknown name, or a value of another type.
    """
    check_names(values, defaults, unknown)
    given = {
        name: value if defaults[name] is None else as_type(name, value, type(defaults[name]))
        for name, value in values.items()
    }
    return {**defaults, **given}


def find_task(name: Any) -> Task:
    """Finds the task of a name; one for all that ask, so that spaces of the same task are equal.

    Args:
        name: of `TASKS`, or "package.module:Class"; from a user.

    Raises:
        UnknownNameError: there is no such name in `TASKS`.
        ConfigError: the class cannot be imported, or is no task.
    """
    if not isinstance(name, str) or ":" not in name:
        found: Any = TASKS[name]
    else:
        module, _, attribute = name.partition(":")
        try:
            found = getattr(import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError("task", name, f"cannot be loaded: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ConfigError("task", name, "is no class with the base trainable.task.Task")
    return _made(name, found)


@cache
def _made(name: str, kind: type[Task]) -> Task:
    lacking = sorted(kind.__abstractmethods__ | {need for need in ("defaults", "metrics") if not hasattr(kind, need)})
    if lacking:
        raise ConfigError("task", name, f"lacks {', '.join(lacking)}; see trainable.task.Task")
    return kind(name)
