"""`python -m trainable.trial.throughput_probe TASK`: trains a throw-away model while its lines are read.

Several of these side by side show how much trials take from each other on one machine. One alone shows how much memory
a trial takes. A process each, like a trial's: contexts on the GPU and memory are real, and go back when it is killed.

The task is JSON: `hyperparameters`, `store`, `device`, `threads`, `cores` (how many of the machine's it may run on),
and `evaluation`. The last has fields of `EvaluationConfig`, or is null where nothing is to be judged. After the
warm-up, each line of the output is JSON too:
- `time`: of the system-wide monotonic clock;
- `step`: made by then;
- `clips`: a step;
- `ram`: most bytes of its own so far;
- `used` and `total`, on CUDA: bytes of the GPU, whichever process has them;
- `at_start`, on CUDA: used when this process had not yet asked for any.

A line with `out_of_memory` or `error` is the last one.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, TextIO

import torch

from trainable.config import TrialConfig
from trainable.data.store.clip_store import ClipStore
from trainable.errors import UserError
from trainable.evaluate.config import EvaluationConfig
from trainable.evaluate.evaluator import Evaluator, measure
from trainable.memory import is_out_of_memory
from trainable.train.step_time import HARMLESS_LR, WARM_UP
from trainable.train.training import Training

SECONDS_A_LINE = 0.1  # at least: a line waits for the device
ENDLESS = 10**9  # steps
STATUS = Path("/proc/self/status")


def main() -> None:
    """Trains until it is killed, or until nothing reads any more."""
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere
    try:
        train_for_ever(json.loads(sys.argv[1]), output)
    except BrokenPipeError:
        os._exit(0)
    except UserError as error:
        _say(output, {"error": str(error)})
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _say(output, {"out_of_memory": True})


def train_for_ever(task: dict[str, Any], output: TextIO) -> None:
    """Trains and writes a line now and then.

    Raises:
        UserError: the configuration does not fit the store, or its loss is no number from the start.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["cores"]])
    torch.set_num_threads(task["threads"])
    device = torch.device(task["device"])
    at_start = _gpu_memory(device)[0]
    store = ClipStore.open(task["store"])
    training = _start(TrialConfig.from_dict(task["hyperparameters"]), store, device)
    training.train_to(WARM_UP)
    if task["evaluation"] is not None:
        _judge(training, task["evaluation"])
    steps = 1
    while training.status == "running":
        started = time.monotonic()
        training.train_to(training.step + steps)
        ended = time.monotonic()
        line = {"time": ended, "step": training.step, "clips": training.config.batch_size, "ram": own_peak()}
        if device.type == "cuda":
            used, total = _gpu_memory(device)
            line |= {"used": used, "total": total, "at_start": at_start}
        _say(output, line)
        if ended - started < SECONDS_A_LINE:
            steps *= 2
    raise UserError("the loss is no number from the first steps on")


def _start(config: TrialConfig, store: ClipStore, device: torch.device) -> Training:
    config.check_data(store.view, len(store.train))
    epochs = ENDLESS / (len(store.train) // config.batch_size)
    return Training(config.replace(epochs=epochs, lr=HARMLESS_LR, min_lr=None), store, device=device)


def _judge(training: Training, evaluation: dict[str, Any]) -> None:
    """Takes the memory that a report takes: a batch for each of its passes."""
    batch = max(2, evaluation["batch_size"])
    few = {"clips": min(evaluation["clips"], batch), "panel_clips": min(evaluation["panel_clips"], 2 * batch)}
    evaluator = Evaluator(training.store, EvaluationConfig(**{**evaluation, **few}), device=training.device)
    judged = evaluator.judge(training)
    measure(judged, "report")
    measure(judged, "probe")
    evaluator.close()


def _gpu_memory(device: torch.device) -> tuple[int, int]:
    """Returns the bytes used by any process, and the bytes there are; nothing without a GPU."""
    if device.type != "cuda":
        return 0, 0
    free, total = torch.cuda.mem_get_info(device)
    return total - free, total


def own_peak() -> int:
    """Returns this process's peak memory in bytes; on Linux without what it shares, such as the store."""
    try:
        fields = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
        peak, shared = (int(fields[name].split()[0]) * 1024 for name in ("VmHWM", "RssFile"))
        return peak - shared
    except (OSError, KeyError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _say(output: TextIO, line: dict[str, Any]) -> None:
    output.write(json.dumps(line) + "\n")
    output.flush()


if __name__ == "__main__":
    main()
