"""Where to search next: bounds that the best trials lie at, and ranges that they leave empty."""

import math
from typing import Any, Final

import pandas as pd

from analysis.tables.run import Run

EDGE: Final = 0.1  # of a range: the best trial within it is at the edge
CHANCE: Final = 0.05  # of seeing the best trials as close together by luck, above which nothing is said
FEWEST: Final = 6  # ranked trials, below which nothing is said
BEST_SHARE: Final = 0.25  # of the ranked trials are the best, and `FEWEST_BEST` at least
FEWEST_BEST: Final = 3
MARGIN: Final = 0.1  # of a range, that a narrowed one keeps on each side of the best trials
_TYPES = {
    "parameter": "str",
    "action": "str",
    **dict.fromkeys(("low", "high", "new_low", "new_high"), "float64"),
    "values": "str",
    "new_values": "str",
    "settings": "str",
    "reason": "str",
}


def suggest(run: Run) -> pd.DataFrame:
    """Suggests what another search should draw from, parameter by parameter.

    The best trials are the first quarter of the ranking, three at least. A range is widened where the winner lies in
    the outer tenth and the best trials in the outer half. It is narrowed to them where random trials would lie as close
    together in less than 5% of searches. A value is dropped that the best trials would lack as rarely. Each parameter
    is judged for itself, and is left as it is otherwise.

    Returns:
        One row a parameter with a range, in the order of the space: `parameter`; `action`: `widen`, `narrow`, `drop`
        (values of a choice that no good trial has) or `keep`; `low`, `high`, `new_low`, `new_high` of a range (float64;
        missing of a choice); `values`, `new_values` of a choice, as YAML; `settings`, what `--set` takes for it, words
        parted by spaces, empty for `keep`; and `reason`.
    """
    ranked = run.trials[run.trials["rank"].notna()].sort_values("rank")
    rows = [
        {"parameter": name, **_suggestion(run, ranked, name)}
        for name in run.parameters
        if name in run.summary["ranges"]
    ]
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


def _suggestion(run: Run, ranked: pd.DataFrame, name: str) -> dict[str, Any]:
    extent = run.summary["ranges"][name]
    known = ranked[ranked[name].notna()]
    ends = {"low": extent.get("low"), "high": extent.get("high")}
    ends |= {"new_low": ends["low"], "new_high": ends["high"]}
    written = _as_yaml(extent["values"]) if "values" in extent else None
    kept = {**ends, "values": written, "new_values": written, "action": "keep", "settings": ""}
    if len(known) < FEWEST:
        return {**kept, "reason": f"{len(known)} ranked trials set it, and {FEWEST} are needed to tell"}
    best = known.head(max(FEWEST_BEST, math.ceil(BEST_SHARE * len(known))))
    if "values" in extent:
        return {**kept, **_of_choice(known, best, name, extent["values"])}
    return {**kept, **_of_range(run, known, best, name)}


def _of_choice(known: pd.DataFrame, best: pd.DataFrame, name: str, values: list[Any]) -> dict[str, Any]:
    """Drops values that were tried so often that the best trials would hardly all lack them by luck."""
    tried, good = known[name].astype("str"), best[name].astype("str")
    dropped, reasons = [], []
    for value in values:
        text = "null" if value is None else str(value)
        count = int((tried == text).sum())
        chance = math.comb(len(known) - count, len(best)) / math.comb(len(known), len(best))
        if count and not (good == text).any() and chance < CHANCE / len(values):
            dropped.append(value)
            reasons.append(f"none of the best {len(best)} has {text}, which {count} of {len(known)} had")
    if not dropped:
        return {"reason": f"no value is missing among the best {len(best)} of {len(known)} more than luck explains"}
    left = [value for value in values if value not in dropped]
    setting = f"parameters.{name}.values={_as_yaml(left)}"
    return {"action": "drop", "new_values": _as_yaml(left), "settings": setting, "reason": "; ".join(reasons)}


