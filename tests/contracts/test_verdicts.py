"""Verdicts: what trials report and what a ranking makes of it are two rooms' words for one thing."""

from analysis.run_directory.trials import UNFIT
from trainable.evaluate.verdict import Verdict


def test_the_ranking_knows_which_verdicts_are_unfit() -> None:
    assert {verdict for verdict in Verdict if verdict.unfit} == set(UNFIT)
    assert {Verdict.BETTER, Verdict.UNPROVEN}.isdisjoint(UNFIT)
