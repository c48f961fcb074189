"""Presets of LSP's gate, equalizer, compressor and impulse reverb for every LV2 host.

One bundle to be copied into ``~/.lv2`` holds a preset for each plug-in and the impulse response;
``run.sh`` beside it plays a file through them with ``lv2apply``. What stands in the ports is in
:mod:`.lv2_ports`. Source: LV2's presets and state extensions.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from ..strip.parameters import BY_KEY, is_on
from ..strip.versions import SINCE, is_spare
from .base import Figure, Files, Format, Strip, number
from .gate_hold import HOLD
from .ir import wav_bytes
from .lsp_gate import RANGE, gate_notes
from .lv2_ports import MAPPED, SENDS, plugins, sends
from .lv2_read import read
from .sends import CUT, delay_notes, sends_response
from .turtle import quoted

if TYPE_CHECKING:
    import numpy as np

__all__ = ["FORMAT", "plugins"]

RESPONSE = "impulse_response.wav"
PREFIXES = """\
@prefix atom: <http://lv2plug.in/ns/ext/atom#> .
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .

"""
UNLOADED = "lv2apply, and so run.sh, loads no impulse response and plays the dry signal"
LONGEST_S = 10.0
"""What LSP's impulse reverb plays of a response."""

SWITCHES = {switch for m in MAPPED for switch in (BY_KEY[m.key].section, BY_KEY[m.key].module)}


def _write(strip: Strip) -> Files:
    chain = plugins(strip)
    bundle = f"{_slug(strip)}.preset.lv2"
    manifest = [PREFIXES]
    files: dict[str, bytes] = {}
    for part, (address, ports) in chain.items():
        statements = [
            "a pset:Preset",
            f"lv2:appliesTo <{address}>",
            f"rdfs:label {quoted(strip.title)}",
        ]
        manifest.append(_statement(part, [*statements, f"rdfs:seeAlso <{part}.ttl>"]))
        if part == "reverb" and sends(strip):
            statements.append(f"rdfs:comment {quoted(_recipe(strip))}")
            statements.append(f'state:state [ <{address}/ports#ifn0> "{RESPONSE}"^^atom:Path ]')
            files[f"{bundle}/{RESPONSE}"] = wav_bytes(_response(strip), strip.sample_rate)
        statements.append("lv2:port " + ",".join(map(_port, ports.items())))
        files[f"{bundle}/{part}.ttl"] = (PREFIXES + _statement(part, statements)).encode("ascii")
    files[f"{bundle}/manifest.ttl"] = "".join(manifest).encode("ascii")
    return {**files, "run.sh": _script(strip, chain).encode("ascii")}


def _statement(part: str, statements: list[str]) -> str:
    return f"<{part}.ttl>\n\t" + " ;\n\t".join(statements) + " .\n"


def _port(item: tuple[str, float]) -> str:
    name, value = item
    text = number(value)
    return f'\n\t[ lv2:symbol "{name}" ; pset:value {text if "." in text else text + ".0"} ]'


def _slug(strip: Strip) -> str:
    """Return a name for files: the title's letters, and what distinguishes those with the same."""
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


def _response(strip: Strip) -> np.ndarray:
    if strip.on("delay"):
        return sends_response(strip, LONGEST_S)
    return strip.impulse_response()


def _recipe(strip: Strip) -> str:
    """Say what the impulse response was made from, as :mod:`.lv2_read` finds it."""
    levels = strip.on("delay")
    sections = []
    for section in sends(strip):
        values = {n: v for n, v in strip.of(section).items() if levels or n != "wet_db"}
        sections.append(f"{section}: " + ", ".join(f"{n} {number(v)}" for n, v in values.items()))
    return "; ".join(sections)


def _script(strip: Strip, chain: dict[str, tuple[str, dict[str, float]]]) -> str:
    kind = "mono" if strip.channels == 1 else "stereo"
    lines = [
        "#!/bin/sh",
        "# Plays a file through the strip's plug-ins with lv2apply, of Debian's lilv-utils:",
        "#   sh run.sh IN.wav OUT.wav [-y]      -y replaces OUT.wav",
        f"# IN is {kind} 32-bit float WAV: the plug-ins' results are kept in the format of IN.",
        *(f"# The {key}'s return is missing: lv2apply loads no impulse response."
          for key in sends(strip)),
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


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = [f"{key}: made at {strip.sample_rate} Hz; {UNLOADED}" for key in sends(strip)]
    lines += [*gate_notes(strip), *delay_notes(strip, LONGEST_S)]
    hard = abs(strip["pan.position"]) > 0.99
    if sends(strip) and strip.on("pan") and strip.channels == 2 and hard:
        lines.append(f"pan: the silenced side is missing in the {sends(strip)[0]}'s send")
    return tuple(lines)


FORMAT = Format(
    key="lv2",
    title="LV2 presets of LSP's gate, equalizer, compressor and impulse reverb, for any host",
    ending="",
    write=_write,
    mapped=MAPPED,
    notes=_notes,
    conditions=(
        *(
            f"{key}: lv2apply loads no files, so run.sh plays without it; LV2 hosts do"
            for key in SENDS
        ),
        *(f"{key}: the response is for one sample rate, that of the export" for key in SENDS),
        "pan: fully to one side, in stereo, the other side is missing in the sends",
        RANGE.format("less"),
        HOLD,
        CUT.format(LONGEST_S),
    ),
    figures=(
        Figure("EQ", -68.0),
        Figure("compressor", -93.0),
        Figure("whole chain without gate", -68.0),
        Figure("gate", -40.0),
    ),
    consumer="LSP 1.2.5 in lv2apply",
    read=read,
)
