"""What a trial is worth beside an untrained encoder of its architecture; needs no torch."""

from enum import StrEnum


class Verdict(StrEnum):
    """What the field `verdict` of a report says; a report without the field was not measured."""

    BETTER = "better than untrained"
    UNPROVEN = "not shown to be better"
    WORSE = "worse than untrained"
    COLLAPSED = "collapsed"

    @property
    def unfit(self) -> bool:
        """Whether the encoder is of no use: random weights serve as well or better."""
        return self in (Verdict.WORSE, Verdict.COLLAPSED)
