"""Memory of a process that trains one trial after the other: giving it back, and running out of it."""

import errno
import gc
import re

import torch

NO_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED")


def limit_process(threads: int, gpu_share: float) -> None:
    """Keeps this process within its share of the machine, beside those that train other trials.

    Args:
        threads: of the CPU.
        gpu_share: of the GPU's memory; from 1 on there is no limit, as without a GPU.
    """
    torch.set_num_threads(threads)
    if 0 < gpu_share < 1:  # a trial that wants more than its share must not take its neighbours down
        torch.cuda.set_per_process_memory_fraction(gpu_share)


def free_memory() -> None:
    """Gives back to the device what nothing refers to any more, and starts its peak anew."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether the error says that memory, of the GPU or the machine, did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None  # the CPU's allocator, cuBLAS
