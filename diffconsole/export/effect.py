"""REAPER's effect, put together from a frame and the modules' parts: its text and its sliders.

A part is the file that a module's row names as its ``effect``, in REAPER's language. Its code
stands in sections: ``@init``, ``@slider``, ``@sample``, ``@gfx`` as in any effect; ``@start`` runs
once after the first ``@slider``; ``@late`` is the ``@sample`` of a send that delays ``left`` and
``right``, and runs behind all other sends. Audio is in ``left`` and ``right``; a send takes what
was before the pan from ``sent_left`` and ``sent_right``, and adds to the first two; to the others
it adds what the sends behind it are to get of its return. What is late adds its samples to
``delay``; what needs memory takes it below ``memory_top``, which it lowers. In braces stand
sliders: ``{gain_db}`` and ``{peak_1.freq_hz}`` by a parameter's short name, ``{on}``
and ``{peak_1.on}`` for switches, ``{response_number}`` and ``{response_rate}`` for the reverb's
file; ``{key}`` is the module's key. Modules may share a part: what its ``@init`` says of both
stands once. Source: REAPER's "JSFX Programming Reference".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files

from ..errors import ExportError
from ..modules.twins import twin_path
from ..strip.module import Module
from ..strip.parameters import BY_KEY, CHAIN, PARAMETERS, Parameter, section_name
from .base import number
from .ir import NAMES as RESPONSE_NAMES

__all__ = ["NUMBERS", "RESPONSE", "WITH_EFFECT", "effect_text", "is_late", "slider_name"]

FRAME = "strip_frame.jsfx"
MOST_SLIDERS = 256
UNITS = re.compile(r"_(db|hz|ms|s)$")
HOLE = re.compile(r"\{([a-z0-9_.]+)\}")
RESPONSE = {
    "response_number": "0<0,999999,1>Response file number (diffconsole_NNNNNN.wav beside this "
    "effect)",
    "response_rate": "48000<8000,192000,1>Response file rate (Hz)",
}
"""The sliders that say which file holds the reverb's response, and its rate."""

WITH_EFFECT = tuple(module for module in CHAIN if module.effect)
"""The modules that the effect holds."""


def is_late(key: str) -> bool:
    """Whether a switch or parameter came later than the format's first version."""
    return _since(key) > 0


def _since(key: str) -> int:
    """Return the minor version of the preset format that brought a switch or a parameter."""
    (module,) = (module for module in CHAIN if module.key == key.partition(".")[0])
    if key in BY_KEY:
        return max(module.since, BY_KEY[key].since)
    own = [p.since for p in module.parameters if p.section == key]
    return max(module.since, min(own, default=0))


def _numbers() -> dict[str, int]:
    keys = [
        key for module in CHAIN for switch in module.switches
        for key in (switch, *(p.key for p in PARAMETERS if p.section == switch))
    ]  # fmt: skip
    later = sorted(filter(is_late, keys), key=_since)
    first = [key for key in keys if not is_late(key)]
    return {key: place for place, key in enumerate((*first, *RESPONSE, *later), 1)}


NUMBERS: Mapping[str, int] = _numbers()
"""The number of each slider, by what it sets: a module or band (on or off), a parameter, or the
reverb's file.

Numbers are permanent, since projects and automation hold them: what comes later is numbered behind
all that there was, in the order of the versions that brought it, then of the chain.
"""


def slider_name(key: str) -> str:
    """Return the name of a slider in the effect: ``"Compressor attack (ms)"``."""
    section = BY_KEY[key].section if key in BY_KEY else key
    named = section_name(section)
    if key not in BY_KEY:
        return named
    parameter = BY_KEY[key]
    if key == "pan.position":
        return "Pan position (-1 left, 1 right)"
    short = UNITS.sub("", parameter.name).replace("_", " ")
    short = {"freq": "frequency", "q": "Q"}.get(short, short)
    what = f"{named} level" if section.endswith("_gain") else f"{named} {short}"
    in_file = section == "reverb" and parameter.name in RESPONSE_NAMES
    said = [w for w in (parameter.unit, "in the response file" if in_file else "") if w]
    return f"{what} ({', '.join(said)})" if said else what


