"""What a settings sheet holds: a row for each setting that acts, and the strip in one sentence.

Each module says in its own words what it does; they lie in its folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..strip.numbers import number
from ..strip.parameters import CHAIN, Parameter, section_name
from ..strip.versions import is_spare
from ..strip.words import module_words, parameter_name
from .base import Strip

__all__ = ["Row", "in_a_sentence", "rounded", "rows"]


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
    for module in CHAIN:
        if not strip.on(module.key):
            found.append(_off(module.key))
            continue
        for section in dict.fromkeys(p.section for p in module.parameters):
            if section in strip.off:
                found.append(_off(section))
                continue
            for p in module.parameters:
                # What a preset's file leaves out too.
                if p.section == section and not is_spare(p.key, strip[p.key]):
                    value = strip[p.key]
                    found.append(
                        Row(_title(section), parameter_name(p), rounded(p, value), p.unit,
                            p.meaning, p.key, number(value, 12))
                    )  # fmt: skip
    return tuple(found)


def _off(section: str) -> Row:
    return Row(_title(section), "", "off", "", "", section)


def _title(section: str) -> str:
    module, _, band = section.partition(".")
    name = section_name(module)
    return f"{name}, {section_name(band).lower()}" if band else name


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
        part
        for module in CHAIN
        if strip.on(module.key)
        for part in module_words(module, strip.settings, strip.off)
    ]
    text = ", ".join(said) or "nothing is on, the audio passes unchanged"
    return text[0].upper() + text[1:] + "."
