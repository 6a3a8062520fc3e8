"""Writes shards row by row: the memory it takes is a batch's, not a shard's, and each file takes its name whole."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from trainable.data.store.shards import Part, shard_file
from trainable.data.store.targets import Targets
from trainable.files import atomic_write
from trainable.hashing import Floats, digest


class _ArrayWriter:
    """A .npy file; its number of rows is known when the last one is there; no row, no file."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack = path, stack
        self._file: BinaryIO | None = None
        self._row: npt.NDArray[Any] = np.empty(0)
        self.rows = 0

    def append(self, rows: npt.NDArray[Any]) -> None:
        if self._file is None:
            temporary = self._stack.enter_context(atomic_write(self._path))
            self._file = self._stack.enter_context(temporary.open("wb"))
            self._row = rows[:0]
            self._write_header(self._file)
        self._file.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self.rows += len(rows)

    def _write_header(self, file: BinaryIO) -> None:
        """Writes the header, which Numpy pads so that any number of rows fits in later."""
        header = np.lib.format.header_data_from_array_1_0(self._row)
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (self.rows, *self._row.shape[1:])})

    def finish(self) -> None:
        if self._file is not None:
            self._file.seek(0)
            self._write_header(self._file)


class ShardWriter:
    """The files of one shard; a context manager that leaves all of them, whole, or after an error none.

    Args:
        folder: of the staged store.
        name: name of the shard.

    Attributes:
        rows: how many are there.
        latent_digests: checksums of their latents.
        sums: of the latents: `tokens`, and what `Targets` sums up.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._stack = ExitStack()
        self._arrays: dict[Part, _ArrayWriter] = {}
        self.latent_digests: list[int] = []
        self._total: Floats | float = 0.0
        self._square_total: Floats | float = 0.0
        self._squared_error, self._tokens = 0.0, 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for array in self._arrays.values():
                    array.finish()
        except BaseException as failure:  # such as a full disk
            self._stack.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)

    def _array(self, part: Part) -> _ArrayWriter:
        return self._arrays.setdefault(part, _ArrayWriter(shard_file(self._folder, self._name, part), self._stack))

    def add_pixels(self, stored: npt.NDArray[np.uint8]) -> int:
        """Appends one row's tokens (tokens, token values), or its JPEG (n,).

        Returns:
            Where its JPEG begins.
        """
        array = self._array("pixels")
        start = array.rows
        array.append(stored if stored.ndim == 1 else stored[None])
        return start

    def add_latents(self, targets: Targets) -> None:
        """Appends the latents of some rows."""
        self._array("latents").append(targets.latents)
        if targets.scales is not None:
            self._array("scales").append(targets.scales)
        for row, latents in enumerate(targets.latents):
            self.latent_digests.append(digest(latents, *(() if targets.scales is None else (targets.scales[row],))))
        self._total = self._total + targets.total
        self._square_total = self._square_total + targets.square_total
        self._squared_error += targets.squared_error
        self._tokens += targets.latents.shape[0] * targets.latents.shape[1]

    def latent_facts(self) -> dict[str, Any]:
        """Returns checksums and sums of the latents written, as plain JSON."""
        return {
            "digests": self.latent_digests,
            "tokens": self._tokens,
            "total": np.atleast_1d(self._total).tolist(),
            "square_total": np.atleast_1d(self._square_total).tolist(),
            "squared_error": self._squared_error,
        }
