"""The run directory: every path in it, and nothing else knows them; docs/run-directory.md says what the files hold.

    RUN/
      run.json            what was asked: command, store, seed, versions (written first)
      diff.patch          what the working folder had beside its git commit, where that was anything
      space.yaml          the search space as resolved from the file and the flags
      lock                held by the process that runs the search, which it names
      log.txt             what the search printed, where it goes on without a terminal
      reports.jsonl       one line a report of any trial, appended as it comes
      decisions.jsonl     one line a decision, appended before it is acted on; a resume replays it
      study.db            Optuna's study: what was suggested, and what it was told of it
      clip_losses/T0/     resource-0.2500.parquet: held-out loss of each clip (columns clip, label, loss, ...)
      steps/              T0.parquet: training loss, gradient norm and learning rate every few steps
      answers/T0/         resource-0.5000.parquet: what probes answered of each clip of the panel
      baselines/          what untrained students, raw pixels and the teacher get in the panel, by architecture
      checkpoints/        T0.safetensors: the last checkpoint of a trial that may go on
      summary.json        trials, ranking, winner, statistics, cost (written last)
      report.html         the page of `salt-tune report`
      errors/             T0.txt: traceback of an error that a trial met
      .workers/           signs of life of the processes that train; there while a search runs
      tensorboard/T0/     TensorBoard's event files, where asked for
      wandb/              Weights & Biases files, where asked for
      final/T0-10epochs/  a promoted run: promotion.json, lock, log.txt, reports.jsonl, checkpoints, error.txt, model
                          repository, evaluation.json and its rows in evaluation/, README.md (written last)

Imports the standard library alone: no Ray, no torch.
"""

import json
import re
from pathlib import Path
from typing import Any

from analysis.errors import RunError
from analysis.run_directory.reports import natural

FORMAT_VERSION = 7
_FINAL = re.compile(r"(?P<trial>.+)-(?P<epochs>\d+(\.\d+)?(e\+\d+)?)epochs(?P<anew>-from-scratch|-init-[0-9a-f]{8})?")


class RunDirectory:
    """The paths of one run.

    Attributes:
        path: the run directory, absolute.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.manifest = self.path / "run.json"
        self.diff = self.path / "diff.patch"
        self.space = self.path / "space.yaml"
        self.lock = self.path / "lock"
        self.log = self.path / "log.txt"
        self.reports = self.path / "reports.jsonl"
        self.decisions = self.path / "decisions.jsonl"
        self.study = self.path / "study.db"
        self.checkpoints = self.path / "checkpoints"
        self.summary = self.path / "summary.json"
        self.report = self.path / "report.html"
        self.errors = self.path / "errors"
        self.workers = self.path / ".workers"
        self.tensorboard = self.path / "tensorboard"
        self.clip_losses_root = self.path / "clip_losses"
        # The trials fill it in themselves: their room does not know this one.
        self.clip_losses_pattern = _pattern(self.clip_losses_root)
        self.answers_root = self.path / "answers"
        self.answers_pattern = _pattern(self.answers_root)
        self.steps_root = self.path / "steps"
        self.steps_pattern = _filled_in(self.steps_root) + "/{trial}.parquet"
        self.baselines = self.path / "baselines"
        self.final_root = self.path / "final"

    def clip_losses(self, trial: str, resource: float) -> Path:
        """Returns the file of the per-clip held-out losses of `trial` as reported at the point `resource`."""
        return Path(self.clip_losses_pattern.format(trial=trial, resource=resource))

    def answers(self, trial: str, resource: float) -> Path:
        """Returns the file of what the probes of `trial` answered of single clips at the point `resource`."""
        return Path(self.answers_pattern.format(trial=trial, resource=resource))

    def steps(self, trial: str) -> Path:
        """Returns the file of what the training steps of `trial` came to."""
        return Path(self.steps_pattern.format(trial=trial))

    def checkpoint(self, trial: str) -> Path:
        """Returns the file of the last checkpoint of `trial`."""
        return self.checkpoints / f"{trial}.safetensors"

    def error(self, trial: str) -> Path:
        """Returns the file of the traceback of the last error that `trial` met."""
        return self.errors / f"{trial}.txt"

    def final(
        self, trial: str, epochs: float, *, from_scratch: bool = False, init: str | None = None
    ) -> "FinalDirectory":
        """Returns the promoted run of `trial` over `epochs` epochs; one that begins elsewhere than it could, apart.

        Args:
            trial: its name.
            epochs: of the whole run.
            from_scratch: it could go on from the search, but begins anew.
            init: SHA-256 of the weights of another model that it begins with.
        """
        beginning = f"-init-{init[:8]}" if init else "-from-scratch" * from_scratch
        return FinalDirectory(self.final_root / f"{trial}-{epochs:.12g}epochs{beginning}")

    def finals(self) -> "list[FinalDirectory]":
        """Returns the promoted runs that have been begun, T2 before T10."""
        folders = self.final_root.iterdir() if self.final_root.is_dir() else ()
        found = [folder for folder in folders if folder.is_dir() and _FINAL.fullmatch(folder.name)]
        return [FinalDirectory(folder) for folder in sorted(found, key=lambda folder: natural(folder.name))]


def _pattern(root: Path) -> str:
    """Returns the path of a report's file below `root`, with `trial` and `resource` to be filled in."""
    return _filled_in(root) + "/{trial}/resource-{resource:.4f}.parquet"


