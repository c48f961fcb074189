"""Presets of LSP's equalizer, compressor and impulse reverb for every LV2 host.

One bundle to be copied into ``~/.lv2`` holds a preset for each plug-in and the impulse response;
``run.sh`` beside it plays a file through them with ``lv2apply``. The plug-ins stand in this order:
equalizer, compressor with the gains around it, pan, reverb. The reverb's plug-in takes the mean of
the channels, adds the return to the dry signal, and has the output gain; without it the compressor
has that gain. In mono it also pans the dry signal, ``dry·(1 ∓ p/100)/2``; in stereo a second
equalizer without bands does so by its balance, and the reverb's inputs take the pan back out.
Source: LV2's presets and state extensions; the ports as ``lv2info`` tells them.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from ..errors import ExportError
from ..strip.parameters import BY_KEY, EQ_BANDS, is_on
from ..strip.preset import Preset
from ..strip.versions import SINCE, is_spare
from .base import Figure, Files, Format, Mapped, Strip, number
from .ir import NAMES, wav_bytes
from .lsp import (
    COMPRESSORS,
    FILTER_MODE,
    FILTERS,
    decibels,
    linear,
    ours,
    pan_balance,
    pan_level,
    pan_position,
    read_text,
    switches_off,
    theirs,
    time,
    time_constant,
)
from .turtle import quoted, things

__all__ = ["FORMAT", "plugins"]

HOME = "http://lsp-plug.in/plugins/lv2/"
RESPONSE = "impulse_response.wav"
PREFIXES = """\
@prefix atom: <http://lv2plug.in/ns/ext/atom#> .
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .

