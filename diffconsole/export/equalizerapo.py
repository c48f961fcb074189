"""The EQ as text for Equalizer APO, and for everything that reads its filter lines.

``Filter 1: ON PK Fc 3000 Hz Gain 2 dB Q 0.9``: PK is a bell, LSC and HSC are shelves that take Q,
HPQ and LPQ cuts that take Q; gains around the EQ stand in ``Preamp``. Sections are the cookbook's.
Other programs also write LS, HS, HP and LP, which have no Q and are read with one of 0.71, bells
with a bandwidth in octaves, decimal commas, and more than one ``Preamp``, which add up. Of more
filters than a strip has, those are taken that come closest to the whole curve.
Source: Equalizer APO's documentation, "Configuration reference".
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..errors import ExportError
from ..files.small_files import read_small
from ..strip.parameters import BY_KEY, EQ_BANDS
from ..strip.preset import Preset
from .base import Files, Format, Mapped, Strip, imported, number
from .fit import Filter, fit_bands

__all__ = ["FORMAT"]

KINDS = {"high_pass": "HPQ", "low_shelf": "LSC", "high_shelf": "HSC", "low_pass": "LPQ"}
READ_KINDS = {
    "PK": "bell", "PEQ": "bell", "MODAL": "bell",
    "HP": "high_pass", "HPQ": "high_pass", "LP": "low_pass", "LPQ": "low_pass",
    "LS": "low_shelf", "LSC": "low_shelf", "LSQ": "low_shelf",
    "HS": "high_shelf", "HSC": "high_shelf", "HSQ": "high_shelf",
}  # fmt: skip
WITHOUT_Q = 0.71
"""Of shelves and cuts that state none; a strip's default is theirs."""

LINE = re.compile(
    r"Filter\s*(?:\d+\s*)?:\s*(?P<on>ON|OFF)\s+(?P<kind>\S+)(?P<values>.*)", re.IGNORECASE
)
PREAMP = re.compile(r"Preamp\s*:\s*(?P<level>\S+?)\s*dB", re.IGNORECASE)
UNITS = ("HZ", "DB")
MOST_FIELDS = 16
MOST_NAMED = 20
LARGEST = 1e6
WIDEST_OCTAVES = 20.0


def _write(strip: Strip) -> Files:
    # A comment ends with its line, and the title is one line.
    lines = [f"# {strip.title}"]
    level_db = strip.gain_db("input_gain") + strip.gain_db("output_gain")
    lines.append(f"Preamp: {number(level_db)} dB")
    for place, band in enumerate(EQ_BANDS, 1):
        values = strip.of(f"eq.{band}")
        on = "ON" if band in strip.bands() else "OFF"
        gain = f" Gain {number(values['gain_db'])} dB" if "gain_db" in values else ""
        lines.append(
            f"Filter {place}: {on} {KINDS.get(band, 'PK')} Fc {number(values['freq_hz'])} Hz{gain}"
            f" Q {number(values['q'])}"
        )
    return {"": ("\n".join(lines) + "\n").encode("utf-8")}


def _read(path: Path) -> Preset:
    lines = [line.strip() for line in _text(path).splitlines()]
    left_out: list[str] = []
    filters = [found for line in lines if (found := _filter(line, left_out)) is not None]
    if not filters:
        raise ExportError("no filter of Equalizer APO in it, as 'Filter 1: ON PK …'")
    fitted = fit_bands(filters)
    settings = dict(fitted.settings)
    preamps = [gain["level"] for line in lines if (gain := PREAMP.match(line))]
    level_db = sum(_number("Preamp", level) for level in preamps)
    if level_db != 0.0:
        output = BY_KEY["output_gain.gain_db"]
        settings[output.key] = output.clip(level_db)
        if level_db != settings[output.key]:
            settings["input_gain.gain_db"] = level_db - settings[output.key]
    title = lines[0].removeprefix("#").strip() if lines[0].startswith("#") else ""
    # A first line that was commented out is no name.
    title = "" if LINE.match(title) or PREAMP.match(title) else title
    return Preset.from_settings(
        settings, bypass=fitted.off, name=title,
        provenance=imported([*left_out[:MOST_NAMED], *fitted.notes]),
    )  # fmt: skip


