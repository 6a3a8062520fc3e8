"""The run directory: every path in it, and nothing else knows them.

    RUN/
      run.json            what was asked: command, store, seed, versions (written first)
      space.yaml          the search space as resolved from the file and the flags
      reports.jsonl       one line a report of any trial, appended as it comes
      clip_losses/T0/     epoch-0.2500.parquet: held-out loss of each clip (columns clip, loss)
      summary.json        trials, ranking, winner, cost (written last; see docs/run-directory.md)
      ray/                Ray's own results, state and checkpoints
      wandb/              Weights & Biases files, where asked for
      final/T0-10epochs/  a promoted run: reports.jsonl, checkpoint, encoder.safetensors, config.json, README.md

Imports the standard library alone, so that the analysis can use it without Ray or torch.
"""

from pathlib import Path

FORMAT_VERSION = 1


class RunDirectory:
    """The paths of one run.

    Attributes:
        path: the run directory, absolute.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.manifest = self.path / "run.json"
        self.space = self.path / "space.yaml"
        self.reports = self.path / "reports.jsonl"
        self.summary = self.path / "summary.json"
        self.ray = self.path / "ray"
        self.clip_losses_root = self.path / "clip_losses"
        # The trials fill it in themselves: their room does not know this one.
        braced = str(self.clip_losses_root).replace("{", "{{").replace("}", "}}")
        self.clip_losses_pattern = braced + "/{trial}/epoch-{epoch:.4f}.parquet"
        self.final_root = self.path / "final"

    def clip_losses(self, trial: str, epoch: float) -> Path:
        """The per-clip held-out losses of `trial` as reported at `epoch`."""
        return Path(self.clip_losses_pattern.format(trial=trial, epoch=epoch))

    def final(self, trial: str, epochs: int) -> "FinalDirectory":
        """The promoted run of `trial` over `epochs` epochs."""
        return FinalDirectory(self.final_root / f"{trial}-{epochs}epochs")


class FinalDirectory:
    """The paths of one promoted run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reports = path / "reports.jsonl"
        self.checkpoint = path / "checkpoint.safetensors"
        self.encoder = path / "encoder.safetensors"
        self.config = path / "config.json"
        self.card = path / "README.md"
