"""Output on terminals whose encoding lacks some of our characters, such as Windows' cp1252."""

from __future__ import annotations

import codecs
import io
import sys

# Lines and boxes of circuits and tables, and the letters of mathematics that our tables use.
_PLAIN = str.maketrans(
    {
        **dict.fromkeys("─━═╌╴╶", "-"),
        **dict.fromkeys("│┃║╎╷╵", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬╫╪╞╡╤╧╥╨╭╮╯╰┏┓┗┛┡┩╇┳┻╋┠┨░▒", "+"),
        **dict.fromkeys("■●█▀▄", "o"),
        "⟨": "<",
        "⟩": ">",
        "π": "pi",
        "λ": "lambda",
        "θ": "theta",
        "\N{GREEK SMALL LETTER SIGMA}": "sigma",
        "μ": "u",
        "√": "sqrt",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "\N{EN DASH}": "-",
        "—": "-",
        "\N{MINUS SIGN}": "-",
        "…": "...",
    }
)


def print_everywhere() -> None:
    """Let stdout and stderr write what their encoding lacks in ASCII instead of raising UnicodeEncodeError."""
    codecs.register_error("qhybrid", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="qhybrid")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end
