"""The single-GPU training loop.

Design choices:
    - float32 master weights, bfloat16 autocast on CUDA: the hand-made ancestor's bfloat16 weights lost small updates.
    - All state follows from weights, optimiser and step: order and masks are functions of (seed, epoch, clip),
      schedules of the step. A run stopped anywhere and resumed is the same run.
    - Nothing waits for the GPU in a step. Sums of loss, gradient norm and clipped steps stay on the device and are read
      at a report. A non-finite loss or gradient is looked for every `CHECK_EVERY` steps.
    - A report's rate counts everything between two reports but the evaluation: waiting for data, forward, backward,
      optimiser.
"""

import math
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal, cast

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.data.store.loader import Batch, Loader, Target
from trainable.data.store.targets import decode
from trainable.errors import CheckpointError
from trainable.masking.masks import Masks
from trainable.model.predictor import VJepa
from trainable.registry import LOSSES, LR_SCHEDULES
from trainable.train.averaged_weights import AveragedWeights

CHECK_EVERY = 50

Status = Literal["running", "complete", "diverged"]

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")  # the fused kernel wants the step on the device too


class Training:
    """One training run of student and predictor on one device.

    Args:
        config: hyperparameters.
        store: clips and, for `target="latents"`, the teacher's latents.
        target: what masked tokens are predicted: the teacher's latents, or normalised pixels (SALT's first stage).
        device: "cpu", "cuda", "cuda:1"...; None takes CUDA where there is one.
        loader_threads: background threads that decode, where pixels are not stored raw; None: one a core.

    Attributes:
        model: student and predictor, float32.
        averaged: its averaged weights; None where `ema` is 0.
        step: optimiser steps made so far.
        steps_per_epoch: whole batches in the training clips.
        total_steps: steps of the whole run, at least one.
        status: "running", "complete", or "diverged" after a non-finite loss or gradient.
        stop: set it from a signal handler, and `train_to` returns after the step it is in.

    Raises:
        ConfigError: the configuration does not fit the store.
    """

    def __init__(
        self,
        config: TrialConfig,
        store: ClipStore,
        *,
        target: Target = "latents",
        device: torch.device | str | None = None,
        loader_threads: int | None = None,
    ) -> None:
        config.check_data(store.view, len(store.train))
        self.config, self.store, self.target = config, store, target
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.target_dim = store.view.token_values if target == "pixels" else store.teacher.dim
        torch.manual_seed(config.seed)
        self.model = VJepa(config, store.view, self.target_dim)
        if target == "latents":  # normalised pixels start at zero, ImageNet's mean: theirs would take a pass to know
            self.model.predictor.start_at(torch.from_numpy(store.teacher.mean))
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model), lr=config.lr, betas=(config.beta1, config.beta2), fused=True
        )
        self.averaged = AveragedWeights(self, config.ema) if config.ema else None
        self._loss, self._rates = LOSSES[config.loss], LR_SCHEDULES[config.lr_schedule]
        # Static shapes: as masks have fixed counts, one graph serves the whole run. With `dynamic=None`, a later trial
        # of this process would get kernels of any shape, and other numbers than in a process of its own.
        self._forward: Any = torch.compile(self.model, dynamic=False) if config.compile else self.model
        masks = Masks(store.view, config.masking, config.mask_ratio, config.seed)
        self._loader = Loader(
            store, store.train, masks, config.batch_size, target=target, device=self.device, threads=loader_threads
        )
        self._batches: Iterator[Batch] | None = None
        self.step = 0
        self.steps_per_epoch = len(store.train) // config.batch_size
        self.total_steps = max(1, round(self.steps_per_epoch * config.epochs))
        self.status: Status = "running"
        self.stop = threading.Event()
        self.seconds = 0.0  # of training, over the whole run
        self._reset_sums()

    @property
    def epoch(self) -> float:
        """Epochs trained so far, with fractions."""
        return self.step / self.steps_per_epoch

    @property
    def step_seconds(self) -> float:
        """Mean seconds of a step over the whole run, with the waiting for data; NaN before the first."""
        return self.seconds / self.step if self.step else math.nan

    @property
    def outcome(self) -> "Training | AveragedWeights":
        """What is judged and saved: the training itself, or its averaged weights where it has any."""
        return self if self.averaged is None else self.averaged

    def close(self) -> None:
        """Ends the loader's threads and lets go of the batches on the device, and of compiled code."""
        self._batches = None
        self._loader.close()
        if self.config.compile:  # a process compiles only so many graphs; then its trials would run uncompiled
            torch.compiler.reset()

    def autocast(self) -> torch.autocast:
        """Returns the precision that forward passes run in."""
        bf16 = self.config.precision == "bf16" or (self.config.precision == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16)

    def targets(self, batch: Batch) -> torch.Tensor:
        """Returns a batch's targets in float32: latents as stored, pixels normalised like the student's input."""
        if self.target == "pixels":
            return self.model.student.normalise(batch.targets)
        return decode(batch.targets, batch.scales if batch.targets.dtype == torch.int8 else None)

    def train_to(self, step: int) -> None:
        """Trains until `step` optimiser steps have been made in all, `stop` is set, or the run has diverged."""
        self.model.train()
        started, waited = time.perf_counter(), 0.0
        while self.step < min(step, self.total_steps) and self.status == "running" and not self.stop.is_set():
            asked = time.perf_counter()
            batch = self._next_batch()
            waited += time.perf_counter() - asked
            self._train_step(batch)
            if self.step % CHECK_EVERY == 0:
                self._check_finite()
        self._check_finite()  # reads from the device, so the clock below counts finished work
        self._sums["seconds"] += time.perf_counter() - started
        self._sums["waited"] += waited
        self.seconds += time.perf_counter() - started
        if self.status == "running" and self.step == self.total_steps:
            self.status = "complete"

    def _next_batch(self) -> Batch:
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._batches is None or position == 0:
            self._batches = self._loader.training_epoch(self.config.seed, epoch, start=position)
        return next(self._batches)

    def _train_step(self, batch: Batch) -> None:
        lr, decay = self._rates(self.config, self.step + 1, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
            group["weight_decay"] = decay if group["decays"] else 0.0
        with self.autocast():
            prediction = self._forward(batch.pixels, batch.visible, batch.masked)
        loss = self._loss(prediction.float(), self.targets(batch))
        loss.backward()
        limit = self.config.grad_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.averaged is not None:
            self.averaged.update(self.step)
        self._device_sums += torch.stack([loss.detach(), norm, (norm > limit).float(), torch.ones_like(norm)])

    def _check_finite(self) -> None:
        if not bool(torch.isfinite(self._device_sums).all()):
            self.status = "diverged"

    def _reset_sums(self) -> None:
        self._sums = {"seconds": 0.0, "waited": 0.0}
        self._device_sums = torch.zeros(4, device=self.device)  # loss, gradient norm, clipped steps, steps

    def collect(self) -> dict[str, float]:
        """Returns the means since the last call, and starts new ones.

        Returns:
            `train_loss`, `grad_norm` (before clipping), `clipped_share` of the steps, `lr`, `weight_decay` (of the last
            step), `clips_per_second`, and the seconds spent `training` and, of these, `waiting` for data.
        """
        loss, norm, clipped, steps = self._device_sums.tolist()
        seconds, waited = self._sums["seconds"], self._sums["waited"]
        self._reset_sums()
        lr, decay = self._rates(self.config, self.step, self.total_steps)
        return {
            "train_loss": loss / steps if steps else math.nan,
            "grad_norm": norm / steps if steps else math.nan,
            "clipped_share": clipped / steps if steps else math.nan,
            "lr": lr,
            "weight_decay": decay,
            "clips_per_second": steps * self.config.batch_size / seconds if seconds else 0.0,
            "training": seconds,
            "waiting": waited,
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a resumed run needs: `tensors` by name, and `numbers` that are plain JSON."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.averaged is not None:
            tensors |= {f"averaged.{name}": tensor for name, tensor in self.averaged.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{name}.{key}"] = value
        tensors["sums"] = self._device_sums
        tensors["rng.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        numbers = {
            "step": self.step,
            "status": self.status,
            "seconds": self.seconds,
            "sums": self._sums,
            "run": self._identity(),
        }
        return {"tensors": tensors, "numbers": numbers}

    def _identity(self) -> dict[str, Any]:
        """Returns what decides the run; a checkpoint of another one is refused."""
        teacher = None if self.target == "pixels" else self.store.teacher.sha256
        clips = len(self.store.train)
        config = self.config.to_dict()
        if self._rates.prolongs:  # its epochs decide where it ends, and nothing before
            del config["epochs"]
        return {**config, "view_hash": self.store.view.hash, "train_clips": clips, "target": self.target,
                "teacher": teacher}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            CheckpointError: it belongs to another configuration, store or target, or something is missing; nothing is
                taken over then.
        """
        tensors, numbers = state["tensors"], state["numbers"]
        try:
            for name, value in self._identity().items():
                if (there := numbers["run"][name]) != value:
                    raise CheckpointError(f"the checkpoint is of another run: {name} = {there!r} there, {value!r} here")
            if numbers["step"] > self.total_steps:
                trained = f"{numbers['step']} steps, more than the {self.total_steps} of {self.config.epochs:g} epochs"
                raise CheckpointError(f"the checkpoint is of a longer run: {trained}")
            names = list(self.model.state_dict())
            model = {name: tensors[f"model.{name}"] for name in names}
            averaged = {name: tensors[f"averaged.{name}"] for name in names} if self.averaged else {}
            adam: dict[torch.Tensor, dict[str, Any]] = {
                parameter: {key: tensors[f"optimizer.{name}.{key}"].to(self.device) for key in ADAM_STATE}
                for name, parameter in self.model.named_parameters()
                if numbers["step"]
            }
            device_sums, sums, rng = tensors["sums"].to(self.device), dict(numbers["sums"]), tensors["rng.cpu"]
            step, status, seconds = numbers["step"], cast(Status, numbers["status"]), numbers["seconds"]
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint lacks something: {error}") from error
        self.model.load_state_dict(model)
        if self.averaged is not None:
            self.averaged.model.load_state_dict(averaged)
        self.optimizer.state.update(adam)
        self._device_sums, self._sums = device_sums, sums
        torch.set_rng_state(rng)
        if self.device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        prolonged = status == "complete" and step < self.total_steps
        self.step, self.status, self.seconds = step, "running" if prolonged else status, seconds
        self._batches = None


def _parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Groups the parameters: matrices decay; biases, norms and the mask token do not (V-JEPA)."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "decays": True},
        {"params": [p for p in parameters if p.ndim < 2], "decays": False},
    ]
