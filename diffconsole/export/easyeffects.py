"""An output preset for EasyEffects 7, whose gate, equalizer and compressor are LSP's.

Its JSON holds, under ``output``, the order of the plug-ins and one object for each. Gains that a
plug-in's range of ±36 dB does not hold go on in the next gain of the same plug-in. Pan, delay and
reverb are one impulse response for its convolver, which convolves each side for itself and has no
dry signal beside it: the side's factor of the pan as first sample, plus the return. EasyEffects
keeps responses by name in its own folder, so the file written beside the preset is to be imported
there once. What the response was made from stands in an object that EasyEffects passes over.
Source: EasyEffects' presets and settings schemas, releases 7.0 to 7.2.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError
from ..strip.parameters import BY_KEY, EQ_BANDS
from ..strip.preset import Preset
from .base import Files, Format, Mapped, Strip, imported
from .easyeffects_read import is_on, plugins, read_chain
from .gate_hold import HOLD
from .ir import wav_bytes
from .lsp import (
    COMPRESSORS,
    FILTER_MODE,
    FILTERS,
    decibels,
    linear,
    ours,
    read_text,
    switches_off,
    theirs,
    time,
    time_constant,
)
from .lsp_gate import GATE, RANGE, Gate, gate_notes, gate_of, settings_of
from .sends import CUT, SEND_KEYS, delay_notes, sends_response

__all__ = ["FORMAT"]

LARGEST_GAIN_DB = 36.0
SILENT_DB = -100.0
EQUALIZER, CONVOLVER, GATE_INSTANCE = "equalizer#0", "convolver#0", "gate#0"
SENDS = tuple(dict.fromkeys(BY_KEY[key].module for key in SEND_KEYS))
LONGEST_S = 10.0
INSTANCES = {key: f"compressor#{place}" for place, key in enumerate(COMPRESSORS)}
OWN = "diffconsole"
KERNEL = "diffconsole_"
PARTS = ("output", "input")
BAND_NAMES = {"freq_hz": "frequency", "gain_db": "gain", "q": "q"}
PASSES_OFF = {
    "hpf-mode": "off", "hpf-frequency": 10.0, "lpf-mode": "off", "lpf-frequency": 20000.0,
}  # fmt: skip
# zita-convolver works in blocks; a response of one sample is not worth a special case there.
SHORTEST_RESPONSE = 64

MAPPED = (
    Mapped("input_gain.gain_db", "equalizer.input-gain", "dB"),
    *(
        Mapped(f"eq.{band}.{name}", theirs_name, BY_KEY[f"eq.{band}.{name}"].unit)
        for band in EQ_BANDS
        for name, theirs_name in BAND_NAMES.items()
        if f"eq.{band}.{name}" in BY_KEY
    ),
    *(
        mapped
        for key in COMPRESSORS
        for mapped in (
            Mapped(f"{key}.threshold_db", "threshold", "dB"),
            Mapped(f"{key}.ratio", "ratio"),
            Mapped(f"{key}.attack_ms", "attack", "ms", time, time_constant),
            Mapped(f"{key}.release_ms", "release", "ms", time, time_constant),
            Mapped(
                f"{key}.knee_db",
                "knee",
                "dB",
                lambda knee_db: -knee_db / 2.0 + 0.0,
                lambda below_db: -2.0 * below_db + 0.0,
            ),
            Mapped(f"{key}.makeup_db", "makeup", "dB"),
            Mapped(f"{key}.mix", "wet", "dB", lambda mix: _level_db(mix / 100.0)),
        )
    ),
    *(
        Mapped(f"{GATE}.{name}", theirs_name, unit, *((time, time_constant) if unit else ()))
        for name, theirs_name, unit in (
            ("threshold_db", "curve-threshold", ""),
            ("ratio", "curve-zone", ""),
            ("range_db", "reduction", ""),
            ("attack_ms", "attack", "ms"),
            ("hold_ms", "release", "ms"),
            ("release_ms", "release", "ms"),
        )
    ),
    Mapped("pan.position", "samples"),
    *(Mapped(key, "samples") for key in SEND_KEYS),
    Mapped("output_gain.gain_db", "compressor.output-gain", "dB"),
)


def _write(strip: Strip) -> Files:
    # The first compressor is there when it is off, too: it has the output's gain.
    used = [key for key in COMPRESSORS if key == "compressor" or strip.on(key)]
    order = [EQUALIZER, *(INSTANCES[key] for key in used)]
    output: dict[str, Any] = {"blocklist": [], EQUALIZER: _equalizer(strip)}
    if strip.on(GATE):
        order.insert(0, GATE_INSTANCE)
        output[GATE_INSTANCE] = _gate(strip)
    for key in used:
        gain_db = strip.gain_db("output_gain") if key == used[-1] else 0.0
        output[INSTANCES[key]] = _compressor(strip, key, gain_db)
    files = {}
    if strip.on("pan") or any(map(strip.on, SENDS)):
        response = wav_bytes(_response(strip), strip.sample_rate)
        kernel = f"{KERNEL}{hashlib.sha256(response).hexdigest()[:12]}"
        files[f"{kernel}.irs"] = response
        order.append(CONVOLVER)
        output[CONVOLVER] = {
            "bypass": False, "input-gain": 0.0, "output-gain": 0.0,
            "kernel-name": kernel, "ir-width": 100, "autogain": False,
        }  # fmt: skip
    output["plugins_order"] = order
    samples = [m.key for m in MAPPED if m.name == "samples" and strip.on(BY_KEY[m.key].section)]
    own = {"name": strip.title, **{key: strip[key] for key in samples}}
    text = json.dumps({OWN: own, "output": output}, indent=4, allow_nan=False) + "\n"
    return {"": text.encode("ascii"), **files}


def _gate(strip: Strip) -> dict[str, Any]:
    input_db, rest_db = _split(strip.gain_db("input_gain"))
    gate = gate_of(strip.of(GATE))
    return {
        "bypass": False, "input-gain": input_db, "output-gain": rest_db,
        "dry": SILENT_DB, "wet": 0.0, "attack": time(strip[f"{GATE}.attack_ms"]),
        "release": time(gate.release_ms), "curve-threshold": gate.threshold_db,
        "curve-zone": gate.zone_db, "hysteresis": False, "hysteresis-threshold": -12.0,
        "hysteresis-zone": -6.0, "reduction": gate.reduction_db, "makeup": 0.0,
        "stereo-split": False,
        # What the gain in front does not hold comes behind the detector.
        "sidechain": {"input": "Internal", **_detector(strip, gate.preamp_db + rest_db)},
        **PASSES_OFF,
    }  # fmt: skip


def _detector(strip: Strip, preamp_db: float) -> dict[str, Any]:
    return {
        "mode": "Peak",
        # Release 7.0 does not know "Max"; sides that are alike need it not.
        "source": "Middle" if strip.channels == 1 else "Max",
        "stereo-split-source": "Left/Right",
        "preamp": preamp_db, "reactivity": 0.0, "lookahead": 0.0,
    }  # fmt: skip


def _equalizer(strip: Strip) -> dict[str, Any]:
    # A gate stands in front and has the gain.
    input_db, rest_db = _split(0.0 if strip.on(GATE) else strip.gain_db("input_gain"))
    bands = {}
    for place, band in enumerate(EQ_BANDS):
        bands[f"band{place}"] = {
            "type": "Off" if f"eq.{band}" in strip.off else FILTERS[band][1],
            "mode": FILTER_MODE[1], "slope": "x1", "solo": False,
            # The plug-in has the input gain too: its bands are muted where the EQ is off.
            "mute": not (strip.on("eq") or f"eq.{band}" in strip.off),
            "gain": 0.0, **theirs(MAPPED, strip.settings, f"eq.{band}"), "width": 4.0,
        }  # fmt: skip
    return {
        "bypass": False, "input-gain": input_db, "output-gain": rest_db, "mode": "IIR",
        "split-channels": False, "balance": 0.0, "pitch-left": 0.0, "pitch-right": 0.0,
        "num-bands": len(EQ_BANDS), "left": bands, "right": bands,
    }  # fmt: skip


def _level_db(share: float) -> float:
    """Return a share of the signal as a level; nothing is the least that the plug-in has."""
    return max(decibels(share), SILENT_DB) if share > 0.0 else SILENT_DB


def _compressor(strip: Strip, key: str, gain_db: float) -> dict[str, Any]:
    output_db, rest_db = _split(gain_db)
    wet = strip[f"{key}.mix"] / 100.0 if strip.on(key) else 0.0
    levels = {"dry": _level_db(1.0 - wet), "wet": _level_db(wet)}
    levels = {
        side: max(level + rest_db, SILENT_DB) if level > SILENT_DB else level
        for side, level in levels.items()
    }
    return {
        "bypass": False, "input-gain": 0.0, "output-gain": output_db, **levels,
        "mode": "Downward",
        **theirs([m for m in MAPPED if m.name != "wet"], strip.settings, key),
        "release-threshold": SILENT_DB, "boost-threshold": -72.0, "boost-amount": 6.0,
        "stereo-split": False,
        "sidechain": {"type": "Feed-forward", **_detector(strip, 0.0)},
        **PASSES_OFF,
    }  # fmt: skip


def _split(gain_db: float) -> tuple[float, float]:
    """Return the gain as far as the range goes, and what is left of it."""
    first_db = min(max(gain_db, -LARGEST_GAIN_DB), LARGEST_GAIN_DB)
    return first_db, gain_db - first_db


def _response(strip: Strip) -> np.ndarray:
    angle = math.pi / 4.0 * (1.0 + (strip["pan.position"] if strip.on("pan") else 0.0))
    dry = math.sqrt(2.0) * np.array([math.cos(angle), math.sin(angle)])
    response = np.zeros((2, SHORTEST_RESPONSE))
    if strip.on("delay"):
        response = sends_response(strip, LONGEST_S)
    elif strip.on("reverb"):
        response = 10.0 ** (strip["reverb.wet_db"] / 20.0) * strip.impulse_response()
    response[:, 0] += dry
    return response


def _read(path: Path) -> Preset:
    data = json.loads(read_text(path))
    held = [data.get(part) for part in PARTS] if isinstance(data, dict) else []
    parts = [part for part in held if isinstance(part, dict)]
    if not parts:
        raise ExportError(f"{path}: no preset of EasyEffects, which holds 'output' or 'input'")
    own = data.get(OWN)
    if isinstance(own, dict) or _has_own_kernel(parts[0]):
        return _read_own(path, parts[0], own if isinstance(own, dict) else {})
    chains = [plugins(part) for part in parts]
    acting = [
        chain for chain in chains
        if any(name in ("equalizer", "filter", "compressor") and is_on(v) for name, v in chain)
    ]  # fmt: skip
    found = read_chain((acting or chains)[0])
    if not found.equalizers and not found.compressors:
        raise ExportError(f"{path}: neither an equalizer nor a compressor is in its plugins_order")
    return Preset.from_settings(
        found.settings, bypass=found.off, name=path.stem, provenance=imported(found.notes)
    )


def _has_own_kernel(output: Mapping[str, Any]) -> bool:
    """Whether the convolver plays a response that export made."""
    convolver = output.get(CONVOLVER)
    kernel = convolver.get("kernel-name") if isinstance(convolver, dict) else None
    return str(kernel).startswith(KERNEL)


def _read_own(path: Path, output: Mapping[str, Any], own: Mapping[str, Any]) -> Preset:
    """Read what export wrote, every band in its place, on or off."""
    order = [str(name) for name in output.get("plugins_order", [])]
    settings: dict[str, float] = {}
    off: set[str] = set()
    equalizer = _plugin(output, order, EQUALIZER)
    compressors = {key: _plugin(output, order, name) for key, name in INSTANCES.items()}
    compressors = {key: values for key, values in compressors.items() if values}
    if equalizer:
        off |= _read_bands(equalizer, settings)
        settings["input_gain.gain_db"] = equalizer["input-gain"] + equalizer["output-gain"]
        off |= {"eq", "input_gain"} if equalizer.get("bypass") else set()
    gate = _plugin(output, order, GATE_INSTANCE)
    if gate:
        settings |= _from_gate(gate)
        gain_db = gate["input-gain"] + gate["output-gain"]
        settings["input_gain.gain_db"] = gain_db + settings.get("input_gain.gain_db", 0.0)
        off |= {GATE, "input_gain"} if gate.get("bypass") else set()
    for key, values in compressors.items():
        settings |= ours([m for m in MAPPED if m.name != "wet"], values, key)
        dry_db, wet_db = values["dry"], values["wet"]
        if wet_db <= SILENT_DB < dry_db:
            off.add(key)
        level_db = max(dry_db, wet_db)
        if min(dry_db, wet_db) > SILENT_DB:
            both = linear(dry_db) + linear(wet_db)
            level_db, settings[f"{key}.mix"] = decibels(both), 100.0 * linear(wet_db) / both
        level_db += values["output-gain"]
        settings["output_gain.gain_db"] = level_db + settings.get("output_gain.gain_db", 0.0)
        off |= {key, "output_gain"} if values.get("bypass") else set()
    convolver = _plugin(output, order, CONVOLVER)
    if convolver and not convolver.get("bypass"):
        settings |= _from_own(own)
    if not equalizer and not compressors:
        first = INSTANCES["compressor"]
        raise ExportError(f"{path}: neither {EQUALIZER} nor {first} is in its plugins_order")
    return Preset.from_settings(settings, bypass=off, name=str(own.get("name", "")))


def _from_gate(values: Mapping[str, Any]) -> dict[str, float]:
    attack = ours([m for m in MAPPED if m.key == f"{GATE}.attack_ms"], values, GATE)
    gate = Gate(
        threshold_db=values["curve-threshold"],
        zone_db=values["curve-zone"],
        reduction_db=values["reduction"],
        preamp_db=values["sidechain"]["preamp"] - values["output-gain"],
        release_ms=time_constant(values["release"]),
    )
    return {**attack, **settings_of(gate)}


def _from_own(own: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings of pan and sends, each whole, of which one at least is on."""
    known = {m.key for m in MAPPED if m.name == "samples"}
    found = {key: float(own[key]) for key in own if key in known}
    sections = {key.split(".")[0] for key in found}
    if not found or {key for key in known if key.split(".")[0] in sections} != set(found):
        raise ExportError(
            f"has a {CONVOLVER}, whose pan and sends cannot be read from its response but stand in"
            f" {OWN!r}, as export wrote them; put that object back, or take {CONVOLVER} out of"
            " plugins_order to import the strip without them"
        )
    return found


