"""Names of any kind are shown letter by letter: on a terminal, on a page, in a plot."""

import unicodedata
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text

from analysis.plots.style import drawn, figure, named_rows, style
from analysis.text import printable, shortened

HOSTILE = ("\x1b[2J", "a\nb", "a\tb\r", "\x07", "\x9b31m", "gpj.\u202etrap", "\u2066x", "\ud800", "\udcff", "\u2028")
STRANGE = (*HOSTILE, r"$\frac$", "$", "$x$ and $y$", r"\$", "^_", "{0}", "走る", "🐕", "é\u0301", "x" * 300)


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_is_shown_takes_effect(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert not any(unicodedata.bidirectional(letter) in ("LRO", "RLO", "LRE", "RLE", "PDF") for letter in shown)
    shown.encode()
    assert printable(shown) == shown


def test_what_is_no_control_character_stays() -> None:
    text = "Résumé 走る 🐕‍🦺 שלום a|b `c` \\x1b $x$ \N{NO-BREAK SPACE}"
    assert printable(text) == text
    assert [printable(name) for name in HOSTILE[:6]] == [
        r"\x1b[2J", r"a\nb", r"a\tb\r", r"\x07", r"\x9b31m", r"gpj.\u202etrap",
    ]  # fmt: skip


@given(st.text(), st.integers(1, 40))
def test_a_shortened_text_has_its_ends(text: str, letters: int) -> None:
    short = shortened(text, letters)
    assert len(short) == min(len(text), letters)
    head, _, tail = (text, "", "") if short == text else short.partition("…")
    assert text.startswith(head) and text.endswith(tail)


@pytest.mark.parametrize("name", STRANGE)
def test_a_name_is_drawn_as_it_is(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = figure(9, 3)
        ax = whole.subplots()
        style(ax, name, name, name)
        named_rows(ax, [name, name], bold=name)
        whole.canvas.draw()
    title = ax.title if ax.title.get_text() else next(t for t in ax.findobj(Text) if t.get_text() == drawn(name))
    shown, kind = title._preprocess_math(title.get_text())  # type: ignore[attr-defined]
    assert kind is False, "no formula"
    if name.isascii() and name == printable(name) and len(name) < 40:  # a longer one is shortened
        assert shown == name


def test_what_the_font_has_no_glyph_for_is_drawn_as_its_code() -> None:
    assert drawn("走る") == r"\u8d70\u308b"
    assert drawn("été") == "été"
    assert drawn("$" * 30, 5) == r"\$\$…\$\$"
