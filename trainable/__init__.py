"""The single-GPU training loop: V-JEPA with a frozen teacher. Knows nothing of Ray, except in `ray_trainable`.

`trainable.task` says what a search has to know of a method; `trainable.salt` is this one, behind that protocol.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainable.model.encoder import load_encoder

__all__ = ["load_encoder"]


def __getattr__(name: str) -> Any:
    """Loads what needs torch only when it is asked for: the search's driver and the decoding workers do without."""
    if name == "load_encoder":
        from trainable.model.encoder import load_encoder

        return load_encoder
    raise AttributeError(f"module 'trainable' has no attribute {name!r}")
