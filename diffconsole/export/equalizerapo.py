"""The EQ as text for Equalizer APO, and for everything that reads its filter lines.

``Filter 1: ON PK Fc 3000 Hz Gain 2 dB Q 0.9``: PK is a bell, LSC and HSC are shelves that take Q,
HPQ and LPQ cuts that take Q; gains around the EQ stand in ``Preamp``. Sections are the cookbook's.
Other programs also write LS, HS, HP and LP, which have no Q and are read with one of 0.71, and more
than one ``Preamp``, which add up.
Source: Equalizer APO's documentation, "Configuration reference".
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ExportError
from ..parameters import BY_KEY, EQ_BANDS
from ..preset import Preset
from ..small_files import read_small
from .base import Files, Format, Mapped, Strip, number

__all__ = ["FORMAT"]

KINDS = {"high_pass": "HPQ", "low_shelf": "LSC", "high_shelf": "HSC", "low_pass": "LPQ"}
SHORT_KINDS = {"HP": "HPQ", "LS": "LSC", "HS": "HSC", "LP": "LPQ"}
"""Without a Q; a strip's default, 0.71, is theirs."""

LINE = re.compile(
    r"Filter\s*(?:\d+\s*)?:\s*(?P<on>ON|OFF)\s+(?P<kind>\S+)(?P<values>.*)", re.IGNORECASE
)
VALUES = re.compile(
    r"\s+Fc\s+(?P<freq>\S+?)\s*Hz(?:\s+Gain\s+(?P<gain>\S+?)\s*dB)?(?:\s+Q\s+(?P<q>\S+))?\s*",
    re.IGNORECASE,
)
PREAMP = re.compile(r"Preamp\s*:\s*(?P<level>\S+?)\s*dB", re.IGNORECASE)


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
    filters = [found for line in lines if (found := _filter(line)) is not None]
    if not filters:
        raise ExportError("no filter of Equalizer APO in it, as 'Filter 1: ON PK …'")
    settings: dict[str, float] = {}
    bypass = set()
    bells = iter(_bells([values["freq_hz"] for _, kind, values in filters if kind == "PK"]))
    for on, kind, values in filters:
        band = next((band for band, theirs in KINDS.items() if theirs == kind), None) or next(bells)
        if f"eq.{band}.freq_hz" in settings:
            raise ExportError(f"more than one filter of kind {kind}, of which a strip has 1")
        for name, value in values.items():
            if f"eq.{band}.{name}" in BY_KEY:
                settings[f"eq.{band}.{name}"] = value
        if not on:
            bypass.add(f"eq.{band}")
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
    return Preset.from_settings(settings, bypass=bypass, name=title)


def _text(path: Path) -> str:
    content = read_small(path)
    if content is None:
        raise ExportError("over 1 MB, which no text of an EQ is; give the EQ's own file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ExportError("is not in UTF-8; save it in that encoding") from None


def _filter(line: str) -> tuple[bool, str, dict[str, float]] | None:
    """Return whether a filter is on, its kind and its values; None for a line of other things."""
    found = LINE.match(line)
    if found is None:
        return None
    on, kind = found["on"].upper() == "ON", found["kind"].upper()
    kind = SHORT_KINDS.get(kind, kind)
    if kind not in (*KINDS.values(), "PK"):
        # "ON None" is how Room EQ Wizard fills its list up; what is off does nothing.
        if not on or kind == "NONE":
            return None
        raise ExportError(
            f"a filter of kind {found['kind']}, which a strip has none of; remove it, or set it OFF"
        )
    values = VALUES.fullmatch(found["values"])
    # A bell without a Q has a bandwidth in octaves.
    if values is None or (values["q"] is None and kind == "PK"):
        if not on:
            return None
        raise ExportError(
            f"{line!r} is not read; write it as 'Filter 1: ON {kind} Fc 1000 Hz Gain 2 dB Q 0.9'"
        )
    names = (("freq_hz", "Fc", "freq"), ("gain_db", "Gain", "gain"), ("q", "Q", "q"))
    return on, kind, {
        ours: _number(theirs, values[group]) for ours, theirs, group in names
        if values[group] is not None
    }  # fmt: skip


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ExportError(
            f"{name} {text} is not a number; write it with a point and without commas, as 1000.5"
        ) from None


def _bells(freqs_hz: Sequence[float]) -> tuple[str, ...]:
    """The bells of a strip for those of a file: in their order if they fit, else the nearest.

    Raises
    ------
    ExportError
        No order of the strip's bells reaches all of these frequencies.
    """

    def reach(bands: tuple[str, ...]) -> float:
        """Octaves, or so, between the frequencies and the middles of the ranges."""
        off = 0.0
        for band, freq_hz in zip(bands, freqs_hz, strict=True):
            own = BY_KEY[f"eq.{band}.freq_hz"]
            if not own.low <= freq_hz <= own.high:
                return math.inf
            off += abs(math.log(freq_hz / math.sqrt(own.low * own.high)))
        return off

    bells = tuple(band for band in EQ_BANDS if band.startswith("peak"))
    if len(freqs_hz) == len(bells) and math.isfinite(reach(bells)):
        return bells
    orders = itertools.permutations(bells, len(freqs_hz))
    best = min(orders, key=reach, default=None)
    if best is None or not math.isfinite(reach(best)):
        told = ", ".join(f"{freq_hz:g}" for freq_hz in freqs_hz)
        raise ExportError(f"bells at {told} Hz: a strip has {len(bells)}, which cannot be so")
    return best


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
