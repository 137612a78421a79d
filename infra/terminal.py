"""What others wrote, put on a terminal as text: a terminal obeys some characters
instead of showing them.
"""

from __future__ import annotations

import unicodedata

OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control characters (ESC, CSI and all of C0 and C1), of marks
that turn the direction of text, and of ends of lines: another line might look like one
of ours.
"""


def shown(text: object) -> str:
    """As text that a terminal only shows: `\\x1b` for the character that begins a
    command, and so on.
    """
    return "".join(
        _escaped(char) if unicodedata.category(char) in OBEYED else char
        for char in str(text)
    )


def shown_lines(text: str) -> str:
    """The same, in its own lines."""
    return "\n".join(shown(line) for line in text.split("\n"))


def _escaped(char: str) -> str:
    return (
        char.encode("ascii", "backslashreplace").decode()
        if ord(char) > 127
        else repr(char)[1:-1]
    )