def effect_text() -> str:
    """Return the effect as REAPER reads it.

    Raises
    ------
    ExportError
        The chain needs more sliders than REAPER has, or a part names one that is not there.
    """
    parts = {module.key: _sections(module) for module in WITH_EFFECT}

    def pieces(name: str, *places: str, indent: str = "") -> str:
        found = []
        for place in places or ("",):
            for module in WITH_EFFECT:
                code = parts[module.key].get(name, "")
                if code and place in ("", module.place):
                    found.append(_indented(code, indent))
        found = list(dict.fromkeys(found)) if name == "init" else found
        return "\n".join(found) if name in ("start", "sample") else "\n\n".join(found)

    late = pieces("late")
    fillings = {
        "sliders": "\n".join(_slider_lines()),
        "init": pieces("init"),
        "slider": pieces("slider"),
        "start": pieces("start", indent="  "),
        "inserts": pieces("sample", "input", "insert"),
        "pan": pieces("sample", "pan"),
        "sends": "\n".join(filter(None, (pieces("sample", "send"), late))),
        "output": pieces("sample", "output"),
        "gfx": pieces("gfx"),
    }
    frame = files(__package__).joinpath(FRAME).read_text(encoding="utf-8")
    lines = []
    for line in frame.splitlines():
        filling = fillings.get(line[1:-1]) if line[:1] == "{" else line
        if filling or not line:
            lines.append(filling or "")
    return "\n".join(lines) + "\n"


def _sections(module: Module) -> dict[str, str]:
    """Return the code of a module's part by section, sliders filled in."""
    path = twin_path(module, module.effect)
    sliders = {"key": module.key, **{name: f"slider{NUMBERS[name]}" for name in RESPONSE}}
    start = len(module.key) + 1
    for switch in module.switches:
        sliders[f"{switch}.on"[start:]] = f"slider{NUMBERS[switch]}"
    for parameter in module.parameters:
        sliders[parameter.key[start:]] = f"slider{NUMBERS[parameter.key]}"

    def fill(hole: re.Match[str]) -> str:
        if hole[1] not in sliders:
            raise ExportError(f"{path}: {hole[0]} is no slider; there are {', '.join(sliders)}")
        return sliders[hole[1]]

    _, *found = re.split(r"^@(\w+).*\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {
        name: HOLE.sub(fill, code.strip("\n"))
        for name, code in zip(found[::2], found[1::2], strict=True)
    }


def _indented(code: str, indent: str) -> str:
    return "\n".join(f"{indent}{line}" if line else "" for line in code.split("\n"))


def _slider_lines() -> list[str]:
    """Return the lines that declare the sliders, in the order of their numbers."""
    held = {module.key for module in WITH_EFFECT}
    lines = []
    for key, place in NUMBERS.items():
        if key in RESPONSE:
            lines.append(f"slider{place}:{RESPONSE[key]}")
        elif key.partition(".")[0] in held:
            if place > MOST_SLIDERS:
                raise ExportError(f"{key}: its slider would be number {place} of {MOST_SLIDERS}")
            declared = _declared(BY_KEY[key]) if key in BY_KEY else _switch(key)
            lines.append(f"slider{place}:{declared}>{slider_name(key)}")
    return lines


def _declared(parameter: Parameter) -> str:
    low, high = number(parameter.low), number(parameter.high)
    step = "0.001:log" if parameter.scale == "log" else "0.01"
    return f"{number(parameter.default)}<{low},{high},{step}"


def _switch(key: str) -> str:
    """Declare a switch: on where the defaults leave the sound as it is.

    What came later is off, so that an older project sounds as it did, to the bit.
    """
    own = [p for p in PARAMETERS if p.section == key]
    does_nothing = not own or any(p.idle is not None and p.default == p.idle for p in own)
    return f"{does_nothing and not is_late(key):d}<0,1,1{{off,on}}"
