"""A project of one audio track for Bitwig, Studio One, Cubase: DAWproject's EQ and compressor.

A ``.dawproject`` file is a zip of ``project.xml``, ``metadata.xml`` and files that they name. The
format describes an equalizer and a compressor that every program maps to its own; it knows no
reverb and no knee. Source of the rules: DAWproject 1.0, its schema and reference (elements in the
order of the schema; frequencies in hertz, gains in decibel, times in seconds, the ratio as the
percentage by which a rise above the threshold is taken back, volume linear, pan 0 … 1).
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..errors import ExportError
from ..files.archives import read_member
from ..strip.parameters import BY_KEY, EQ_BANDS
from ..strip.preset import Preset
from .base import Files, Format, Mapped, Strip, imported, number
from .fit import Filter, fit_bands
from .ir import wav_bytes
from .sheet import in_a_sentence

__all__ = ["FORMAT", "RESPONSE"]

PROJECT, METADATA = "project.xml", "metadata.xml"
RESPONSE = "reverb/impulse_response.wav"
LARGEST_BYTES = 1 << 20
FULL_FADER_DB = 6.0
LOWEST_FADER_DB = BY_KEY["output_gain.gain_db"].low
HIGHEST_RATIO = BY_KEY["compressor.ratio"].high
HIGHEST_NOTE = 200.0
BAND_TYPES = {
    "high_pass": "highPass", "low_shelf": "lowShelf", "high_shelf": "highShelf",
    "low_pass": "lowPass",
}  # fmt: skip
BELL = "bell"
KINDS = {theirs: kind for kind, theirs in BAND_TYPES.items()} | {BELL: BELL}
LARGEST = 1e6


def _percent(ratio: float) -> float:
    return 100.0 * (1.0 - 1.0 / ratio)


def _ratio(percent: float) -> float:
    # A limiter, 100 %, is the highest ratio that a strip has.
    if percent >= _percent(HIGHEST_RATIO):
        return HIGHEST_RATIO
    return 1.0 / (1.0 - percent / 100.0)


def _volume(gain_db: float) -> float:
    return 10.0 ** (gain_db / 20.0)


def _volume_db(volume: float) -> float:
    # A fader that is all the way down is the lowest gain that a strip has.
    return 20.0 * math.log10(max(volume, _volume(LOWEST_FADER_DB)))


def _seconds(ms: float) -> float:
    return ms / 1000.0


def _ms(seconds: float) -> float:
    return seconds * 1000.0


def _band_mapped(band: str) -> tuple[Mapped, ...]:
    names = {"freq_hz": ("Freq", "hertz"), "gain_db": ("Gain", "decibel"), "q": ("Q", "linear")}
    return tuple(
        Mapped(f"eq.{band}.{name}", *theirs)
        for name, theirs in names.items()
        if f"eq.{band}.{name}" in BY_KEY
    )


GAIN = Mapped("input_gain.gain_db", "InputGain", "decibel")


def _compressor_mapped(key: str) -> tuple[Mapped, ...]:
    """Return a compressor's parameters in the order of the schema; the first has the gain."""
    return (
        Mapped(f"{key}.attack_ms", "Attack", "seconds", _seconds, _ms),
        *((GAIN,) if key == "compressor" else ()),
        Mapped(f"{key}.makeup_db", "OutputGain", "decibel"),
        Mapped(f"{key}.ratio", "Ratio", "percent", _percent, _ratio),
        Mapped(f"{key}.release_ms", "Release", "seconds", _seconds, _ms),
        Mapped(f"{key}.threshold_db", "Threshold", "decibel"),
    )


COMPRESSORS = {key: _compressor_mapped(key) for key in ("compressor", "compressor_2")}
BANDS = {band: _band_mapped(band) for band in EQ_BANDS}
PAN = Mapped(
    "pan.position", "Pan", "normalized", lambda p: (p + 1.0) / 2.0, lambda x: 2.0 * x - 1.0
)
VOLUME = Mapped("output_gain.gain_db", "Volume", "linear", _volume, _volume_db)
INPUT_GAIN = "input_gain.gain_db"


class _Ids:
    """Gives each element that can be referred to an id of its own."""

    def __init__(self) -> None:
        self.made = 0

    def add(self, parent: Element, tag: str, **attributes: str) -> Element:
        self.made += 1
        return SubElement(parent, tag, {**attributes, "id": f"id{self.made}"})

    def real(self, parent: Element, mapped: Mapped, value: float, **attributes: str) -> Element:
        shown = number(mapped.to_theirs(value), 14)
        return self.add(parent, mapped.name, **attributes, unit=mapped.unit, value=shown)

    def switch(self, parent: Element, tag: str, on: bool) -> Element:
        return self.add(parent, tag, value="true" if on else "false")


