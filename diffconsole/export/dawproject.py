"""A project of one audio track for Bitwig, Studio One, Cubase: DAWproject's own devices.

A ``.dawproject`` file is a zip of ``project.xml``, ``metadata.xml`` and files that they name. The
format describes a noise gate, an equalizer and a compressor that every program maps to its own; it
knows no reverb and no knee. Source of the rules: DAWproject 1.0, its schema and reference (elements
in the order of the schema; frequencies in hertz, gains in decibel, times in seconds, the ratio as
the percentage by which a rise above the threshold is taken back, volume linear, pan 0 … 1).
"""

from __future__ import annotations

import io
import zipfile
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..strip.numbers import short
from ..strip.parameters import EQ_BANDS
from .base import Files, Format, Mapped, Strip, number
from .dawproject_map import (
    BAND_TYPES,
    BANDS,
    BELL,
    COMPRESSORS,
    GAIN,
    GATE,
    GATE_MAPPED,
    INPUT_GAIN,
    PAN,
    PROJECT,
    VOLUME,
)
from .dawproject_read import read
from .ir import wav_bytes
from .sends import CUT, delay_notes, sends_response
from .sheet import in_a_sentence

__all__ = ["FORMAT", "RESPONSE"]

METADATA = "metadata.xml"
RESPONSE, SENDS_RESPONSE = "reverb/impulse_response.wav", "sends/impulse_response.wav"
LONGEST_S = 10.0
FULL_FADER_DB = 6.0


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
    if strip.on(GATE):
        _add_gate(ids, devices, strip)
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
    if strip.on("delay"):
        content[SENDS_RESPONSE] = wav_bytes(sends_response(strip, LONGEST_S), strip.sample_rate)
    elif strip.on("reverb"):
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


def _add_gate(ids: _Ids, devices: Element, strip: Strip) -> None:
    device = _add_device(ids, devices, "NoiseGate", True)
    own = {f"{GATE}.{name}": value for name, value in strip.of(GATE).items()}
    own[f"{GATE}.threshold_db"] -= strip.gain_db("input_gain")
    for mapped in GATE_MAPPED:
        ids.real(device, mapped, own[mapped.key])


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


IN_FILE = "the format has none; its response is in the file, a zip, for any convolver"
TOGETHER = f"stands in {SENDS_RESPONSE}, at its level; set the convolver's wet and dry to 0 dB"


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = [*delay_notes(strip, LONGEST_S)]
    if strip.on("delay"):
        lines += [f"{key}: {TOGETHER}" for key in ("delay", "reverb") if strip.on(key)]
    elif strip.on("reverb"):
        lines += [
            f"reverb: stands in {RESPONSE}",
            f"reverb.wet_db: {short(strip['reverb.wet_db'], 4)} dB, to be set as the convolver's "
            "wet level, dry 0 dB",
        ]
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
    title="DAWproject for Bitwig, Studio One, Cubase: a track with gate, EQ and compressors",
    ending=".dawproject",
    write=_write,
    at_rate=False,
    mapped=(
        *GATE_MAPPED,
        *(m for part in (*COMPRESSORS.values(), *BANDS.values()) for m in part),
        PAN,
        VOLUME,
    ),
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
        "delay": IN_FILE,
        "reverb": IN_FILE,
        GATE: "the values carry over; detector and times are the program's own",
        f"{GATE}.hold_ms": "the format has none; the program's gate keeps its own",
    },
    notes=_notes,
    conditions=(
        f"reverb: stands in {RESPONSE}, without a delay",
        f"delay: {TOGETHER}; with it a reverb stands there too",
        CUT.format(LONGEST_S),
        "reverb.wet_db: to be set as the convolver's wet level, dry 0 dB",
        "output_gain.gain_db: is the track's volume; many faders end at +6 dB",
        "compressor.mix: the format has none; where it is below 100 %, the dry signal is left out",
    ),
    consumer="a reader by the rules of the format's schema",
    read=read,
)
