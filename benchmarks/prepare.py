"""`python -m benchmarks.prepare [VIDEOS]`: each stage of a preparation alone, and all of them as a pipeline.

Measures decoding (with its workers), a teacher and writing (with fsync), at 16 x 224 x 224 on the same clips. Then
measures what the pipeline reaches of the slowest stage. It does so once without a teacher, where decoding is the
slowest, and once with VideoMAEv2-Small (random weights). Without a GPU that teacher is the slowest by far, and shares
the cores with decoding. VIDEOS is a folder of videos; without it, VP9 videos of moving shapes, 48 frames of 240 x 240,
are written first.
"""

import argparse
from pathlib import Path


def main() -> None:
    """Measures and writes results/prepare-*.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="?")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    from benchmarks.stages import measure
    from trainable.data.build.decoding import Decoders

    measure(arguments.videos, Decoders(arguments.workers), arguments.rounds)


if __name__ == "__main__":
    main()
