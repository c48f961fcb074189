"""What a settings sheet holds: a row for each setting that acts, and the strip in one sentence.

The sentence uses the words of the people who mix: mud, body, presence, sibilance, air by the
frequency, room, plate or hall by the decay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..strip.parameters import EQ_BANDS, MODULES, PARAMETERS, Parameter, section_name
from .base import Strip, number

__all__ = ["Row", "in_a_sentence", "rounded", "rows"]

# Up to which frequency in Hz: the word where it is turned up, and where it is turned down.
REGIONS = (
    (130.0, "weight", "rumble"),
    (250.0, "body", "body"),
    (550.0, "warmth", "mud"),
    (1100.0, "midrange", "boxiness"),
    (2200.0, "forwardness", "nasal tone"),
    (5000.0, "presence", "harshness"),
    (9000.0, "clarity", "sibilance"),
    (float("inf"), "air", "air"),
)
# Up to which decay in seconds.
ROOMS = ((0.8, "short room"), (2.0, "plate"), (float("inf"), "hall"))
# Down to which wet level in dB.
LOUDNESS = ((-10.0, "up front"), (-17.0, "clearly heard"), (-26.0, "behind"), (-100.0, "just felt"))
LEAST_GAIN_DB = 0.05


@dataclass(frozen=True)
class Row:
    """One line of the sheet.

    Attributes
    ----------
    module : str
        For people: ``"EQ, peak 1"``.
    parameter : str
        For people: ``"frequency"``; empty where the module is off.
    value : str
        At the precision that one dials in, or ``"off"``.
    unit, meaning : str
        As in the table of parameters.
    key : str
        Of the parameter, or of the module or band that is off.
    exact : str
        The value to 12 digits.
    """

    module: str
    parameter: str
    value: str
    unit: str
    meaning: str
    key: str
    exact: str = ""


def rows(strip: Strip) -> tuple[Row, ...]:
    """Return a row for each parameter of what is on, one for each module or band that is off."""
    found = []
    for module in MODULES:
        sections = [f"eq.{band}" for band in EQ_BANDS] if module == "eq" else [module]
        if not strip.on(module):
            found.append(Row(_module_name(module), "", "off", "", "", module))
            continue
        for section in sections:
            if section in strip.off:
                found.append(Row(_module_name(section), "", "off", "", "", section))
                continue
            for p in PARAMETERS:
                if p.section == section:
                    value = strip[p.key]
                    found.append(
                        Row(_module_name(section), _parameter_name(p), rounded(p, value), p.unit,
                            p.meaning, p.key, number(value, 12))
                    )  # fmt: skip
    return tuple(found)


def _module_name(section: str) -> str:
    module, _, band = section.partition(".")
    name = section_name(module)
    return f"{name}, {section_name(band).lower()}" if band else name


def _parameter_name(parameter: Parameter) -> str:
    short = re.sub(r"_(db|hz|ms|s)$", "", parameter.name).replace("_", " ")
    return {"freq": "frequency", "q": "Q"}.get(short, short)


def rounded(parameter: Parameter, value: float) -> str:
    """Return a setting at the precision that one dials in: a decimal of a dB, three digits."""
    return f"{value + 0.0:.1f}" if parameter.is_decibel else number(value, 3)


def in_a_sentence(strip: Strip) -> str:
    """Say in one plain sentence what a strip does.

    Returns
    -------
    str
        ``"High-pass at 90 Hz, 3 dB less mud at 320 Hz, 3.3:1 above −22 dBFS, …."``
    """
    said = [
        *_gain(strip, "input_gain", "input"),
        *(words for band in strip.bands() for words in _band(strip, band)),
        *_compressor(strip),
        *_pan(strip),
        *_reverb(strip),
        *_gain(strip, "output_gain", "output"),
    ]
    text = ", ".join(said) or "nothing is on, the audio passes unchanged"
    return text[0].upper() + text[1:] + "."


def _short(value: float, digits: int = 2) -> str:
    return number(value, digits).replace("-", "−")


def _decibels(value: float) -> str:
    return f"{_short(round(value, 1), 4)} dB"


def _frequency(freq_hz: float) -> str:
    return f"{_short(freq_hz)} Hz" if freq_hz < 995 else f"{_short(freq_hz / 1000)} kHz"


def _gain(strip: Strip, module: str, where: str) -> list[str]:
    gain_db = strip.gain_db(module)
    if abs(gain_db) < LEAST_GAIN_DB:
        return []
    return [f"{_decibels(abs(gain_db))} {'up' if gain_db > 0 else 'down'} at the {where}"]


def _band(strip: Strip, band: str) -> list[str]:
    values = strip.of(f"eq.{band}")
    at = _frequency(values["freq_hz"])
    if band.endswith("pass"):
        return [f"{band.replace('_', '-')} at {at}"]
    gain_db = values["gain_db"]
    if abs(gain_db) < LEAST_GAIN_DB:
        return []
    place = {"low_shelf": "below", "high_shelf": "above"}.get(band, "at")
    more, less = next((up, down) for most, up, down in REGIONS if values["freq_hz"] < most)
    if band == "low_shelf":
        more = less = "weight" if values["freq_hz"] < REGIONS[0][0] else "body"
    if band == "high_shelf":
        more = less = "brightness" if values["freq_hz"] < REGIONS[5][0] else "air"
    word = f"more {more}" if gain_db > 0 else f"less {less}"
    return [f"{_decibels(abs(gain_db))} {word} {place} {at}"]


def _compressor(strip: Strip) -> list[str]:
    if not strip.on("compressor"):
        return []
    own = strip.of("compressor")
    words = f"{_short(own['ratio'])}:1 above {_short(round(own['threshold_db']), 3)} dBFS"
    words += f" ({_short(own['attack_ms'])} ms attack, {_short(own['release_ms'])} ms release)"
    makeup_db = own["makeup_db"]
    if abs(makeup_db) < LEAST_GAIN_DB:
        return [words]
    return [words, f"{_decibels(makeup_db)} of make-up"]


def _pan(strip: Strip) -> list[str]:
    position = strip["pan.position"]
    if not strip.on("pan") or round(100 * abs(position)) == 0:
        return []
    return [f"panned {100 * abs(position):.0f} % {'left' if position < 0 else 'right'}"]


def _reverb(strip: Strip) -> list[str]:
    if not strip.on("reverb"):
        return []
    decay_s, wet_db = strip["reverb.decay_s"], strip["reverb.wet_db"]
    room = next(word for most, word in ROOMS if decay_s < most)
    loud = next(word for least, word in LOUDNESS if wet_db >= least)
    return [f"a {room} of {_short(decay_s)} s {loud} at {_decibels(wet_db)}"]