def _filled_in(root: Path) -> str:
    """Returns the path as `str.format` gives it back."""
    return str(root).replace("{", "{{").replace("}", "}}")


class FinalDirectory:
    """The paths of one promoted run.

    Attributes:
        path: its directory.
        trial: that is trained on; "" where its name is not that of a promoted run.
        epochs: that it trains in all.
        anew: whether it begins elsewhere than where the search left the trial, though it need not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        named = _FINAL.fullmatch(path.name)
        self.trial, self.epochs = (named["trial"], float(named["epochs"])) if named else ("", 0.0)
        self.anew = bool(named and named["anew"])
        self.lock = path / "lock"
        self.log = path / "log.txt"
        self.reports = path / "reports.jsonl"
        self.steps = path / "steps.parquet"
        self.checkpoint = path / "checkpoint.safetensors"
        self.trunk = path / "trunk.safetensors"
        self.config = path / "config.json"
        self.promotion = path / "promotion.json"
        self.error = path / "error.txt"
        self.evaluation = path / "evaluation.json"
        self.card = path / "README.md"


def find_directory(path: str | Path) -> RunDirectory | FinalDirectory:
    """Returns the run directory at `path`, of a search or of a promoted run.

    Raises:
        RunError: there is none, or one of another format.
    """
    run = RunDirectory(path)
    if not run.path.is_dir():
        raise RunError(f"{run.path}: no such run")
    if run.path.parent.name == run.final_root.name:
        search, final = RunDirectory(run.path.parents[1]), FinalDirectory(run.path)
        if final.trial and search.manifest.is_file():
            return final
    if not run.manifest.is_file():
        raise RunError(f"{run.path}: has no {run.manifest.name}, and must be the folder of a search, or RUN/final/NAME")
    read_manifest(run)
    return run


def read_manifest(run: RunDirectory) -> dict[str, Any]:
    """Reads run.json: what was asked of a search.

    Raises:
        RunError: no such run, or one of another format.
    """
    return _read(run, run.manifest, "the folder of a search")


def read_summary(run: RunDirectory) -> dict[str, Any]:
    """Reads summary.json: what a search found.

    Raises:
        RunError: no such run, one that has not ended, or one of another format.
    """
    return _read(run, run.summary, "that of a search that has ended")


def _read(run: RunDirectory, path: Path, wanted: str) -> dict[str, Any]:
    """Returns the content of the JSON file `path` in a format that this version reads."""
    if not run.path.is_dir():
        raise RunError(f"{run.path}: no such run")
    if not path.is_file():
        raise RunError(f"{run.path}: has no {path.name}, and must be {wanted}")
    try:
        content = json.loads(path.read_bytes())
        version = content["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: not written by a search ({type(error).__name__}: {error})") from error
    if version != FORMAT_VERSION:
        raise RunError(f"{path}: has format_version {version!r}, and this version of salt_tune reads {FORMAT_VERSION}")
    return dict(content)
