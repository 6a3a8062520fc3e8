"""The single-GPU training loop: V-JEPA with a frozen teacher. Knows nothing of Ray, except in `ray_trainable`.

`trainable.task` says what a search has to know of a method; `trainable.salt` is this one, behind that protocol.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainable.model.encoder import load_encoder
    from trainable.model.export import export_encoder

__all__ = ["export_encoder", "load_encoder"]

_MODULES = {"export_encoder": "trainable.model.export", "load_encoder": "trainable.model.encoder"}


def __getattr__(name: str) -> Any:
    """Loads what needs torch only when it is asked for: the search's driver and the decoding workers do without."""
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'trainable' has no attribute {name!r}")