def _plugin(output: Mapping[str, Any], order: list[str], name: str) -> dict[str, Any]:
    """Return a plug-in's settings; empty where it is absent."""
    return output[name] if name in order else {}


def _read_bands(equalizer: Mapping[str, Any], settings: dict[str, float]) -> set[str]:
    off, muted = set(), set()
    for place, band in enumerate(EQ_BANDS):
        values = equalizer["left"].get(f"band{place}")
        if values is None:
            off.add(band)
            continue
        kind, wanted = values["type"], FILTERS[band][1]
        if kind not in ("Off", wanted):
            raise ExportError(f"band{place} is of type {kind!r}, where a strip has {wanted!r}")
        settings |= ours(MAPPED, values, f"eq.{band}")
        if kind == "Off":
            off.add(band)
        elif values.get("mute"):
            muted.add(band)
    return switches_off(off, muted)


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = [*gate_notes(strip), *delay_notes(strip, LONGEST_S)]
    convolved = [key for key in (*SENDS[::-1], "pan") if strip.on(key)]
    if convolved:
        lines.append(
            f"{convolved[0]}: import the .irs file in the convolver's menu; in release 7.0 choose "
            "it there, too"
        )
    return tuple(lines)


DETECTED = (
    "exported for mono (--channels 1) it processes the mean of the sides; for stereo the louder"
    " side, as ours does, but release 7.0 does not know that and keeps its own source"
)

FORMAT = Format(
    key="easyeffects",
    title="EasyEffects 7: an output preset, with the response of pan and sends for its convolver",
    ending=".json",
    write=_write,
    mapped=MAPPED,
    # EasyEffects always works in stereo, whatever the export is for.
    lost={
        **dict.fromkeys((GATE, "compressor"), DETECTED),
        **dict.fromkeys(
            SENDS, "the convolver sends each side to its own return; ours sends the sides' mean"
        ),
    },
    notes=_notes,
    conditions=(
        RANGE.format("less"),
        HOLD,
        CUT.format(LONGEST_S),
        "pan and sends: the .irs file is to be imported in the convolver's menu, and in release"
        " 7.0 to be chosen there, too",
    ),
    read=_read,
)
