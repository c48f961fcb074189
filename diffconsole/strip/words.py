"""A strip in words: what a module says of itself, or a general phrase from its parameters.

The words of a module lie in its folder, and its row in the chain's table names them. This file
imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from .module import Module
from .parameter import Parameter
from .parameters import CHAIN, section_name

__all__ = ["in_short", "module_words", "parameter_name", "value_text"]


def module_words(
    module: Module, settings: Mapping[str, float], off: Collection[str], *, short: bool = False
) -> list[str]:
    """Say what a module that is on does, as parts of a sentence.

    Parameters
    ----------
    module : Module
        Without words of its own it gets a general phrase: its title and its values.
    settings : mapping of str to float
        Of the whole strip, physical, by key.
    off : collection of str
        Modules and bands that are off.
    short : bool
        Whether the words are for a line on the terminal instead of the settings sheet.

    Returns
    -------
    list of str
        Empty if the module has nothing to say, as a gain of 0 dB.
    """
    own, off_bands = module.own(settings), module.off_bands(off)
    say = (module.summary or module.sentence) if short else module.sentence
    if say is not None:
        return list(say(own, off_bands))
    values = [
        value_text(parameter, value) if short and parameter.unit else f"{name} {text}"
        for parameter, value in _acting(module, own, off_bands)
        for name, text in [(_full_name(module, parameter), value_text(parameter, value))]
    ]
    title = module.title if module.title.isupper() else module.title.lower()
    return [f"{title} ({', '.join(values)})" if values else title]


def in_short(settings: Mapping[str, float], off: Collection[str]) -> str:
    """Say in one line what a strip does.

    Parameters
    ----------
    settings : mapping of str to float
        Physical, by key.
    off : collection of str
        Modules and bands that are off.

    Returns
    -------
    str
        ``"input +3.0 dB, high-pass 90 Hz, compressor 4.0:1 over -22 dBFS"``.
    """
    words = [
        part
        for module in CHAIN
        if module.key not in off
        for part in module_words(module, settings, off, short=True)
    ]
    return ", ".join(words) or "nothing is on"


def _acting(
    module: Module, own: Mapping[str, float], off_bands: Collection[str]
) -> Iterator[tuple[Parameter, float]]:
    start = len(module.key) + 1
    for parameter in module.parameters:
        name = parameter.key[start:]
        if name.partition(".")[0] not in off_bands and name in own:
            yield parameter, own[name]


def _full_name(module: Module, parameter: Parameter) -> str:
    """Return a parameter's name within its module: ``"peak 1 frequency"``."""
    name = parameter_name(parameter)
    if parameter.section == module.key:
        return name
    return f"{section_name(parameter.section).lower()} {name}"


def parameter_name(parameter: Parameter) -> str:
    """Return a parameter's name without its unit: ``"frequency"``, ``"low cut"``, ``"Q"``."""
    short = re.sub(r"_(db|hz|ms|s)$", "", parameter.name).replace("_", " ")
    return {"freq": "frequency", "q": "Q"}.get(short, short)


def value_text(parameter: Parameter, value: float) -> str:
    """Return a value for people: ``"3.2 kHz"``, ``"+2.0 dB"``, ``"3.3:1"``, ``"0.71"``."""
    unit = parameter.unit
    if unit == "Hz":
        # 999.6 Hz would round to 1000 Hz beside 1 kHz
        text = f"{value:.0f} Hz" if value < 999.5 else f"{value / 1000:.3g} kHz"
    elif unit == "dB" and parameter.amount == "gain" and parameter.low < 0.0:
        text = "0.0 dB" if abs(value) < 0.05 else f"{value:+.1f} dB"
    elif parameter.is_decibel:
        text = f"{value:.1f} {unit}".replace("-0.0 ", "0.0 ")
    elif unit == ":1":
        text = f"{value:.3g}:1"
    elif unit == "%":
        text = f"{value:.3g} %"
    elif unit in ("ms", "s"):
        text = f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"
    else:
        text = f"{value:.2f}".replace("-0.00", "0.00")
        text += f" {unit}" if unit else ""
    return text.replace("-", "−")