def _text(path: Path) -> str:
    content = read_small(path)
    if content is None:
        raise ExportError("over 1 MB, which no text of an EQ is; give the EQ's own file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ExportError("is not in UTF-8; save it in that encoding") from None


def _filter(line: str, left_out: list[str]) -> Filter | None:
    """Return a filter; None for a line of other things, or one that is reported as left out."""
    found = LINE.match(line)
    if found is None:
        return None
    on, theirs = found["on"].upper() == "ON", found["kind"].upper()
    kind = READ_KINDS.get(theirs)
    if kind is None:
        # "ON None" is how Room EQ Wizard fills its list up; what is off does nothing.
        if on and theirs != "NONE":
            left_out.append(f"left out: a filter of kind {found['kind'][:20]}, which a strip lacks")
        return None
    values = _values(found["values"])
    if "fc" not in values or (kind == "bell" and not {"q", "bw"} & set(values)):
        if not on:
            return None
        raise ExportError(
            f"{line!r} is not read; write it as 'Filter 1: ON {theirs} Fc 1000 Hz Gain 2 dB Q 0.9'"
        )
    numbers = {name: _number(name.capitalize(), text) for name, text in values.items()}
    for name in {"fc", "q", "bw"} & set(numbers):
        if not 0.0 < numbers[name] < LARGEST:
            raise ExportError(f"{name.capitalize()} {numbers[name]:g} is none that a filter has")
    q = numbers.get("q", WITHOUT_Q)
    if "q" not in numbers and "bw" in numbers:
        # A bandwidth in octaves, as the cookbook has it, far below half the sample rate.
        q = 1.0 / (2.0 * math.sinh(math.log(2.0) / 2.0 * min(numbers["bw"], WIDEST_OCTAVES)))
    gain_db = 0.0 if kind.endswith("pass") else numbers.get("gain", 0.0)
    return Filter(kind, numbers["fc"], gain_db, q, on)


def _values(text: str) -> dict[str, str]:
    """Return the numbers of a filter by their names, in whatever order they stand."""
    # Fields are few; what follows them is no filter's.
    words = text.split(None, 2 * MOST_FIELDS)[: 2 * MOST_FIELDS]
    values: dict[str, str] = {}
    for word, follower in zip(words, [*words[1:], ""], strict=True):
        name = word.lower()
        if name in ("fc", "gain", "q") and name not in values:
            cut = follower[:-2] if follower[-2:].upper() in UNITS else follower
            values[name] = cut
        elif name == "oct" and "bw" not in values:
            values["bw"] = follower
    return values


def _number(name: str, text: str) -> float:
    # A comma before three digits may be that of a thousand; else it is a decimal one.
    whole, comma, rest = text.partition(",")
    if comma and "," not in rest and "." not in text and len(rest) != 3:
        text = f"{whole}.{rest}"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(
            f"{name} {text[:40]} is not a number; write it with a point and without commas, as"
            " 1000.5"
        )
    return value


FORMAT = Format(
    key="equalizerapo",
    title="Equalizer APO and others that read its filter lines: the EQ as text",
    ending=".txt",
    write=_write,
    at_rate=False,
    mapped=tuple(
        Mapped(f"eq.{band}.{name}", theirs, unit)
        for band in EQ_BANDS
        for name, theirs, unit in (
            ("freq_hz", "Fc", "Hz"),
            ("gain_db", "Gain", "dB"),
            ("q", "Q", ""),
        )
        if f"eq.{band}.{name}" in BY_KEY
    ),
    lost={
        "input_gain.gain_db": "joined with the output gain in Preamp",
        "compressor": "Equalizer APO has none; it is left out",
        "pan": "left out",
        "reverb": "left out; '--to ir' writes it for its Convolution filter",
        "output_gain.gain_db": "joined with the input gain in Preamp",
    },
    read=_read,
)
