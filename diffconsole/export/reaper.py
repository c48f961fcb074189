"""The whole strip for REAPER: an effect, an FX chain that sets its sliders, the reverb's response.

The effect, ``diffconsole_strip.jsfx``, holds the console's equations in REAPER's own language, in
double precision, the reverb by FFT convolution with a response file; :mod:`.effect` puts it
together. Its sliders are the strip's switches and parameters; a reverb's response is found by a
number that its settings and rate give, so that several presets live in one folder. Sources:
REAPER's "JSFX Programming Reference"; of the chain, what REAPER writes: ``BYPASS``, ``<JS file
"name"`` with 64 values, ``-`` where there is no slider, ``FLOATPOS``, ``WAK``. An effect of up to
64 sliders works in older versions of REAPER too. A chain that uses more has 256 values, REAPER's
limit since version 6.74; no such chain that REAPER itself wrote was at hand to compare with.
"""

from __future__ import annotations

import os
import re
import textwrap
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

from ..errors import ExportError
from ..files.small_files import read_small
from ..strip.parameters import BY_KEY, is_on
from ..strip.preset import Preset
from ..strip.versions import is_spare
from .base import Figure, Files, Format, Mapped, Strip, imported, number
from .effect import NUMBERS, RESPONSE, WITH_EFFECT, effect_text, is_late, slider_name
from .ir import NAMES as RESPONSE_NAMES
from .ir import wav_bytes

__all__ = ["FORMAT"]

EFFECT = "diffconsole_strip.jsfx"
FOLDER = "Effects/diffconsole"
LAYOUTS = (64, 256)
DEEPEST, MOST_NAMES = 4, 20_000
RESPONSE_NUMBERS = 1_000_000
LONGEST_RESPONSE = 2010 * 2048  # what the effect's memory holds, in samples
TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\S+")

HELD = {
    key: place for key, place in NUMBERS.items()
    if key.partition(".")[0] in {module.key for module in WITH_EFFECT}
}  # fmt: skip
MAPPED = {key: Mapped(key, slider_name(key), BY_KEY[key].unit) for key in HELD if key in BY_KEY}
FIRST_SLIDERS = min(NUMBERS[name] for name in RESPONSE) - 1
LAST_SLIDER = max(*NUMBERS.values())
# The shortest that all sliders fit in.
VALUES = next(count for count in LAYOUTS if max(HELD.values()) <= count)


def _response_number(strip: Strip) -> int:
    """Return the number that names the response file of some reverb settings at a rate."""
    told = [f"{strip.preset.settings()[f'reverb.{name}']!r}" for name in RESPONSE_NAMES]
    return zlib.crc32(" ".join([*told, str(strip.sample_rate)]).encode()) % RESPONSE_NUMBERS


def _write(strip: Strip) -> Files:
    settings, off = strip.preset.settings(), strip.preset.bypass()
    # Not the strip's clamped frequencies: the effect clamps them itself, at the rate it runs at.
    values = ["-"] * VALUES
    # Sliders that a chain leaves out have the effect's defaults, at which later modules are off.
    last = max(place for key, place in HELD.items() if _is_told(key, settings, off))
    for key, place in HELD.items():
        setting = MAPPED[key].to_theirs(settings[key]) if key in MAPPED else key not in off
        values[place - 1] = number(setting, 12)
    response = _response_number(strip)
    for name, value in zip(RESPONSE, (response, strip.sample_rate), strict=True):
        values[NUMBERS[name] - 1] = str(value)
    del values[next(count for count in LAYOUTS if last <= count) :]
    lines = [
        "BYPASS 0 0 0",
        f"<JS diffconsole/{EFFECT} {_quoted(strip.title)}",
        "  " + " ".join(values),
        ">",
        "FLOATPOS 0 0 0 0",
        "WAK 0 0",
    ]
    chain = f"FXChains/diffconsole {_file_name(strip.title)}.RfxChain"
    written = {
        f"{FOLDER}/{EFFECT}": effect_text().encode("utf-8"),
        chain: ("\n".join(lines) + "\n").encode("utf-8"),
        "README.txt": _readme(strip).encode("utf-8"),
    }
    if strip.on("reverb"):
        wav = wav_bytes(strip.impulse_response(), strip.sample_rate)
        written[f"{FOLDER}/diffconsole_{response:06d}.wav"] = wav
    return written


def _is_told(key: str, settings: Mapping[str, float], off: Collection[str]) -> bool:
    """Whether a chain has to set a slider: it was there first, or its module is on and needs it."""
    if not is_late(key):
        return True
    return _is_on(key, off) and not (key in BY_KEY and is_spare(key, settings[key]))


def _is_on(key: str, off: Collection[str]) -> bool:
    return is_on(BY_KEY[key].section if key in BY_KEY else key, off)


README = """\
A channel strip for REAPER

1. In REAPER: Options > Show REAPER resource path.
2. Copy the folders Effects and FXChains from here into that folder; REAPER has both already,
   the files are added to them.
3. On the vocal's track: FX > Add FX chain, and choose the one that begins with "diffconsole".

{holds}
The response is for {rate} Hz. At another rate REAPER (6.29 or later) resamples it: the reverb is
then close to, but not identical to, that of diffconsole; export with --sample-rate for your
project's rate.
While the reverb is on the effect adds 2048 samples of latency, which REAPER compensates.
"""

HOLDS = """\
The effect "diffconsole vocal channel strip" holds the whole strip: {modules}. All sliders act at
once but those named "in the response file": these state what the WAV file beside the effect was
made with; for another reverb export again.
"""