def _of_range(run: Run, known: pd.DataFrame, best: pd.DataFrame, name: str) -> dict[str, Any]:
    extent, log = run.summary["ranges"][name], run.summary["scales"][name] == "log"
    whole = all(isinstance(end, int) for end in extent.values())
    low, high = (math.log(end) if log else float(end) for end in (extent["low"], extent["high"]))

    def value(place: float) -> float:
        at = low + place * (high - low)
        exact = math.exp(at) if log else at
        return round(exact) if whole else float(f"{exact:.2g}")

    numbers = known[name].astype("float64")
    places = ((numbers.apply(math.log) if log else numbers) - low) / (high - low)
    good = places.loc[best.index]
    first, said = float(good.iloc[0]), f"best {len(best)} of {len(known)}"
    winner = f"the winner, {best['trial'].iloc[0]}, has {best[name].iloc[0]:.3g}"
    if first <= EDGE and good.max() <= 0.5:
        new = _widened(value(-0.5), extent, downwards=True)
        if new < extent["low"]:
            reason = f"{winner}, at the lower end; the {said} lie in the lower half"
            return {"action": "widen", "new_low": new, "settings": _setting(name, "low", new), "reason": reason}
    if first >= 1 - EDGE and good.min() >= 0.5:
        new = _widened(value(1.5), extent, downwards=False)
        if new > extent["high"]:
            reason = f"{winner}, at the upper end; the {said} lie in the upper half"
            return {"action": "widen", "new_high": new, "settings": _setting(name, "high", new), "reason": reason}
    return _narrowed(extent, name, good, places, value, said)


def _narrowed(
    extent: dict[str, Any], name: str, good: "pd.Series[float]", places: "pd.Series[float]", value: Any, said: str
) -> dict[str, Any]:
    begin, end = float(good.min()), float(good.max())
    # Against what was tried, not against the range: a searcher draws where scores are good.
    share = float(places.between(begin, end).mean())
    chance = _by_luck(len(good), share)
    between = f"the {said} lie between {value(begin):.3g} and {value(end):.3g}"
    if chance >= CHANCE or share > 0.7:
        return {"reason": f"{between}, with {share:.0%} of all: luck would do that in {chance:.0%} of searches"}
    new_low = max(value(max(0.0, begin - MARGIN)), extent["low"])
    new_high = min(value(min(1.0, end + MARGIN)), extent["high"])
    if (new_low, new_high) == (extent["low"], extent["high"]) or new_low >= new_high:
        return {"reason": f"{between}, which leaves no end to cut"}
    settings = [_setting(name, end, new) for end, new in (("low", new_low), ("high", new_high)) if new != extent[end]]
    reason = f"{between}, with {share:.0%} of all: luck would do that in {chance:.1%} of searches"
    return {
        "action": "narrow",
        "new_low": new_low,
        "new_high": new_high,
        "settings": " ".join(settings),
        "reason": reason,
    }


def _by_luck(count: int, share: float) -> float:
    """Returns the chance that so many uniform draws all lie within some stretch of this share of the range."""
    return min(1.0, count * share ** (count - 1) - (count - 1) * share**count)


def _widened(new: float, extent: dict[str, Any], *, downwards: bool) -> float:
    """Keeps what lies in [0, 1], or is not negative, so, such as shares and rates: half of what is left is taken."""
    whole = isinstance(extent["low"], int)
    if downwards and extent["low"] >= 0:
        least = 1 if whole and extent["low"] >= 1 else 0
        return new if new > least else least if whole else (extent["low"] + least) / 2
    if not downwards and not whole and extent["low"] >= 0 and extent["high"] <= 1 <= new:
        return float(extent["high"] + 1) / 2
    return new


def _setting(name: str, end: str, value: float) -> str:
    return f"parameters.{name}.{end}={value:g}"


def _as_yaml(values: list[Any]) -> str:
    plain = {None: "null", True: "true", False: "false"}
    return "[" + ",".join(plain[each] if each is None or isinstance(each, bool) else str(each) for each in values) + "]"
