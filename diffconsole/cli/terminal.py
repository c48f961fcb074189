"""Words for terminals and pipes of any encoding: what one cannot show is written another way."""

from __future__ import annotations

import codecs
import os
import sys
import unicodedata
from contextlib import suppress

__all__ = ["flushed", "in_plain_words", "make_writable"]

ERRORS, ASCII = "diffconsole-plain", "diffconsole-ascii"

# What the program itself writes; NFKD takes the rest of what has a plain form, as accents.
PLAIN = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~",
    "→": "->", "←": "<-", "×": "x", "·": "*", "÷": "/", "⁄": "/", "±": "+-", "…": "...", "•": "*",
    "°": " deg",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "′": "'", "″": '"',
    "µ": "u", "μ": "u", "Ω": "Ohm", "π": "pi", "Δ": "Delta", "∞": "inf", "√": "sqrt", "∑": "sum",
    "ß": "ss", "æ": "ae", "Æ": "AE", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L",
    "\u00a0": " ", "\u202f": " ", "\u2009": " ",
}  # fmt: skip


def in_plain_words(text: str) -> str:
    """Return text in ASCII: signs by their plain forms, accents left out, the rest escaped."""
    plain = []
    for character in text:
        known = PLAIN.get(character)
        if known is None:
            parts = unicodedata.normalize("NFKD", character)
            parts = "".join(PLAIN.get(c, c) for c in parts if not unicodedata.combining(c))
            known = parts if parts.isascii() and parts else ascii(character)[1:-1]
        plain.append(known)
    return "".join(plain)


def make_writable() -> None:
    """Let stdout and stderr degrade what their encoding lacks, instead of failing at it."""
    codecs.register_error(ERRORS, _degraded)
    for stream in (sys.stdout, sys.stderr):
        encoding = getattr(stream, "encoding", None)
        if encoding is None or not hasattr(stream, "reconfigure"):
            continue
        with suppress(LookupError, ValueError, OSError):
            name = codecs.lookup(encoding).name
            if name == "ascii":
                # click takes a stream of that name for a mistake, and writes UTF-8 into it.
                codecs.register(_find_ascii)
                stream.reconfigure(encoding=ASCII, errors=ERRORS)
            elif not name.startswith("utf"):
                stream.reconfigure(errors=ERRORS)


def flushed(code: int) -> int:
    """Write what stdout holds back, and return the exit code: 1 at least where that fails.

    What cannot be written, on a full disk, Python would try again at its end, and complain in its
    own words.
    """
    if sys.stdout is None:
        # It was closed before the program began: nothing was to be read.
        return code
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or 1
    return code


def _degraded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return in_plain_words(error.object[error.start : error.end]), error.end


def _find_ascii(name: str) -> codecs.CodecInfo | None:
    """ASCII by a name that nobody takes for a mistake."""
    if name.replace("_", "-") != ASCII:
        return None
    info = codecs.lookup("ascii")
    return codecs.CodecInfo(
        info.encode, info.decode, info.streamreader, info.streamwriter, info.incrementalencoder,
        info.incrementaldecoder, name=ASCII,
    )  # fmt: skip
