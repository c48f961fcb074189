"""Gate, EQ, compressors, gains and pan as SoX's effects, in a command that is ready to run.

``highpass``, ``bass``, ``equalizer``, ``treble`` and ``lowpass`` with a width in ``q`` are the
cookbook's sections (measured with 14.4.2); gate and compressors are ``compand``
(:mod:`.sox_compand`), whose settings stand in comments, from which they are read back. SoX hands
32-bit integers from effect to effect and clips each: the first gain makes room for the most that
the effects after it can make of a full-scale input, and the last takes it back. Levels above full
scale clip in its input and output. It writes 32-bit float files to 2^-24 of full scale, which is
−100 dB of a result of −55 dBFS, and 64-bit ones to 2^-31.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..errors import ExportError, PresetError
from ..files.small_files import read_small
from ..strip.parameters import BY_KEY, EQ_BANDS
from ..strip.preset import Preset
from .base import Figure, Files, Format, Mapped, Strip, number
from .gate_hold import HOLD, hold_notes
from .sox_compand import (
    COMPANDED,
    IMMEDIATE,
    compand_notes,
    companded,
    is_same,
    most_gain_db,
    settings_line,
)
from .sox_compand import MAPPED as COMPAND_MAPPED
from .sox_compand import words as compand_words

__all__ = ["FORMAT"]

EFFECTS = {
    "high_pass": "highpass", "low_shelf": "bass", "high_shelf": "treble", "low_pass": "lowpass",
}  # fmt: skip
ORDER = {
    "bass": ("gain_db", "freq_hz", "q"),
    "treble": ("gain_db", "freq_hz", "q"),
    "equalizer": ("freq_hz", "q", "gain_db"),
    "highpass": ("freq_hz", "q"),
    "lowpass": ("freq_hz", "q"),
}
WORDS = {"freq_hz": ("frequency", "Hz"), "gain_db": ("gain", "dB"), "q": ("width in q", "")}

GAINS = ("input_gain.gain_db", "output_gain.gain_db")


def _left_gain(position: float) -> float:
    # Without what cos(pi/2) is off 0, which would be written out as a long row of zeros.
    return round(math.sqrt(2.0) * math.cos(math.pi / 4.0 * (1.0 + position)), 15)


def _position(left_gain: float) -> float:
    return math.acos(min(left_gain / math.sqrt(2.0), 1.0)) * 4.0 / math.pi - 1.0


MAPPED = (
    *(
        Mapped(f"eq.{band}.{name}", f"{EFFECTS.get(band, 'equalizer')} {theirs}", unit)
        for band in EQ_BANDS
        for name, (theirs, unit) in WORDS.items()
        if f"eq.{band}.{name}" in BY_KEY
    ),
    *COMPAND_MAPPED,
    *(Mapped(key, "gain", "dB") for key in GAINS),
    Mapped("pan.position", "remix, volume of the left side", "", _left_gain, _position),
)
BY_OUR_KEY = {entry.key: entry for entry in MAPPED}
RUN = 'exec sox -D "$in" -e floating-point -b "${BITS:-32}" "$out"'
BANDS = "# Bands of the EQ, in order: "
RINGING_SECONDS = 2.0
SETTINGS = "# Settings of what follows, for an import; "


def _write(strip: Strip) -> Files:
    dynamic = companded(strip)
    before_db, after_db = strip.gain_db("input_gain"), strip.gain_db("output_gain")
    if not dynamic:
        # All is linear, and one gain holds both.
        before_db, after_db = 0.0, before_db + after_db
    room_db = _room_db(strip, before_db)
    gate, *compressors = (
        [compand_words(key, strip.of(key), room_db)] if key in dynamic else [] for key in COMPANDED
    )
    bands = [_effect(strip, band) for band in strip.bands()]
    effects = [f"gain {number(before_db - room_db)}", *gate, *bands, *sum(compressors, [])]
    # A comment ends with its line, and the title is one line.
    lines = [
        "#!/bin/sh",
        f"# {strip.title}",
        "# sh THIS.sh IN.wav OUT.wav [-y], with SoX 14.4. The first gain makes room for the",
        "# effects, the last takes it back and holds the strip's gains. Levels above full scale",
        "# clip.",
        "# BITS=64 writes finer than to 2^-24 of full scale, where the result is very soft.",
    ]
    if strip.bands():
        lines.append(BANDS + " ".join(strip.bands()))
    lines += [SETTINGS + "an edited 'compand' is refused"] if dynamic else []
    noted = (["input_gain"] if dynamic and before_db else []) + dynamic
    lines += [settings_line(key, strip.of(key)) for key in noted]
    if strip.on("pan"):
        to_gain = BY_OUR_KEY["pan.position"].to_theirs
        left, right = (number(to_gain(sign * strip["pan.position"]), 16) for sign in (1, -1))
        effects.append(f"remix 1v{left} {min(strip.channels, 2)}v{right}")
    effects.append(f"gain {number(room_db + after_db)}")
    lines += [
        "case $#$3 in 2|3-y) ;; *)",
        '  echo "usage: sh $0 IN.wav OUT.wav [-y]" >&2; exit 2 ;;',
        "esac",
        # A name that begins with a dash or a bar is an option or a command for SoX.
        "case $1 in /*) in=$1 ;; *) in=./$1 ;; esac",
        "case $2 in /*) out=$2 ;; *) out=./$2 ;; esac",
        '[ ! -e "$out" ] || [ $# -eq 3 ] || {',
        '  echo "$out is there already; -y replaces it" >&2; exit 1; }',
        *(_channels_guard(strip.channels) if strip.on("pan") else ()),
        RUN,
    ]
    return {"": (" \\\n  ".join(("\n".join(lines), *effects)) + "\n").encode()}


def _channels_guard(channels: int) -> tuple[str, ...]:
    """Return lines that refuse a file of other channels: remix would take one side, or none."""
    kind, other = ("mono", 2) if channels == 1 else ("stereo", 1)
    return (
        f"# Its pan is for {kind} files.",
        'channels=$(sox --i -c "$in") || exit 1',
        f'[ "$channels" -eq {channels} ] || {{',
        f'  echo "$in has $channels channels, but the pan is for {kind} files;" \\',
        f'    "for others export with --channels {other}" >&2; exit 1; }}',
    )


def _effect(strip: Strip, band: str) -> str:
    effect = EFFECTS.get(band, "equalizer")
    values = strip.of(f"eq.{band}")
    words = [
        number(BY_OUR_KEY[f"eq.{band}.{name}"].to_theirs(values[name])) + ("q" * (name == "q"))
        for name in ORDER[effect]
    ]
    return " ".join((effect, *words))


def _room_db(strip: Strip, before_db: float) -> float:
    """Return the most that a full-scale input can become on its way, Σ|h| up to each effect.

    `before_db` is the gain in front of all effects.
    """
    from scipy.signal import sosfilt

    from ..modules.equalizer.process import equalizer_sections

    signal = np.zeros(int(RINGING_SECONDS * strip.sample_rate))
    signal[0] = 10.0 ** (before_db / 20.0)
    most = max(1.0, float(signal[0]))
    if strip.bands():
        settings = {key: np.array([value], np.float64) for key, value in strip.settings.items()}
        off = [f"eq.{band}" for band in EQ_BANDS if band not in strip.bands()]
        for b0, b1, b2, a1, a2 in equalizer_sections(strip.sample_rate, settings, off)[0]:
            signal = sosfilt([[b0, b1, b2, 1.0, a1, a2]], signal)
            most = max(most, float(np.abs(signal).sum()))
    reached = float(np.abs(signal).sum())
    for key in companded(strip):
        reached *= 10.0 ** (most_gain_db(key, strip.of(key)) / 20.0)
        most = max(most, reached)
    if strip.on("pan"):
        most = max(most, reached * math.sqrt(2.0))
    return 20.0 * math.log10(most)


JOINED = "without gate and compressors both gains are joined in the last 'gain'"


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = ["SoX: samples above full scale clip, in its input and in its result"]
    lines += [*hold_notes(strip), *compand_notes(strip)]
    if not companded(strip):
        gains = [key for key in GAINS if strip.on(key.partition(".")[0])]
        lines += [f"{key}: {JOINED}" for key in gains]
    if strip.on("pan"):
        kind = "mono" if strip.channels == 1 else "stereo"
        lines.append(f"SoX: with the pan for {kind} files alone; '--channels' says for which")
    return tuple(lines)


def _read(path: Path) -> Preset:
    content = read_small(path)
    if content is None:
        raise ExportError(f"{path}: over 1 MB, which no command of a strip is")
    head, found, command = content.decode("utf-8").partition(f"\n{RUN} \\\n")
    lines = head.splitlines()
    if not found or lines[0] != "#!/bin/sh":
        raise ExportError(f"{path}: not a command for SoX as export writes it")
    named = [line.removeprefix(BANDS).split() for line in lines[2:] if line.startswith(BANDS)]
    bands = named[0] if named else []
    settings = _noted(path, lines[2:])
    waiting = [key for key in COMPANDED if f"{key}.attack_ms" in settings]
    before_db = settings.get("input_gain.gain_db", 0.0)
    level_db = 0.0 - before_db
    room_db = 0.0
    for place, line in enumerate(command.splitlines()):
        if line.split()[:1] == ["compand"]:
            key = waiting.pop(0) if waiting else ""
            _check_compand(path, line, key, settings, room_db)
            continue
        effect, numbers = _numbers(path, line)
        if effect == "gain":
            level_db += numbers[0]
            room_db = before_db - numbers[0] if place == 0 else room_db
        elif effect == "remix":
            if not 0.0 <= numbers[0] <= 2.0:
                raise ExportError(
                    f"{path}: the left volume of 'remix' is {numbers[0]:g}; give 0 to 1.4142"
                )
            settings["pan.position"] = BY_OUR_KEY["pan.position"].to_ours(numbers[0])
        else:
            band = bands.pop(0) if bands else ""
            if effect not in ORDER or EFFECTS.get(band, "equalizer") != effect or not band:
                raise ExportError(
                    f"{path}: {effect} is not what '{BANDS.strip()}' says; keep both alike"
                )
            for name, value in zip(ORDER[effect], numbers, strict=True):
                entry = BY_OUR_KEY[f"eq.{band}.{name}"]
                settings[entry.key] = entry.to_ours(value)
    # Both gains stand in one; what goes beyond the output's range can only be the input's.
    level_db = round(level_db, 6)
    after_db = BY_KEY["output_gain.gain_db"].clip(level_db)
    for key, gain_db in zip(GAINS, (before_db + level_db - after_db, after_db), strict=True):
        if gain_db != 0.0:
            settings[key] = gain_db
    try:
        return Preset.from_settings(settings, name=lines[1].removeprefix("#").strip())
    except PresetError as error:
        raise ExportError(f"{path}: {error}") from None


def _noted(path: Path, lines: list[str]) -> dict[str, float]:
    """Return the settings that stand in comments, by key."""
    found = {}
    for line in lines:
        section, _, values = line.removeprefix("# ").partition(": ")
        if not line.startswith("# ") or section not in ("input_gain", *COMPANDED):
            continue
        for name, value in (pair.split(" ") for pair in values.split(", ")):
            if f"{section}.{name}" not in BY_KEY:
                raise ExportError(f"{path}: {section} has no {name[:20]!r}; export it again")
            found[f"{section}.{name}"] = float(value)
    return found


def _check_compand(
    path: Path, line: str, key: str, settings: dict[str, float], room_db: float
) -> None:
    """Refuse a ``compand`` that is not what the comment says."""
    own = {name.partition(".")[2]: v for name, v in settings.items() if name.startswith(f"{key}.")}
    written = line.removesuffix("\\").strip()
    if not key or not is_same(written, compand_words(key, own, room_db)):
        raise ExportError(
            f"{path}: 'compand' is not what the comment '# {key}: …' says; keep both alike"
        )


def _numbers(path: Path, line: str) -> tuple[str, list[float]]:
    """Return the name of an effect and its numbers, as many as it has."""
    effect, *words = line.removesuffix("\\").split() or [""]
    try:
        values = [float(word.partition("v")[2] or word.removesuffix("q")) for word in words]
    except ValueError:
        raise ExportError(
            f"{path}: {line.strip()!r} holds a word that is no number; correct it"
        ) from None
    count = {"gain": 1, "remix": 2}.get(effect, len(ORDER.get(effect, words)))
    if len(values) != count:
        raise ExportError(
            f"{path}: {effect!r} with {len(values)} numbers instead of {count}; give them all"
        )
    return effect, values


FORMAT = Format(
    key="sox",
    title="SoX: gate, EQ, compressors, gains and pan as a ready command",
    ending=".sh",
    write=_write,
    mapped=MAPPED,
    lost={
        "reverb": "left out; '--to ir' writes it for a convolver",
    },
    notes=_notes,
    conditions=(
        "SoX: samples above full scale clip, in its input and in its result",
        "SoX: with the pan for mono or for stereo files alone; '--channels' says for which",
        HOLD,
        *(f"{key}.attack_ms: {IMMEDIATE}" for key in COMPANDED),
        *(f"{key}: {JOINED}" for key in GAINS),
    ),
    figures=(
        Figure("EQ", -120.0),
        Figure("EQ, gains and pan", -119.0),
        Figure("compressors, and a gate without hold", -95.0),
    ),
    consumer="SoX 14.4.2",
    read=_read,
)
