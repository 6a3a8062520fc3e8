"""The training loop, of one device or of several that share each batch.

Design choices:
    - float32 master weights, bfloat16 autocast on CUDA: the hand-made ancestor's bfloat16 weights lost small updates.
    - All state follows from weights, optimiser and step: order and masks are functions of (seed, epoch, clip),
      schedules of the step. A run stopped anywhere and resumed is the same run.
    - Nothing waits for the GPU in a step. Sums of loss, gradient norm, clipped steps and spikes, over windows of a few
      steps, stay on the device and are read at a report. A non-finite loss or gradient, or a spike, is looked for every
      `CHECK_EVERY` steps.
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
from trainable.model.encoder import Encoder
from trainable.model.predictor import VJepa
from trainable.registry import LR_SCHEDULES
from trainable.train.averaged_weights import AveragedWeights
from trainable.train.gradients import Gradients
from trainable.train.lr_schedule import Rates
from trainable.train.ranks import Alone, Ranks
from trainable.train.step_sums import StepSums, Window

CHECK_EVERY = 50
WINDOWS_PER_EPOCH = 200  # at most; the steps of an epoch are shown as so many points

Status = Literal["running", "complete", "diverged"]

AFTER_TRUNK = ("epochs", "cooldown", "cooldown_shape")  # decide where a run ends, and nothing on its trunk

ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")  # the fused kernel wants the step on the device too


class Training:
    """One training run of student and predictor, or the part of it that one of its processes has.

    Args:
        config: hyperparameters.
        store: clips and, for `target="latents"`, the teacher's latents.
        target: what masked tokens are predicted: the teacher's latents, or normalised pixels (SALT's first stage).
        device: "cpu", "cuda", "cuda:1"...; None takes CUDA where there is one.
        loader_threads: background threads that decode, where pixels are not stored raw; None: one a core.
        ranks: the processes that share the run; None: this one is alone.
        init: encoder whose weights the student begins with; None: random ones.

    Attributes:
        model: student and predictor, float32.
        gradients: what computes a batch, and in how many parts.
        averaged: its averaged weights; None where `ema` is 0.
        step: optimiser steps made so far.
        steps_per_epoch: whole batches in the training clips.
        total_steps: steps of the whole run, at least one.
        trunk_steps: the first steps, on which the length of the run has no influence; 0 where it has on all.
        status: "running", "complete", or "diverged" after a non-finite loss or gradient.
        spiked: whether a step since the last report had a spike of the loss.
        careful_to: up to this step, a batch with a spike, or with a non-finite loss or gradient, is left out. That
            waits for the device in each step.
        skipped: the steps whose batch was left out.
        windows: of the steps before the last `collect`, up to the one before; they end with reports, and with every so
            many steps of an epoch, whatever the length of the run.
        stop: set it from a signal handler, and `train_to` returns after the step it is in, or the one after that where
            others share the run; on any of them, it stops all.
        ranks: as given.

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
        ranks: Ranks | None = None,
        init: Encoder | None = None,
    ) -> None:
        config.check_data(store.view, len(store.train))
        self.config, self.store, self.target = config, store, target
        self.ranks = ranks or Alone()
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.target_dim = store.view.token_values if target == "pixels" else store.teacher.dim
        torch.manual_seed(config.seed)
        self.model = VJepa(config, store.view, self.target_dim)
        if target == "latents":  # normalised pixels start at zero, ImageNet's mean: theirs would take a pass to know
            self.model.predictor.start_at(torch.from_numpy(store.teacher.mean))
        self._init = None if init is None else init.sha256
        if init is not None:
            self.model.student.load_state_dict(init.state_dict())
        self.model.to(self.device)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.model), lr=config.lr, betas=(config.beta1, config.beta2), fused=True
        )
        self.averaged = AveragedWeights(self, config.ema) if config.ema else None
        self._rates = LR_SCHEDULES[config.lr_schedule]
        self.gradients = Gradients(self)
        masks = Masks(store.view, config.masking, config.mask_ratio, config.seed, config.predict_share)
        self._context = config.context_weight > 0  # whether visible tokens are predicted too
        self._loader = Loader(
            store,
            store.train,
            masks,
            config.batch_size,
            rows=slice(self.ranks.rank, None, self.ranks.count),
            target=target,
            context=self._context,
            device=self.device,
            threads=loader_threads,
        )
        self._batches: Iterator[Batch] | None = None
        self.step = 0
        self.steps_per_epoch = len(store.train) // config.batch_size
        self.total_steps = max(1, round(self.steps_per_epoch * config.epochs))
        trunk = self._rates.trunk_steps
        self.trunk_steps = 0 if trunk is None else trunk(config, self.total_steps)
        self.status: Status = "running"
        self.spiked, self.careful_to, self.skipped = False, 0, list[int]()
        self.stop = threading.Event()
        self.seconds = 0.0  # of training, over the whole run
        self._sums = StepSums(self.device)
        self.windows: list[Window] = []
        self._window_steps = math.ceil(self.steps_per_epoch / WINDOWS_PER_EPOCH)

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

    def rates(self, step: int) -> Rates:
        """Returns what an optimiser step is made with; the first one is step 1."""
        return self._rates(self.config, step, self.total_steps)

    def autocast(self) -> torch.autocast:
        """Returns the precision that forward passes run in."""
        return autocast(self.config, self.device)

    def targets(self, batch: Batch) -> torch.Tensor:
        """Returns a batch's targets in float32: latents as stored, pixels normalised like the student's input.

        Their shape is that of `Batch.targets`.
        """
        if self.target == "pixels":
            return self.model.student.normalise(batch.targets)
        return decode(batch.targets, batch.scales if batch.targets.dtype == torch.int8 else None)

    def train_to(self, step: int) -> None:
        """Trains until `step` optimiser steps have been made in all, `stop` is set, or the run has diverged."""
        self.model.train()
        started, waited, begun = time.perf_counter(), 0.0, self.step
        while self.step < min(step, self.total_steps) and self.status == "running":
            if self.ranks.stopping(self.stop):
                break
            asked = time.perf_counter()
            batch = self._next_batch()
            waited += time.perf_counter() - asked
            self._train_step(batch)
            if self.step % self._window_steps == 0:
                self._sums.close_window(self.step)
            if self.step % CHECK_EVERY == 0:
                self._check_finite()
        if self.step > begun:
            self._check_finite()  # reads from the device, so the clock below counts finished work
        self._sums.add_seconds(time.perf_counter() - started, waited)
        self.seconds += time.perf_counter() - started
        if self.status == "running" and self.step == self.total_steps:
            self.status = "complete"

    def _next_batch(self) -> Batch:
        epoch, position = divmod(self.step, self.steps_per_epoch)
        if self._batches is None or position == 0:
            self._batches = self._loader.training_epoch(self.config.seed, epoch, start=position)
        return next(self._batches)

    def _train_step(self, batch: Batch) -> None:
        lr, decay = self.rates(self.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
            group["weight_decay"] = decay if group["decays"] else 0.0
        loss, context_loss = self.gradients.add(batch, self._context_weight())
        limit = self.config.grad_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        self.step += 1
        if self.step <= self.careful_to and self._is_bad(loss, norm):
            self.optimizer.zero_grad(set_to_none=True)
            self.skipped.append(self.step)
            return
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.averaged is not None:
            self.averaged.update(self.step)
        self._sums.add(loss, context_loss, norm, norm > limit)

    def _is_bad(self, loss: torch.Tensor, norm: torch.Tensor) -> bool:
        """Says whether the batch of this step is to be left out, on all ranks alike; waits for the device."""
        return self.ranks.any(bool(self._sums.is_spike(loss)) or not math.isfinite(loss + norm))

    def _context_weight(self) -> float:
        """Returns the weight of the loss on visible tokens in the step to come: it rises after the learning rate."""
        warmup = self._rates.warmup(self.config, self.total_steps)
        risen = (self.step + 1 - warmup) / warmup if warmup else 1.0
        return self.config.context_weight * min(max(risen, 0.0), 1.0)

    def _check_finite(self) -> None:
        finite, self.spiked = self._sums.read(self.ranks)
        if not finite:
            self.status = "diverged"

    def collect(self) -> dict[str, float]:
        """Returns the means since the last call, and starts new ones; `windows` are those of a few steps.

        Returns:
            `train_loss` on masked tokens, `context_loss` on visible ones before its weight where these are predicted
            too, `grad_norm` (before clipping), `clipped_share` of the steps, `lr`, `weight_decay` (of the last step),
            `clips_per_second`, and the seconds spent `training` and, of these, `waiting` for data.
        """
        means, self.windows = self._sums.take(self.step)
        steps, seconds, waited = (means.pop(name) for name in ("steps", "seconds", "waited"))
        if not self._context:
            del means["context_loss"]
        lr, decay = self.rates(self.step)
        return {
            **means,
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
        sums, seconds = self._sums.state_dict()
        tensors |= sums
        tensors["rng.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.device)
        numbers = {
            "step": self.step,
            "status": self.status,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "sums": seconds,
            "run": self._identity(on_trunk=0 < self.step <= self.trunk_steps),
        }
        return {"tensors": tensors, "numbers": numbers}

    def _identity(self, *, on_trunk: bool) -> dict[str, Any]:
        """Returns what decides the run up to here; a checkpoint of another one is refused."""
        teacher = None if self.target == "pixels" else self.store.teacher.sha256
        clips = len(self.store.train)
        config = self.config.to_dict()
        if on_trunk:
            for name in AFTER_TRUNK:
                del config[name]
        return {**config, "view_hash": self.store.view.hash, "train_clips": clips, "target": self.target,
                "teacher": teacher, "init": self._init}  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave.

        Raises:
            CheckpointError: it belongs to another configuration, store or target, or something is missing; nothing is
                taken over then.
        """
        tensors, numbers = state["tensors"], state["numbers"]
        try:
            on_trunk = "epochs" not in numbers["run"]
            for name, value in self._identity(on_trunk=on_trunk).items():
                if (there := numbers["run"][name]) != value:
                    raise CheckpointError(f"the checkpoint is of another run: {name} = {there!r} there, {value!r} here")
            if on_trunk and numbers["step"] > self.trunk_steps:
                most = f"the {self.trunk_steps} that {self.config.epochs:g} epochs have before their cooldown"
                raise CheckpointError(f"the checkpoint is of a longer run: {numbers['step']} steps, more than {most}")
            names = list(self.model.state_dict())
            model = {name: tensors[f"model.{name}"] for name in names}
            averaged = {name: tensors[f"averaged.{name}"] for name in names} if self.averaged else {}
            adam: dict[torch.Tensor, dict[str, Any]] = {
                parameter: {key: tensors[f"optimizer.{name}.{key}"].to(self.device) for key in ADAM_STATE}
                for name, parameter in self.model.named_parameters()
                if numbers["step"]
            }
            sums, rng = self._sums.restored(tensors, numbers["sums"]), tensors["rng.cpu"]
            skipped = [*numbers["skipped"]]
            step, status, seconds = numbers["step"], cast(Status, numbers["status"]), numbers["seconds"]
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"the checkpoint lacks something: {error}") from error
        self.model.load_state_dict(model)
        if self.averaged is not None:
            self.averaged.model.load_state_dict(averaged)
        self.optimizer.state.clear()
        self.optimizer.state.update(adam)
        self._sums = sums
        torch.set_rng_state(rng)
        if self.device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], self.device)
        prolonged = status == "complete" and step < self.total_steps
        self.step, self.status, self.seconds = step, "running" if prolonged else status, seconds
        self.spiked, self.skipped = False, skipped
        self._batches = None


def autocast(config: TrialConfig, device: torch.device) -> torch.autocast:
    """Returns the precision that forward passes of a configuration run in."""
    bf16 = config.precision == "bf16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


def _parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Groups the parameters: matrices decay; biases, norms and the mask token do not (V-JEPA)."""
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "decays": True},
        {"params": [p for p in parameters if p.ndim < 2], "decays": False},
    ]
