"""The rules of DAWproject 1.0's schema for what is written: a reader that refuses all else.

For each kind of element: its children in order with how often they may stand, its attributes with
their kind and whether they must be there. Kinds of children that share a tag are told by place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

UNITS = {
    "linear", "normalized", "percent", "decibel", "hertz", "semitones", "seconds", "beats", "bpm",
}  # fmt: skip
CHOICES = {
    "unit": UNITS,
    "bool": {"true", "false", "1", "0"},
    "band": {"highPass", "lowPass", "bandPass", "highShelf", "lowShelf", "bell", "notch"},
    "device role": {"instrument", "noteFX", "audioFX", "analyzer"},
    "role": {"regular", "master", "effect", "submix", "vca"},
    "time": {"beats", "seconds"},
}
CONTENT = {"audio", "automation", "notes", "video", "markers", "tracks"}
NAME = re.compile(r"[A-Za-z_][\w.-]*")
ANY = (0, 10**6)
MAYBE = (0, 1)
ONCE = (1, 1)


@dataclass(frozen=True)
class Kind:
    """What an element may hold: ``(tag, kind, (least, most))`` in order; attributes by name."""

    children: tuple[tuple[str, str, tuple[int, int]], ...] = ()
    attributes: tuple[str, ...] = ()


NAMED = ("name:text", "color:text", "comment:text")
REFERABLE = (*NAMED, "id:id")
DEVICE = (
    *REFERABLE, "deviceID:text", "deviceName:text!", "deviceRole:device role!",
    "deviceVendor:text", "loaded:bool",
)  # fmt: skip
DEVICE_CHILDREN = (("Enabled", "switch", MAYBE),)


def reals(*tags: str) -> tuple[tuple[str, str, tuple[int, int]], ...]:
    return tuple((tag, "real", MAYBE) for tag in tags)


KINDS = {
    "project": Kind(
        (
            ("Application", "application", ONCE),
            ("Transport", "nothing", MAYBE),
            ("Structure", "structure", MAYBE),
            ("Arrangement", "arrangement", MAYBE),
        ),
        ("version:text!",),
    ),
    "application": Kind((), ("name:text!", "version:text!")),
    "structure": Kind((("Track", "track", ANY),)),
    "track": Kind(
        (("Channel", "channel", MAYBE), ("Track", "track", ANY)),
        (*REFERABLE, "contentType:content", "loaded:bool"),
    ),
    "channel": Kind(
        (
            ("Devices", "devices", MAYBE),
            ("Mute", "switch", MAYBE),
            ("Pan", "real", MAYBE),
            ("Volume", "real", MAYBE),
        ),
        (*REFERABLE, "audioChannels:int", "destination:idref", "role:role", "solo:bool"),
    ),
    "devices": Kind(
        (
            ("NoiseGate", "gate", ANY),
            ("Equalizer", "equalizer", ANY),
            ("Compressor", "compressor", ANY),
        )
    ),
    "gate": Kind(
        (*DEVICE_CHILDREN, *reals("Attack", "Range", "Ratio", "Release", "Threshold")), DEVICE
    ),
    "equalizer": Kind(
        (*DEVICE_CHILDREN, ("Band", "band", ANY), *reals("InputGain", "OutputGain")), DEVICE
    ),
    "band": Kind(
        (("Freq", "real", ONCE), *reals("Gain", "Q"), ("Enabled", "switch", MAYBE)),
        ("type:band!", "order:int"),
    ),
    "compressor": Kind(
        (
            *DEVICE_CHILDREN,
            *reals("Attack"),
            ("AutoMakeup", "switch", MAYBE),
            *reals("InputGain", "OutputGain", "Ratio", "Release", "Threshold"),
        ),
        DEVICE,
    ),
    "real": Kind(
        (),
        (*REFERABLE, "parameterID:int", "min:real", "max:real", "unit:unit!", "value:real"),
    ),
    "switch": Kind((), (*REFERABLE, "parameterID:int", "value:bool")),
    "arrangement": Kind((("Lanes", "lanes", MAYBE),), REFERABLE),
    "lanes": Kind((("Lanes", "lanes", ANY),), (*REFERABLE, "timeUnit:time", "track:idref")),
    "metadata": Kind(
        tuple(
            (tag, "words", MAYBE)
            for tag in (
                "Title",
                "Artist",
                "Album",
                "OriginalArtist",
                "Composer",
                "Songwriter",
                "Producer",
                "Arranger",
                "Year",
                "Genre",
                "Copyright",
                "Website",
                "Comment",
            )
        )
    ),  # fmt: skip
    "words": Kind(),
    "nothing": Kind(),
}


def check(root: Element, kind: str) -> None:
    """Assert every rule for an element and all that is in it, identities included."""
    ids: list[str] = []
    references: list[str] = []
    _check(root, kind, ids, references)
    assert len(ids) == len(set(ids)), "an id stands twice"
    assert set(references) <= set(ids), "a reference leads nowhere"


def _check(element: Element, kind: str, ids: list[str], references: list[str]) -> None:
    rules = KINDS[kind]
    _check_attributes(element, rules, ids, references)
    if kind != "words":
        assert not (element.text or "").strip(), element.tag
    children = list(element)
    for tag, inner, (least, most) in rules.children:
        count = 0
        while children and children[0].tag == tag:
            _check(children.pop(0), inner, ids, references)
            count += 1
        assert least <= count <= most, f"{count} {tag} in {element.tag}"
    assert not children, f"{children[0].tag} has no place here in {element.tag}"


def _check_attributes(element: Element, rules: Kind, ids: list[str], references: list[str]) -> None:
    left = dict(element.attrib)
    for rule in rules.attributes:
        name, what = rule.rstrip("!").split(":")
        if name not in left:
            assert not rule.endswith("!"), f"{element.tag} without {name}"
            continue
        value = left.pop(name)
        if what == "id":
            assert NAME.fullmatch(value), value
            ids.append(value)
        elif what == "idref":
            references.append(value)
        elif what in CHOICES:
            assert value in CHOICES[what], f"{name}={value!r}"
        elif what == "content":
            assert set(value.split()) <= CONTENT
        elif what in ("int", "real"):
            (int if what == "int" else float)(value)
    assert not left, f"{element.tag} has no attribute {', '.join(left)}"
