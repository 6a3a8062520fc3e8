"""A small masked autoencoder as a task: it predicts the hidden pixels of a clip store's clips from the others.

python -m salt_tune.search --space examples/another_task/space.yaml --store STORE
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from trainable.data.store.clip_store import ClipStore
from trainable.data.store.loader import Batch, Loader
from trainable.data.video.view import View
from trainable.errors import ConfigError
from trainable.masking.masks import Masks
from trainable.metrics import METRICS
from trainable.model.hub.video_transformer import sincos_positions
from trainable.store_task import StoreTask
from trainable.task import Size
from trainable.trial.point_trial import PointTrial
from trainable.trial.store_worker import StoreWorker
from trainable.worker import Config, Report, RunSpec, TrialSpec


class MaskedAutoencoder(StoreTask):
    """MAE (He et al., 2022) on tubelets: hidden ones are drawn at random, targets normalised one by one."""

    defaults = {"dim": 128, "depth": 4, "heads": 4, "mask_ratio": 0.75, "lr": 1e-3, "batch_size": 16, "epochs": 1.0,
                "seed": 0}  # fmt: skip
    metrics = {name: METRICS[name] for name in ("val_loss", "val_loss_se", "train_loss", "step_seconds")}
    evaluation_defaults = {"clips": 256, "mask_ratio": 0.75, "seed": 0}
    checked_together = (("dim", "heads"),)
    sized_by = ("dim", "depth")

    def config(self, values: Mapping[str, Any]) -> Config:
        """See `Task`."""
        config = super().config(values)
        for name in ("dim", "depth", "heads", "batch_size", "lr"):
            if config[name] <= 0:
                raise ConfigError(name, config[name], "must be above 0")
        if config["dim"] % config["heads"]:
            raise ConfigError("dim", config["dim"], f"must be divisible by heads = {config['heads']}")
        return config

    def size(self, config: Config, geometry: tuple[View, int]) -> Size:
        """See `Task`."""
        parameters = sum(weights.numel() for weights in Autoencoder(config, geometry[0]).parameters())
        return Size(12 * parameters + 2**17)  # weights and AdamW's two moments in float32, and the names of all

    def open_worker(self, run: RunSpec) -> StoreWorker:
        """See `Task`."""
        return StoreWorker(run, MaeTrial)


class Autoencoder(nn.Module):
    """Encoder of visible tokens, and a layer that decodes the hidden ones."""

    def __init__(self, config: Config, view: View) -> None:
        super().__init__()
        dim = config["dim"]
        self.embed, self.predict = nn.Linear(view.token_values, dim), nn.Linear(dim, view.token_values)
        *encoder, self.decoder = (
            nn.TransformerEncoderLayer(dim, config["heads"], 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(config["depth"] + 1)
        )
        self.encoder, self.mask = nn.Sequential(*encoder), nn.Parameter(torch.zeros(dim))
        self.positions = nn.Parameter(sincos_positions(dim, view.grid), requires_grad=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Computes the loss of each clip, shape (clips,)."""
        seen = self.encoder(self.embed(batch.pixels / 255 - 0.5) + self.positions[batch.visible])
        asked = self.decoder(torch.cat([seen, self.mask + self.positions[batch.masked]], dim=1))[:, seen.shape[1] :]
        target = batch.targets.float()
        target = (target - target.mean(-1, keepdim=True)) / (target.std(-1, keepdim=True) + 1)
        losses: torch.Tensor = (self.predict(asked) - target).square().mean(dim=(1, 2))
        return losses


class MaeTrial(PointTrial):
    """AdamW at a constant rate; see `PointTrial`."""

    def __init__(self, run: RunSpec, trial: TrialSpec, store: ClipStore) -> None:
        super().__init__(run, trial)
        self.store, self.loaders = store, list[Loader]()

    def build(self) -> None:
        """See `PointTrial`."""
        config, on, store = self.config, self.run.evaluation, self.store
        torch.manual_seed(config["seed"])
        self.model = Autoencoder(config, store.view).to(self.run.device)
        self.adam = torch.optim.AdamW(self.model.parameters(), lr=config["lr"], weight_decay=0.05)
        for clips, given, size in ((store.train, config, config["batch_size"]), (store.val, on, 64)):
            masks = Masks(store.view, "random", given["mask_ratio"], given["seed"])
            self.loaders.append(Loader(store, clips, masks, size, target="pixels", device=self.run.device))
        self.steps, self.step, self.seconds = len(store.train) // config["batch_size"], 0, 0.0  # steps of an epoch

    def train_to(self, point: float) -> Report:
        """See `PointTrial`."""
        started, losses = time.perf_counter(), [torch.tensor(torch.nan)]
        training, held_out = self.loaders
        while self.step < self.run.budget.step(point, 1 / self.steps):
            epoch, position = divmod(self.step, self.steps)
            for batch in training.training_epoch(self.config["seed"], epoch, start=position):
                loss = self.model(batch).mean()
                loss.backward()
                self.adam.step()
                self.adam.zero_grad()
                losses.append(loss.detach())
                self.step += 1
                if self.step == self.run.budget.step(point, 1 / self.steps):
                    break
        self.seconds += time.perf_counter() - started
        with torch.no_grad():
            chosen = np.arange(min(len(self.store.val), self.run.evaluation["clips"]))
            judged = torch.cat([self.model(batch) for batch in held_out.in_order(chosen)]).double()
        return {
            "epoch": self.step / self.steps,
            "val_loss": judged.mean().item(),
            "val_loss_se": judged.std().item() / len(judged) ** 0.5,
            "train_loss": torch.stack(losses[1:] or losses).mean().item(),
            "step_seconds": self.seconds / self.step,
            "training_seconds": self.seconds,
        }

    def state_dict(self) -> dict[str, Any]:
        """See `PointTrial`."""
        moments = self.adam.state_dict()["state"]
        adam = {f"adam.{number}.{name}": value for number, state in moments.items() for name, value in state.items()}
        return {"tensors": adam | self.model.state_dict(), "numbers": {"step": self.step, "seconds": self.seconds}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `PointTrial`."""
        moments: dict[int, dict[str, Any]] = defaultdict(dict)
        for name, value in state["tensors"].items():
            if name.startswith("adam."):
                _, number, key = name.split(".")
                moments[int(number)][key] = value
        self.adam.load_state_dict({**self.adam.state_dict(), "state": moments})
        self.model.load_state_dict({name: state["tensors"][name] for name in self.model.state_dict()})
        self.step, self.seconds = state["numbers"]["step"], state["numbers"]["seconds"]

    def close(self) -> None:
        """See `TrialRun`."""
        for loader in self.loaders:
            loader.close()
