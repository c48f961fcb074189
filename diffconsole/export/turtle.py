"""As much of Turtle, the language of LV2 presets, as is needed to write and read one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import ExportError

__all__ = ["Thing", "quoted", "things"]

TOKEN = re.compile(
    r'"""(?P<long>(?:[^"\\]|\\.|"(?!""))*)"""'
    # One that does not end is met once and ends the reading, or every quote would be the start of
    # another search to the end.
    r'|(?P<endless>""")|"(?P<short>(?:[^"\\\n\r]|\\[^\n\r])*)"|(?P<broken>")'
    r"|<(?P<iri>[^<>\s]*)>|(?P<comment>#[^\n]*)|(?P<sign>\^\^|[\[\]();,]|\.(?!\d))"
    r"|(?P<word>[^\s\[\]();,\"<>]*[^\s\[\]();,\"<>.])",
    re.DOTALL,
)
ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
DEEPEST = 100
ESCAPED = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f"}


@dataclass
class Thing:
    """What a text says of one thing.

    Attributes
    ----------
    subject : str
        Its address or name; empty for what stands in brackets.
    values : dict of str to list of str
        By the last word of the property: ``"symbol"`` for ``lv2:symbol``.
    """

    subject: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)
    predicate: str | None = None

    def first(self, name: str) -> str:
        """Return the first value of a property; empty where there is none."""
        return self.values.get(name, [""])[0]


def quoted(text: str) -> str:
    """Return a text as a Turtle string in ASCII."""
    made = []
    for c in text:
        code = ord(c)
        if c in '"\\':
            made.append("\\" + c)
        elif 32 <= code < 127:
            made.append(c)
        else:
            made.append(f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}")
    return '"' + "".join(made) + '"'


def things(text: str) -> Iterator[Thing]:
    """Yield what a text tells of, things in brackets before that in which they stand.

    Parameters
    ----------
    text : str
        Turtle. Prefixes are not resolved; what is not understood is passed over.

    Raises
    ------
    ExportError
        A string does not end.
    """
    stack = [Thing()]
    is_type = False
    for match in TOKEN.finditer(text):
        kind = match.lastgroup or ""
        token, thing = match[kind], stack[-1]
        if kind in ("endless", "broken"):
            line = text.count("\n", 0, match.start()) + 1
            raise ExportError(f"the string that begins in line {line} does not end; export again")
        if kind == "sign":
            if token == "[" and len(stack) > DEEPEST:
                raise ExportError(f"over {DEEPEST} brackets in each other, which no preset has")
            if token == "[":
                stack.append(Thing())
            elif token == "]" and len(stack) > 1:
                yield stack.pop()
            elif token == ";":
                thing.predicate = None
            elif token == "." and len(stack) == 1:
                yield stack.pop()
                stack.append(Thing())
            is_type = token == "^^"
        elif kind == "comment":
            continue
        elif is_type:
            is_type = False
        elif len(stack) == 1 and not thing.subject:
            thing.subject = token
        elif thing.predicate is None:
            thing.predicate = re.split(r"[:#/]", token)[-1]
        else:
            value = _unescaped(token) if kind in ("long", "short") else token
            thing.values.setdefault(thing.predicate, []).append(value)


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = int(match[1] or match[2] or "0", 16)
        if code:
            return chr(code) if code < 0x110000 else "\ufffd"
        return ESCAPED.get(match[3], match[3] or "")

    return ESCAPE.sub(one, text)
