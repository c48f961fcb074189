"""The EQ as text for Equalizer APO, and for everything that reads its filter lines.

``Filter 1: ON PK Fc 3000 Hz Gain 2 dB Q 0.9``: PK is a bell, LSC and HSC are shelves that take Q,
HPQ and LPQ cuts that take Q; gains around the EQ stand in ``Preamp``. Sections are the cookbook's.
Source: Equalizer APO's documentation, "Configuration reference".
"""

from __future__ import annotations

import math
import re
from pathlib import Path

from ..errors import ExportError
from ..parameters import BY_KEY, EQ_BANDS
from ..preset import Preset
from .base import Files, Format, Mapped, Strip, number

__all__ = ["FORMAT"]

KINDS = {"high_pass": "HPQ", "low_shelf": "LSC", "high_shelf": "HSC", "low_pass": "LPQ"}
LINE = re.compile(
    r"Filter\s*\d*:\s*(?P<on>ON|OFF)\s+(?P<kind>HPQ|LSC|PK|HSC|LPQ)\s+Fc\s+(?P<freq>\S+)\s*Hz"
    r"(?:\s+Gain\s+(?P<gain>\S+)\s*dB)?\s+Q\s+(?P<q>\S+)",
    re.IGNORECASE,
)
PREAMP = re.compile(r"Preamp:\s*(\S+)\s*dB", re.IGNORECASE)
LARGEST_BYTES = 1 << 20


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
    with open(path, "rb") as file:
        text = file.read(LARGEST_BYTES).decode("utf-8")
    found = LINE.finditer(text)
    filters = [match.groupdict() for match in found]
    if not filters:
        raise ExportError(f"{path}: no filter of Equalizer APO in it, as 'Filter 1: ON PK …'")
    settings: dict[str, float] = {}
    bypass = set()
    free = [band for band in EQ_BANDS if band.startswith("peak")]
    for line in filters:
        kind = line["kind"].upper()
        named = [band for band, theirs in KINDS.items() if theirs == kind]
        band = named[0] if named else _place(free, float(line["freq"]))
        if band is None or f"eq.{band}.freq_hz" in settings:
            raise ExportError(
                f"{path}: more filters of kind {kind} than a strip has ({4 if kind == 'PK' else 1})"
            )
        for name, value in (("freq_hz", line["freq"]), ("gain_db", line["gain"]), ("q", line["q"])):
            if value is not None and f"eq.{band}.{name}" in BY_KEY:
                settings[f"eq.{band}.{name}"] = float(value)
        if line["on"].upper() == "OFF":
            bypass.add(f"eq.{band}")
    preamp = PREAMP.search(text)
    if preamp and float(preamp[1]) != 0.0:
        settings["output_gain.gain_db"] = float(preamp[1])
    title = text.splitlines()[0].removeprefix("#").strip() if text.startswith("#") else ""
    return Preset.from_settings(settings, bypass=bypass, name=title)


def _place(free: list[str], freq_hz: float) -> str | None:
    """Take the free bell whose range holds a frequency, the narrowest around it first."""

    def reach(band: str) -> float:
        parameter = BY_KEY[f"eq.{band}.freq_hz"]
        return abs(math.log(freq_hz / math.sqrt(parameter.low * parameter.high)))

    fitting = [
        band for band in free
        if BY_KEY[f"eq.{band}.freq_hz"].low <= freq_hz <= BY_KEY[f"eq.{band}.freq_hz"].high
    ]  # fmt: skip
    if not fitting:
        return None
    band = min(fitting, key=reach)
    free.remove(band)
    return band


FORMAT = Format(
    key="equalizerapo",
    title="Equalizer APO and others that read its filter lines: the EQ as text",
    ending=".txt",
    write=_write,
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