"""
FILTER_COUNT = 16
MOST_FILES = 32
MOST_NAMED = 5
# Hard left or right silences a side, which the reverb's input mix cannot bring back.
MOST_MAKEUP = 100.0

MAPPED = (
    Mapped("input_gain.gain_db", "g_in", "", linear, decibels),
    *(
        mapped
        for place, band in enumerate(EQ_BANDS)
        for mapped in (
            Mapped(f"eq.{band}.freq_hz", f"f_{place}", "Hz"),
            *(
                ()
                if band.endswith("pass")
                else (Mapped(f"eq.{band}.gain_db", f"g_{place}", "", linear, decibels),)
            ),
            Mapped(f"eq.{band}.q", f"q_{place}"),
        )
    ),
    *(
        mapped
        for key in COMPRESSORS
        for mapped in (
            Mapped(f"{key}.threshold_db", "al", "", linear, decibels),
            Mapped(f"{key}.ratio", "cr"),
            Mapped(f"{key}.attack_ms", "at", "ms", time, time_constant),
            Mapped(f"{key}.release_ms", "rt", "ms", time, time_constant),
            Mapped(
                f"{key}.knee_db",
                "kn",
                "",
                lambda knee_db: linear(-knee_db / 2.0),
                lambda factor: -2.0 * decibels(factor) + 0.0,
            ),
            Mapped(f"{key}.makeup_db", "mk", "", linear, decibels),
            # The dry gain, cdr, is what is missing to 1.
            Mapped(f"{key}.mix", "cwt", "", lambda mix: mix / 100.0, lambda wet: 100.0 * wet),
        )
    ),
    Mapped("pan.position", "balance", "%", pan_balance, pan_position),
    *(Mapped(f"reverb.{name}", "samples") for name in NAMES),
    Mapped("reverb.wet_db", "wet", "", linear, decibels),
    Mapped("output_gain.gain_db", "g_out", "", linear, decibels),
)
SWITCHES = {switch for m in MAPPED for switch in (BY_KEY[m.key].section, BY_KEY[m.key].module)}


def plugins(strip: Strip) -> dict[str, tuple[str, dict[str, float]]]:
    """Return the plug-ins' addresses and control ports by part, in their order.

    Parameters
    ----------
    strip : Strip
        Whose channels choose between the plug-ins' mono and stereo variants.
    """
    kind = "mono" if strip.channels == 1 else "stereo"
    chain = {}
    # An EQ that is off goes along, muted, for its bands to come back.
    if any(f"eq.{band}" not in strip.off for band in EQ_BANDS):
        chain["equalizer"] = (f"{HOME}para_equalizer_x16_{kind}", _equalizer(strip))
    # The first one has the gains around it, so it is there when it is off, too.
    for key in COMPRESSORS:
        if key == "compressor" or strip.on(key):
            chain[key] = (f"{HOME}compressor_{kind}", _compressor(strip, key))
    position = strip["pan.position"]
    if strip.on("pan") and strip.channels == 2:
        # Without a filter's ports: a host leaves them as they are, off in a new plug-in.
        ports = {"enabled": 1, "bal": pan_balance(position), "g_out": pan_level(position)}
        chain["pan"] = (f"{HOME}para_equalizer_x16_stereo", ports)
    if strip.on("reverb") or (strip.on("pan") and strip.channels == 1):
        chain["reverb"] = (f"{HOME}impulse_reverb_{kind}", _reverb(strip))
    last = next(chain[part][1] for part in ("reverb", *COMPRESSORS[::-1]) if part in chain)
    last["g_out"] = linear(strip.gain_db("output_gain"))
    return chain


def _equalizer(strip: Strip) -> dict[str, float]:
    ports: dict[str, float] = {"enabled": 1, "g_in": 1, "g_out": 1, "mode": 0, "frqs": 0}
    ports |= {"bal": 0} if strip.channels == 2 else {}
    for place, band in enumerate(EQ_BANDS):
        is_off = f"eq.{band}" in strip.off
        ports[f"ft_{place}"] = 0 if is_off else FILTERS[band][0]
        ports[f"fm_{place}"] = FILTER_MODE[0]
        ports[f"s_{place}"] = 0
        ports |= {f"xs_{place}": 0, f"xm_{place}": 0 if strip.on("eq") or is_off else 1}
        ports |= theirs(MAPPED, strip.settings, f"eq.{band}")
    return ports | {f"ft_{place}": 0 for place in range(len(EQ_BANDS), FILTER_COUNT)}


def _compressor(strip: Strip, key: str) -> dict[str, float]:
    wet = strip[f"{key}.mix"] / 100.0 if strip.on(key) else 0.0
    gain_db = strip.gain_db("input_gain") if key == "compressor" else 0.0
    return {
        "enabled": 1, "g_in": linear(gain_db), "g_out": 1,
        # Feed-forward, peak, without smoothing before the detector; one gain for both channels.
        "sct": 0, "scm": 0, "scr": 0, "scp": 1, "sla": 0, "scl": 0, "shpm": 0, "slpm": 0,
        "cm": 0, "rrl": 0,
        **({"scs": 5} if strip.channels == 2 else {}),
        **theirs([m for m in MAPPED if m.name != "cwt"], strip.settings, key),
        "cdr": 1.0 - wet, "cwt": wet,
    }  # fmt: skip


def _reverb(strip: Strip) -> dict[str, float]:
    ports: dict[str, float] = {"enabled": 1, "pd": 0, "dry": 1, "g_out": 1, "wpp": 0}
    position = strip["pan.position"] if strip.on("pan") else 0.0
    send, mix = 1.0, 0.0
    if strip.channels == 1:
        ports |= {"p": pan_balance(position), "dry": 2.0 * pan_level(position)}
    else:
        ports |= {"pl": -100, "pr": 100}
        if strip.on("pan"):
            # The inputs are panned already: each side's share of the send is over its factor.
            sides = [max(pan_level(position) * (1.0 + sign * pan_balance(position) / 100.0), 1e-9)
                     for sign in (-1.0, 1.0)]  # fmt: skip
            shares = [0.5 / side for side in sides]
            mix = 100.0 * (shares[1] - shares[0]) / sum(shares)
            send = min(sum(shares), MOST_MAKEUP)
    if not strip.on("reverb"):
        return {**ports, "wet": 0}
    for side, pan in enumerate((-100, 100)):
        ports |= {f"csf{side}": 1, f"cst{side}": side, f"mk{side}": send, f"com{side}": pan}
        ports |= {f"cim{side}": mix} if strip.channels == 2 else {}
    return {**ports, "wet": linear(strip["reverb.wet_db"])}


def _write(strip: Strip) -> Files:
    chain = plugins(strip)
    bundle = f"{_slug(strip)}.preset.lv2"
    manifest = [PREFIXES]
    files: dict[str, bytes] = {}
    for part, (address, ports) in chain.items():
        told = [
            "a pset:Preset",
            f"lv2:appliesTo <{address}>",
            f"rdfs:label {quoted(strip.title)}",
        ]
        manifest.append(_statement(part, [*told, f"rdfs:seeAlso <{part}.ttl>"]))
        if part == "reverb" and strip.on("reverb"):
            told.append(f"rdfs:comment {quoted(_recipe(strip))}")
            told.append(f'state:state [ <{address}/ports#ifn0> "{RESPONSE}"^^atom:Path ]')
            files[f"{bundle}/{RESPONSE}"] = wav_bytes(strip.impulse_response(), strip.sample_rate)
        told.append("lv2:port " + ",".join(map(_port, ports.items())))
        files[f"{bundle}/{part}.ttl"] = (PREFIXES + _statement(part, told)).encode("ascii")
    files[f"{bundle}/manifest.ttl"] = "".join(manifest).encode("ascii")
    return {**files, "run.sh": _script(strip, chain).encode("ascii")}


def _statement(part: str, told: list[str]) -> str:
    return f"<{part}.ttl>\n\t" + " ;\n\t".join(told) + " .\n"


def _port(item: tuple[str, float]) -> str:
    name, value = item
    text = number(value)
    return f'\n\t[ lv2:symbol "{name}" ; pset:value {text if "." in text else text + ".0"} ]'


def _slug(strip: Strip) -> str:
    """Return a name for files: the title's letters, and what tells apart those with the same."""
    letters = re.sub(r"[^a-z0-9]+", "_", strip.title.lower()).strip("_")[:40]
    # What came later counts where it is used: the name of an older strip stays.
    settings = sorted(
        (m.key, strip[m.key]) for m in MAPPED
        if not SINCE[m.key]
        or is_on(BY_KEY[m.key].section, strip.off) and not is_spare(m.key, strip[m.key])
    )  # fmt: skip
    off = sorted(switch for switch in set(strip.off) & SWITCHES if not SINCE[switch])
    identity = repr((strip.title, strip.sample_rate, strip.channels, settings, off))
    return f"{letters or 'strip'}_{hashlib.sha256(identity.encode()).hexdigest()[:6]}"