MORE_SLIDERS = """\
The effect has more than the 64 sliders of older versions; REAPER 6.74 or later has all of them.
What lies beyond 64 is off in a chain that does not use it.
"""


def _readme(strip: Strip) -> str:
    titles = [m.title if m.title.isupper() else m.title.lower() for m in WITH_EFFECT]
    holds = textwrap.fill(HOLDS.format(modules=", ".join(titles)), 97)
    more = MORE_SLIDERS if LAYOUTS[0] < VALUES else ""
    return README.format(rate=strip.sample_rate, holds=holds) + more


def _quoted(text: str) -> str:
    """Quote as REAPER does: with the mark that is not in the text; backslashes mean nothing."""
    for mark in "\"'`":
        if mark not in text:
            return f"{mark}{text}{mark}"
    return "`" + text.replace("`", "'") + "`"


def _file_name(title: str) -> str:
    """Return a title as part of a file name that every system takes."""
    kept = re.sub(r"[^A-Za-z0-9 _-]+", " ", title)
    return " ".join(kept.split())[:40].strip() or "channel strip"


def _read(path: Path) -> Preset:
    if path.is_dir():
        chains = _chains(path)
        if len(chains) != 1:
            raise ExportError(f"{path}: {len(chains)} FX chains in it; give one .RfxChain file")
        path = chains[0]
    content = read_small(path)
    if content is None:
        raise ExportError(f"{path}: over 1 MB, which no chain of diffconsole's effect is")
    lines = content.decode("utf-8-sig").splitlines()
    for place, line in enumerate(lines):
        head = TOKEN.findall(line)
        if head[:1] == ["<JS"] and len(head) > 1 and _plain(head[1]).endswith(EFFECT):
            inside = lines[place + 1 :]
            ends = [n for n, inner in enumerate(inside) if inner.strip() == ">"]
            values = TOKEN.findall(" ".join(inside[: ends[0] if ends else None]))
            return _preset(path, values, _plain(head[2]) if len(head) > 2 else "")
    raise ExportError(f"{path}: no {EFFECT} in this chain; only that effect can be read back")


def _chains(folder: Path) -> list[Path]:
    """The FX chains below a folder: as deep as REAPER keeps them, among a bounded count of names.

    The folder may be a home folder or a disk.
    """
    found, seen = [], 0
    for place, folders, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        seen += len(folders) + len(names)
        found += [Path(place) / name for name in names if name.lower().endswith(".rfxchain")]
        if seen > MOST_NAMES:
            raise ExportError(
                f"{folder}: over {MOST_NAMES} files and folders in it; give the .RfxChain file"
            )
        folders[:] = sorted(folders) if depth < DEEPEST else []
    return sorted(found)


def _plain(token: str) -> str:
    return token[1:-1] if token[:1] in "\"'`" and len(token) > 1 else token


def _preset(path: Path, values: list[str], name: str) -> Preset:
    if len(values) < FIRST_SLIDERS:
        raise ExportError(f"{path}: {len(values)} slider values, not {FIRST_SLIDERS}; export again")
    given = {
        key: values[place - 1]
        for key, place in HELD.items()
        if place <= len(values) and values[place - 1] != "-"
    }
    # In a chain from before a module or band came it is off.
    missing = {key for key in HELD if key not in BY_KEY and is_late(key) and key not in given}
    settings, bypass = {}, set()
    for key, value in given.items():
        if key not in MAPPED:
            bypass |= {key} if float(value) < 0.5 else set()
        elif not {BY_KEY[key].section, BY_KEY[key].module} & missing:
            settings[key] = MAPPED[key].to_ours(float(value))
    unknown = [
        place for place, value in enumerate(values, 1) if place > LAST_SLIDER and value != "-"
    ]
    notes = [f"slider {place}: of a later version of the effect; left out" for place in unknown]
    return Preset.from_settings(settings, bypass=bypass, name=name, provenance=imported(notes))


def _notes(strip: Strip) -> tuple[str, ...]:
    if not strip.on("reverb"):
        return ()
    from ..modules.reverb.process import tail_samples

    shape = ("pre_delay_ms", "decay_s", "low_ratio", "high_ratio")
    lines = [
        "reverb: all but the wet level act through the response file; export again to change them",
        f"reverb: exact at {strip.sample_rate} Hz; at another rate REAPER resamples the response",
    ]
    taps = tail_samples(strip.sample_rate, *(strip[f"reverb.{name}"] for name in shape))
    if taps > LONGEST_RESPONSE:
        seconds = LONGEST_RESPONSE / strip.sample_rate
        lines.append(f"reverb: the effect's memory holds its first {seconds:.0f} s")
    return tuple(lines)


FORMAT = Format(
    key="reaper",
    title="REAPER: the whole strip as a JSFX effect, with an FX chain and the reverb's response",
    ending="",
    write=_write,
    mapped=tuple(MAPPED.values()),
    notes=_notes,
    conditions=(
        "reverb: all but the wet level act through the response file; export again to change them",
        "reverb: exact at the sample rate of the export; at another REAPER resamples the response",
        "reverb: the effect's memory holds the first 4.1 million samples, 93 s at 44.1 kHz",
    ),
    # Rounding alone, -248 and -166 as measured: a few dB are left for other mathematics libraries.
    figures=(Figure("without reverb", -245.0), Figure("whole chain", -164.0)),
    consumer="its own code, translated to Python",
    read=_read,
    read_endings=(".rfxchain",),
)
