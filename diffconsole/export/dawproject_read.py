"""Reads a DAWproject back into a strip: its own EQ, compressors and noise gate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ..errors import ExportError
from ..files.archives import read_member
from ..strip.parameters import BY_KEY
from ..strip.preset import Preset
from .base import Mapped, imported
from .dawproject_map import (
    BAND_TYPES,
    BANDS,
    BELL,
    COMPRESSORS,
    GAIN,
    GATE,
    GATE_MAPPED,
    INPUT_GAIN,
    LOWEST_FADER_DB,
    PAN,
    PROJECT,
    VOLUME,
)
from .fit import Filter, fit_bands

__all__ = ["read"]

LARGEST_BYTES = 1 << 20
HIGHEST_NOTE = 200.0
LARGEST = 1e6
KINDS = {theirs: kind for kind, theirs in BAND_TYPES.items()} | {BELL: BELL}


def read(path: Path) -> Preset:
    """Return the strip of the first track that has an equalizer or a compressor."""
    root = _project(path)
    for channel in root.iter("Channel"):
        equalizer = channel.find("Devices/Equalizer")
        compressors = dict(zip(COMPRESSORS, channel.findall("Devices/Compressor"), strict=False))
        if equalizer is not None or compressors:
            break
    else:
        raise ExportError(f"{path}: no track of it has an equalizer or a compressor of the format")
    settings: dict[str, float] = {}
    off: set[str] = set()
    for device in (equalizer, compressors.get("compressor")):
        gain = _value(device, GAIN) if _enabled(device) else None
        if gain:
            settings[INPUT_GAIN] = settings.get(INPUT_GAIN, 0.0) + gain
    notes: list[str] = []
    if equalizer is not None:
        fitted = fit_bands(list(_filters(equalizer, notes)), lowest=True)
        settings |= fitted.settings
        off |= fitted.off
        notes += fitted.notes
        if not _enabled(equalizer):
            off.add("eq")
    for key, device in compressors.items():
        _take(settings, device, [m for m in COMPRESSORS[key] if m.key != INPUT_GAIN])
        if not _enabled(device):
            off.add(key)
    _take(settings, channel, (PAN, VOLUME))
    gate = channel.find("Devices/NoiseGate")
    if gate is not None:
        _take(settings, gate, GATE_MAPPED)
        if f"{GATE}.threshold_db" in settings:
            settings[f"{GATE}.threshold_db"] += settings.get(INPUT_GAIN, 0.0)
        settings[f"{GATE}.hold_ms"] = 0.0
        if not _enabled(gate):
            off.add(GATE)
    tracks = [track for track in root.iter("Track") if channel in list(track)]
    name = tracks[0].get("name", "") if tracks else ""
    return Preset.from_settings(settings, bypass=off, name=name, provenance=imported(notes))


def _project(path: Path) -> Element:
    """Return the root of the project."""
    text = read_member(path, PROJECT, LARGEST_BYTES, "a .dawproject file")
    if text is None:
        raise ExportError(
            f"{path}: its {PROJECT} is over 1 MB; save a project of the vocal's track alone"
        )
    try:
        decoded = text.decode("utf-8-sig")
        if "<!DOCTYPE" in decoded or "<!ENTITY" in decoded:
            raise ExportError(f"{path}: {PROJECT} declares entities, which the format does not use")
        root = ElementTree.fromstring(decoded)
    except UnicodeDecodeError:
        raise ExportError(f"{path}: {PROJECT} in it is not in UTF-8; save it again") from None
    except ElementTree.ParseError as error:
        raise ExportError(f"{path}: {PROJECT} in it is not XML ({error})") from None
    if root.tag != "Project":
        raise ExportError(f"{path}: {PROJECT} in it holds {root.tag!r}, not a Project")
    return root


def _value(parent: Element | None, mapped: Mapped) -> float | None:
    """Return a parameter in our unit, None where it is not there."""
    element = parent.find(mapped.name) if parent is not None else None
    if element is None or element.get("value") is None:
        return None
    value, unit = float(element.attrib["value"]), element.get("unit", mapped.unit)
    if unit == "semitones" and mapped.unit == "hertz":
        # Bitwig writes frequencies as notes, 69 for 440 Hz.
        if abs(value) > HIGHEST_NOTE:
            raise ExportError(f"{mapped.name} of {value:g} semitones is no note; give 0 to 136")
        value, unit = 440.0 * 2.0 ** ((value - 69.0) / 12.0), "hertz"
    if unit == "decibel" and mapped is VOLUME:
        return max(value, LOWEST_FADER_DB)
    if unit != mapped.unit:
        raise ValueError(f"{mapped.name} in {unit!r} instead of {mapped.unit}")
    return mapped.to_ours(value)


def _take(
    settings: dict[str, float], parent: Element, mapped: tuple[Mapped, ...] | list[Mapped]
) -> None:
    for parameter in mapped:
        value = _value(parent, parameter)
        if value is not None:
            settings[parameter.key] = value


def _enabled(element: Element | None) -> bool:
    switch = element.find("Enabled") if element is not None else None
    return element is not None and (switch is None or switch.get("value") in ("true", "1"))


def _filters(equalizer: Element, notes: list[str]) -> Iterator[Filter]:
    """Yield the bands of an equalizer; what a strip has none of is reported."""
    for element in equalizer.findall("Band"):
        theirs = element.get("type", "")
        kind = KINDS.get(theirs)
        if kind is None:
            if _enabled(element):
                notes.append(f"left out: a band of type {theirs[:20]!r}, which a strip lacks")
            continue
        band = "peak_1" if kind == BELL else kind
        values = {
            f"eq.{band}.{name}": BY_KEY[f"eq.{band}.{name}"].default
            for name in ("freq_hz", "gain_db", "q")
            if f"eq.{band}.{name}" in BY_KEY
        }
        _take(values, element, BANDS[band])
        freq_hz, q = values[f"eq.{band}.freq_hz"], values[f"eq.{band}.q"]
        if not (0.0 < freq_hz < LARGEST and 0.0 < q < LARGEST):
            raise ExportError(f"a {kind} at {freq_hz:g} Hz with a Q of {q:g} is no filter")
        gain_db = values.get(f"eq.{band}.gain_db", 0.0)
        if not math.isfinite(gain_db):
            raise ExportError(f"a gain of {gain_db:g} dB is none that a filter has")
        yield Filter(kind, freq_hz, gain_db, q, _enabled(element))