def _recipe(strip: Strip) -> str:
    """Say what the impulse response was made from, as :func:`_read` finds it."""
    return "reverb: " + ", ".join(f"{name} {number(strip[f'reverb.{name}'])}" for name in NAMES)


def _script(strip: Strip, chain: dict[str, tuple[str, dict[str, float]]]) -> str:
    kind = "mono" if strip.channels == 1 else "stereo"
    lines = [
        "#!/bin/sh",
        "# Plays a file through the strip's plug-ins with lv2apply, of Debian's lilv-utils:",
        "#   sh run.sh IN.wav OUT.wav [-y]      -y replaces OUT.wav",
        f"# IN is {kind} 32-bit float WAV: the plug-ins' results are kept in the format of IN.",
        *(["# The reverb's return is missing: lv2apply loads no impulse response."]
          if strip.on("reverb") else []),
        "set -eu",
        'case "$#:${3-}" in 2: | 3:-y) ;;',
        '  *) echo "usage: sh run.sh IN.wav OUT.wav [-y]" >&2; exit 2 ;; esac',
        # Else lv2apply empties what it is about to read.
        'if [ "$1" -ef "$2" ]; then echo "IN and OUT are the same file" >&2; exit 1; fi',
        'if [ -e "$2" ] && [ "$#" -eq 2 ]; then',
        "  printf '%s\\n' \"$2 is there already; -y replaces it\" >&2; exit 1",
        "fi",
        "folder=$(mktemp -d)",
        "trap 'rm -rf \"$folder\"' EXIT",
        "play() {",
        '  lv2apply "$@" 2>"$folder/said" && return',
        '  cat "$folder/said" >&2',
        f"  ! grep -q 'map [0-9]* inputs' \"$folder/said\" || echo '{_too_many(strip)}' >&2",
        "  exit 1",
        "}",
    ]  # fmt: skip
    source = '"$1"'
    for place, (part, (address, ports)) in enumerate(chain.items(), 1):
        target = '"$2"' if place == len(chain) else f'"$folder/{part}.wav"'
        controls = " ".join(f"-c {name} {number(value)}" for name, value in ports.items())
        lines.append(f"play -i {source} -o {target} {controls} {address}")
        source = target
    return "\n".join(lines) + "\n"


def _too_many(strip: Strip) -> str:
    if strip.channels == 1:
        return "IN is not mono, and this is an export for mono: export with --channels 2"
    return "IN has more than two channels; make it stereo first"


def _read(path: Path) -> Preset:
    name = ""
    found: dict[str, dict[str, float]] = {}
    settings: dict[str, float] = {}
    for file in _presets(path):
        ports: dict[str, float] = {}
        for thing in things(read_text(file)):
            if thing.first("symbol") and thing.first("value"):
                ports[thing.first("symbol")] = float(thing.first("value"))
            part = _part(thing.first("appliesTo"), ports, file)
            if part and ports:
                if part in found:
                    raise ExportError(
                        f"{path}: {file.name} is a second preset of the {part}; give a bundle with"
                        " one for each plug-in, or the .ttl file of one"
                    )
                found[part], ports = ports, {}
                name = thing.first("label") or name
                if part == "reverb" and found[part]["wet"]:
                    settings |= _from_recipe(thing.first("comment"))
    if not found:
        raise ExportError(f"{path}: no preset of LSP's plug-ins in it, as <name>.preset.lv2/")
    off = _take_chain(found, settings)
    return Preset.from_settings(settings, bypass=off, name=name)


