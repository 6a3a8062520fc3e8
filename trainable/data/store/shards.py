"""The files of a store's shards: what they are called, and mapping them."""

import resource
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainable.errors import StoreError

Part = Literal["pixels", "latents", "scales"]
Half = Literal["pixels", "latents"]

RESTORE = "restore it, rebuild it with `prepare repair`, or prepare the store again with --overwrite"


def allow_files(count: int) -> None:
    """Raises this process's limit of open files: a mapped shard counts as one, and a large store has thousands.

    Raises:
        StoreError: the system's limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if count > soft != resource.RLIM_INFINITY:
        if count > hard != resource.RLIM_INFINITY:
            raise StoreError(
                f"open files = {hard}: this store needs {count}; raise the limit with `ulimit -Hn {count}`"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def shard_file(folder: Path, name: str, part: Part) -> Path:
    """Names the file of one shard."""
    return folder / f"{name}.{part}.npy"


def load_array(file: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Maps an array and checks what it is.

    Raises:
        StoreError: it is missing, damaged, or of another shape or type.
    """
    try:
        mapped: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise StoreError(f"{file}: missing; {RESTORE}") from error
    except Exception as error:  # numpy raises nearly anything on a damaged header
        raise StoreError(f"{file}: truncated or damaged; {RESTORE}") from error
    if mapped.shape != shape or mapped.dtype != dtype:
        raise StoreError(
            f"{file}: shape {mapped.shape} of {mapped.dtype}: the manifest says {shape} of {np.dtype(dtype)}"
        )
    return mapped
