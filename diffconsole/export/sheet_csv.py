"""A settings sheet for spreadsheets: every setting that acts, in a table that reads back.

RFC 4180, UTF-8 with the mark by which spreadsheets know it. A text that a spreadsheet would take
for a formula gets a quote mark in front, as these programs write it themselves.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..errors import ExportError
from ..files.small_files import read_small
from ..files.spreadsheet import as_text
from ..strip.parameters import BY_KEY, PARAMETERS, SWITCHES
from ..strip.preset import Preset
from .base import Files, Format, Mapped, Strip
from .sheet import in_a_sentence, rounded, rows

__all__ = ["FORMAT"]

COLUMNS = ("Module", "Parameter", "Value", "Unit", "Meaning", "Exact value", "Key")
NAME, SENTENCE = "preset.name", "preset.sentence"


def _write(strip: Strip) -> Files:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerow(("Preset", "name", as_text(strip.title), "", "", "", NAME))
    writer.writerow(("Preset", "in a sentence", in_a_sentence(strip), "", "", "", SENTENCE))
    for row in rows(strip):
        writer.writerow(
            (row.module, row.parameter, row.value, row.unit, row.meaning, row.exact, row.key)
        )
    return {"": file.getvalue().encode("utf-8-sig")}


def _read(path: Path) -> Preset:
    content = read_small(path)
    if content is None:
        raise ExportError(f"{path}: over 1 MB, which no settings sheet is")
    try:
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines = list(table)
    except csv.Error as error:
        raise ExportError(f"{path}: no CSV ({error}); export it again") from None
    if not set(COLUMNS) <= set(table.fieldnames or ()):
        raise ExportError(f"{path}: no settings sheet; its columns are {', '.join(COLUMNS)}")
    settings: dict[str, float] = {}
    off, name = set(), ""
    for line in lines:
        key, value = line["Key"], (line["Value"] or "").strip()
        if key == NAME:
            name = value.removeprefix("'")
        elif key in SWITCHES and value.lower() == "off":
            off.add(key)
        elif key in BY_KEY:
            settings[key] = _value(path, key, line["Exact value"], value)
        elif key != SENTENCE:
            raise ExportError(f"{path}: unknown key {key!r}; leave the column Key as it is")
    return Preset.from_settings(settings, bypass=off, name=name)


def _value(path: Path, key: str, exact: str, shown: str) -> float:
    """Return a setting: the exact one, unless someone typed another over the rounded one."""
    try:
        if exact and (not shown or float(rounded(BY_KEY[key], float(exact))) == float(shown)):
            return float(exact)
        return float(shown)
    except ValueError:
        raise ExportError(f"{path}: {key} is {shown!r}, which is no number") from None


FORMAT = Format(
    key="csv",
    title="settings sheet for spreadsheets: every setting that acts, with unit and meaning",
    ending=".csv",
    write=_write,
    at_rate=False,
    mapped=tuple(Mapped(p.key, p.key, p.unit) for p in PARAMETERS),
    read=_read,
)