def _presets(path: Path) -> list[Path]:
    """Return the files of one bundle: that which is given, or the only one in the folder."""
    files = [path] if path.is_file() else sorted(path.glob("*.ttl")) or sorted(path.glob("*/*.ttl"))
    bundles = sorted({file.parent.name for file in files})
    if len(bundles) > 1:
        some = ", ".join(bundles[:MOST_NAMED]) + (", …" if len(bundles) > MOST_NAMED else "")
        raise ExportError(f"{path}: {len(bundles)} bundles in it ({some}); give one of them")
    if len(files) > MOST_FILES:
        raise ExportError(f"{path}: over {MOST_FILES} .ttl files; give the .ttl file of one preset")
    return files


def _part(address: str, ports: dict[str, float], file: Path) -> str:
    if address.startswith(f"{HOME}para_equalizer_"):
        return "equalizer" if "ft_0" in ports else "pan"
    # Two presets of one plug-in: the file's name says which.
    compressor = "compressor_2" if file.stem == "compressor_2" else "compressor"
    parts = {compressor: "compressor_", "reverb": "impulse_reverb_"}
    return next((p for p, start in parts.items() if address.startswith(HOME + start)), "")


def _take_chain(found: dict[str, dict[str, float]], settings: dict[str, float]) -> set[str]:
    """Write the ports' settings over those that are there; return what is off."""
    off, off_bands, muted = set(), set(), set()
    equalizer = found.get("equalizer", {})
    for place, band in enumerate(EQ_BANDS if equalizer else ()):
        kind = equalizer.get(f"ft_{place}")
        if kind not in (0.0, FILTERS[band][0]):
            raise ExportError(f"filter {place} is of type {kind}, not {FILTERS[band][1]}")
        settings |= ours(MAPPED, equalizer, f"eq.{band}")
        if kind == 0.0:
            off_bands.add(band)
        elif equalizer.get(f"xm_{place}"):
            muted.add(band)
    if equalizer:
        off |= switches_off(off_bands, muted)
    output = 1.0
    for key in COMPRESSORS:
        if key not in found:
            continue
        ports = found[key]
        settings |= ours(MAPPED, ports, key)
        settings |= ours(MAPPED, ports, "input_gain") if key == "compressor" else {}
        output *= ports["g_out"]
        if ports.get("cwt") == 0.0:
            off.add(key)
            del settings[f"{key}.mix"]
    if "pan" in found:
        settings["pan.position"] = pan_position(found["pan"]["bal"])
    if "reverb" in found:
        ports = found["reverb"]
        output *= ports["g_out"]
        if ports.get("p"):
            settings["pan.position"] = pan_position(ports["p"])
        if ports["wet"]:
            settings |= ours((m for m in MAPPED if m.name == "wet"), ports, "reverb")
    settings["output_gain.gain_db"] = decibels(output)
    return off


def _from_recipe(comment: str) -> dict[str, float]:
    told = dict(re.findall(r"(?<!\w)(\w+) (-?[0-9.]+)(?:,|$)", comment.removeprefix("reverb: ")))
    if not all(name in told for name in NAMES):
        raise ExportError(
            "has a reverb, whose settings cannot be read from its response but stand in the"
            " preset's rdfs:comment, as export wrote it; put that back, or set 'wet' to 0 to import"
            " the strip without a reverb"
        )
    return {f"reverb.{name}": float(told[name]) for name in NAMES}


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = []
    if strip.on("reverb"):
        lines.append(
            f"reverb: made at {strip.sample_rate} Hz; lv2apply, and so run.sh, loads no impulse "
            "response and plays the dry signal"
        )
    hard = abs(strip["pan.position"]) > 0.99
    if strip.on("reverb") and strip.on("pan") and strip.channels == 2 and hard:
        lines.append("pan: the silenced side is missing in the reverb's send")
    return tuple(lines)


FORMAT = Format(
    key="lv2",
    title="LV2 presets of LSP's equalizer, compressor and impulse reverb, for any LV2 host",
    ending="",
    write=_write,
    mapped=MAPPED,
    notes=_notes,
    conditions=(
        "reverb: lv2apply loads no files, so run.sh plays without it; LV2 hosts do",
        "reverb: the response is for one sample rate, that of the export",
        "pan: fully to one side, in stereo, the other side is missing in the reverb's send",
    ),
    figures=(Figure("EQ", -68.0), Figure("compressor", -93.0), Figure("whole chain", -68.0)),
    consumer="LSP 1.2.5 in lv2apply",
    read=_read,
)