def _write(strip: Strip) -> Files:
    from .. import __version__

    project = Element("Project", version="1.0")
    SubElement(project, "Application", name="diffconsole", version=__version__)
    ids = _Ids()
    structure = SubElement(project, "Structure")
    track = ids.add(
        structure, "Track", contentType="audio", loaded="true", name=strip.title,
        comment=in_a_sentence(strip),
    )  # fmt: skip
    channel = ids.add(
        track, "Channel", audioChannels=str(strip.channels), role="regular", solo="false"
    )
    devices = SubElement(channel, "Devices")
    _add_equalizer(ids, devices, strip)
    for key in COMPRESSORS:
        if key == "compressor" or strip.on(key):
            _add_compressor(ids, devices, strip, key)
    ids.switch(channel, "Mute", False)
    position = strip["pan.position"] if strip.on("pan") else 0.0
    ids.real(channel, PAN, position, min="0", max="1")
    ids.real(channel, VOLUME, strip.gain_db("output_gain"))
    master = ids.add(structure, "Track", contentType="audio", loaded="true", name="Master")
    out = ids.add(master, "Channel", audioChannels="2", role="master", solo="false")
    ids.real(out, VOLUME, 0.0)
    channel.set("destination", out.attrib["id"])
    arrangement = ids.add(project, "Arrangement")
    lanes = ids.add(arrangement, "Lanes", timeUnit="seconds")
    ids.add(lanes, "Lanes", track=track.attrib["id"])

    metadata = Element("MetaData")
    SubElement(metadata, "Title").text = strip.title
    SubElement(metadata, "Comment").text = in_a_sentence(strip)
    content = {METADATA: _xml(metadata), PROJECT: _xml(project)}
    if strip.on("reverb"):
        content[RESPONSE] = wav_bytes(strip.impulse_response(), strip.sample_rate)
    return {"": _zip(content)}


def _xml(root: Element) -> bytes:
    ElementTree.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root) + b"\n"


def _zip(content: dict[str, bytes]) -> bytes:
    """Return the same bytes for the same content, whatever day and system it is."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return file.getvalue()


def _add_device(ids: _Ids, devices: Element, tag: str, on: bool) -> Element:
    device = ids.add(devices, tag, deviceName=tag, deviceRole="audioFX", loaded="true", name=tag)
    ids.switch(device, "Enabled", on)
    return device


def _add_equalizer(ids: _Ids, devices: Element, strip: Strip) -> None:
    # Without the compressor all is linear, and the gain may as well stand here.
    gain_db = 0.0 if strip.on("compressor") else strip.gain_db("input_gain")
    device = _add_device(ids, devices, "Equalizer", strip.on("eq") or gain_db != 0.0)
    off = strip.preset.bypass()
    if not strip.on("eq") and gain_db != 0.0:
        # The device is on for the gain alone.
        off = frozenset(f"eq.{band}" for band in EQ_BANDS)
    for order, (band, mapped) in enumerate(BANDS.items()):
        # A band has no id in the schema; its parameters have.
        element = SubElement(device, "Band", type=BAND_TYPES.get(band, BELL), order=str(order))
        for parameter in mapped:
            ids.real(element, parameter, strip[parameter.key])
        ids.switch(element, "Enabled", f"eq.{band}" not in off)
    if not strip.on("compressor"):
        ids.real(device, GAIN, gain_db)


def _add_compressor(ids: _Ids, devices: Element, strip: Strip, key: str) -> None:
    device = _add_device(ids, devices, "Compressor", strip.on(key))
    for mapped in COMPRESSORS[key]:
        if mapped.key != INPUT_GAIN:
            ids.real(device, mapped, strip[mapped.key])
        elif strip.on(key):
            ids.real(device, mapped, strip.gain_db("input_gain"))
        if mapped.name == "Attack":
            ids.switch(device, "AutoMakeup", False)


def _read(path: Path) -> Preset:
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


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = []
    if strip.on("reverb"):
        lines.append(
            f"reverb.wet_db: {strip['reverb.wet_db']:.2f} dB, to be set as the convolver's wet "
            "level, dry 0 dB"
        )
    lines += [
        f"{key}.mix: the format has none; {100.0 - strip[f'{key}.mix']:.3g} % of dry signal is "
        "left out"
        for key in COMPRESSORS
        if strip.on(key) and strip[f"{key}.mix"] < 100.0
    ]
    if strip.gain_db("output_gain") > FULL_FADER_DB:
        lines.append("output_gain.gain_db: is the track's volume; many faders end at +6 dB")
    return tuple(lines)


FORMAT = Format(
    key="dawproject",
    title="DAWproject for Bitwig, Studio One, Cubase: a track with EQ and compressor",
    ending=".dawproject",
    write=_write,
    at_rate=False,
    mapped=(*(m for part in (*COMPRESSORS.values(), *BANDS.values()) for m in part), PAN, VOLUME),
    lost={
        "eq": "the values carry over; the curves are those of the program's own EQ",
        **dict.fromkeys(
            COMPRESSORS, "the values carry over; detector and times are the program's own"
        ),
        **{
            f"{key}.knee_db": "the format has none; the program's compressor keeps its own"
            for key in COMPRESSORS
        },
        "pan": "is the track's pan, by the program's own pan law",
        "reverb": f"the format has none; its response is in the file, a zip, as {RESPONSE}, for "
        "any convolver",
    },
    notes=_notes,
    conditions=(
        "reverb.wet_db: to be set as the convolver's wet level, dry 0 dB",
        "output_gain.gain_db: is the track's volume; many faders end at +6 dB",
        "compressor.mix: the format has none; where it is below 100 %, the dry signal is left out",
    ),
    consumer="a reader by the rules of the format's schema",
    read=_read,
)
