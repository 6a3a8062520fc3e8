"""Where the time of a training step goes, and what the device could do."""

import time
from collections import Counter, defaultdict
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.training_step.plain import synchronize
from trainable.data.store.loader import Batch
from trainable.train.training import Training

MATRIX = {"cuda": 8192, "cpu": 1024}  # rows and columns
MATRIX_SECONDS = 0.5

WAITING, REST = "waiting for data", "averages and sums"
STUDENT, PREDICTOR, LOSS, OPTIMISER = "student", "predictor", "loss", "clipping and AdamW"
PARTS = (STUDENT, PREDICTOR, LOSS, OPTIMISER, REST, WAITING)


class Clock:
    """Gives the time between two marks to a part: by CUDA events where there are any, so that nothing waits."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []

    def mark(self, part: str) -> None:
        """Says that what went before, since the last mark, was `part`."""
        if self._cuda:
            moment: Any = torch.cuda.Event(enable_timing=True)
            moment.record()
        else:
            moment = time.perf_counter()
        self._marks.append((part, moment))

    def shares(self) -> dict[str, float]:
        """Returns the share of each part in the time from the first mark to the last; the device must be done."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for (_, before), (part, after) in zip(self._marks, self._marks[1:], strict=False):
            seconds[part] += before.elapsed_time(after) if self._cuda else after - before
        whole = sum(seconds.values())
        return {part: seconds[part] / whole for part in PARTS}


class MarkedTraining(Training):
    """A training that marks the parts of its steps; forward and backward of a part count together."""

    clock: Clock | None = None

    def watch(self) -> Clock:
        """Begins to mark, and returns the clock."""
        self.clock = Clock(self.device)
        self.model.student.register_forward_hook(self._after_student)
        self.model.predictor.register_forward_hook(self._after_predictor)
        self.optimizer.register_step_post_hook(lambda *_: self._mark(OPTIMISER))
        self._mark(REST)
        return self.clock

    def _mark(self, part: str) -> None:
        if self.clock is not None:
            self.clock.mark(part)

    def _next_batch(self) -> Batch:
        batch = super()._next_batch()
        self._mark(WAITING)
        return batch

    def _train_step(self, batch: Batch) -> None:
        super()._train_step(batch)
        self._mark(REST)

    def _after_student(self, _module: torch.nn.Module, _inputs: object, features: torch.Tensor) -> None:
        self._mark(STUDENT)
        if features.requires_grad:
            features.register_hook(self._before_student_backward)

    def _before_student_backward(self, _gradient: torch.Tensor) -> None:
        self._mark(PREDICTOR)
        engine: Any = torch.autograd.Variable._execution_engine
        engine.queue_callback(lambda: self._mark(STUDENT))  # when the backward pass is over

    def _after_predictor(self, _module: torch.nn.Module, _inputs: object, prediction: torch.Tensor) -> None:
        self._mark(PREDICTOR)
        if prediction.requires_grad:
            prediction.register_hook(lambda _gradient: self._mark(LOSS))


def shares_of_a_step(training: MarkedTraining, steps: int) -> dict[str, float]:
    """Trains so many steps and returns the share of each part."""
    clock = training.watch()
    training.train_to(training.step + steps)
    synchronize(training.device)
    training.clock = None
    return clock.shares()


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Measures TFLOP/s of a product of large square matrices: the best of several, within half a second or three."""
    size = MATRIX[device.type]
    one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best, ended, count = float("inf"), time.perf_counter() + MATRIX_SECONDS, 0
    while count < 4 or time.perf_counter() < ended:
        synchronize(device)
        started = time.perf_counter()
        torch.mm(one, other)
        synchronize(device)
        if count:  # the first one chooses a kernel
            best = min(best, time.perf_counter() - started)
        count += 1
    return 2 * size**3 / best / 1e12


def attention_kernels(training: Training) -> dict[str, int]:
    """Returns the attention operations of one step's forward pass, and how often each ran."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        training.train_to(training.step + 1)
    found = Counter[str]()
    for event in profiler.key_averages():
        name = event.key.removeprefix("aten::")
        if name.startswith("_scaled_dot_product") and not name.endswith("backward"):
            found[name] += event.count
    return dict(found)
