"""The embedded default store: videos of moving shapes, drawn and prepared on first use."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from salt_tune.ui.console import console
from trainable.data.video.view import View

DEMO_VIEW: Final = View(frames=8, size=48, patch=8, tubelet=2)
DEMO_CLIPS: Final = 480
DEMO_STORE: Final = Path("stores/demo")


def find_store(path: Path | None) -> Path:
    """Finds the store to search on; prepares the embedded default where it is meant and not there yet.

    Args:
        path: of the store; None: the embedded default.
    """
    if path is None and not DEMO_STORE.exists():
        console.print(f"No --store given: preparing {DEMO_STORE}, {DEMO_CLIPS} videos of moving shapes.")
        # In a process of its own, so that this one stays without torch.
        words = ["-m", "salt_tune.prepare", "--synthetic", str(DEMO_CLIPS), "--store", str(DEMO_STORE)]
        if code := subprocess.run([sys.executable, *words], check=False).returncode:
            sys.exit(code)
    return path or DEMO_STORE
