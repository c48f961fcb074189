"""A settings sheet to read and to paste into notes, tickets and chats: Markdown with a table.

The preset's name is text: what would be HTML, a link, code or a column of the table is escaped.
"""

from __future__ import annotations

import re

from ..strip.parameters import PARAMETERS
from .base import Files, Format, Mapped, Strip
from .sheet import Row, in_a_sentence, rows

__all__ = ["FORMAT"]

COLUMNS = ("Module", "Parameter", "Value", "Meaning")
ROUNDED = "values are rounded for people; '--to csv' keeps them exact"
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def _escaped(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    marked = re.sub(r"([\\`*_{}\[\]#!|~$])", r"\\\1", text)
    return re.sub("[&<>]", lambda found: ENTITIES[found[0]], marked)


def _line(row: Row) -> str:
    value = f"{row.value} {row.unit}".strip().replace(" :1", ":1").replace("-", "−")
    cells = (row.module, row.parameter, value, _escaped(row.meaning))
    return f"| {' | '.join(cells)} |"


def _write(strip: Strip) -> Files:
    lines = [
        f"# {_escaped(strip.title)}",
        "",
        in_a_sentence(strip),
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---:|---|",
        *map(_line, rows(strip)),
    ]
    return {"": ("\n".join(lines) + "\n").encode("utf-8")}


FORMAT = Format(
    key="markdown",
    title="settings sheet to read: every setting that acts, with unit and meaning",
    ending=".md",
    write=_write,
    at_rate=False,
    mapped=tuple(Mapped(p.key, p.meaning, p.unit) for p in PARAMETERS),
    notes=lambda _: (ROUNDED,),
    conditions=(ROUNDED,),
)
