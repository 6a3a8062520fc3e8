r"""Text that may hold anything, such as the name of a file, made fit to be shown.

A name may hold whatever a file system takes. An escape sequence repaints a terminal, a line break ends the row of a
table, a sign turns the reading direction round. `printable` shows such a character as its code, as `\x1b`.
"""

import re

# Control characters (C0, DEL, C1), line and paragraph separators, what turns the reading direction, lone surrogates.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Returns the text in one line, in which every control character is visible and none takes effect."""
    return _CONTROL.sub(lambda found: escape(found[0]), text)


def escape(character: str) -> str:
    r"""Returns a character by its code, as Python writes it: `\n`, `\x1b`, `\u202e`."""
    return character.encode("unicode_escape").decode()


def shortened(text: str, letters: int) -> str:
    """Returns the text in so many letters at most; what is left out of its middle is marked."""
    if len(text) <= letters:
        return text
    head = letters // 2
    return f"{text[:head]}…{text[len(text) - (letters - head - 1) :]}"
