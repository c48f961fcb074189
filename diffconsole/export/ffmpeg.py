"""The whole strip for ffmpeg: a filter graph, the reverb's response, and the command that runs it.

``filter.txt`` is the graph, as :mod:`.ffmpeg_graph` writes it; ``reverb.wav`` is there where the
reverb is on; ``run.sh`` is ``sh run.sh IN.wav OUT.wav``, one command that finds both beside itself.
A filter graph has no comments: name and reverb stand in those of ``run.sh``, and come back from
there.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ExportError
from ..preset import Preset
from .base import Figure, Files, Format, Strip, number
from .ffmpeg_graph import (
    RESPONSE_NAMES,
    depends_on_rate,
    graph,
    mapped,
    normalised_response,
    parse,
)
from .ir import wav_bytes

__all__ = ["FORMAT"]

LARGEST_BYTES = 1 << 20
RESPONSE_LINE = "# reverb.wav holds "


def _write(strip: Strip) -> Files:
    files: dict[str, bytes] = {}
    if strip.on("reverb"):
        response, gain = normalised_response(strip)
        text = graph(strip, gain, response.shape[1])
        # 32 bits: rounding the response costs −150 dB of the return.
        files["reverb.wav"] = wav_bytes(response, strip.sample_rate)
    else:
        text = graph(strip)
    files["filter.txt"] = f"{text}\n".encode()
    files["run.sh"] = _script(strip).encode()
    return {name: files[name] for name in sorted(files)}


def _script(strip: Strip) -> str:
    rate = "at any sample rate."
    if depends_on_rate(strip):
        rate = f"at {strip.sample_rate} Hz; another rate is resampled to that."
    # A comment ends with its line, and the title is one line.
    head = ["#!/bin/sh", f"# {strip.title}"]
    head += ["# sh run.sh IN.wav OUT.wav [OPTIONS OF FFMPEG], mono or stereo,", f"# {rate}"]
    head += ["# Needs ffmpeg 5.1 or later; FFMPEG=/path/to/ffmpeg takes another than that in PATH."]
    response, filters = "", '-af "$(cat -- "$here/filter.txt")"'
    if strip.on("reverb"):
        values = (f"{name}={number(strip[f'reverb.{name}'])}" for name in RESPONSE_NAMES)
        head.append(RESPONSE_LINE + " ".join(values))
        response = ' -i "file:$here/reverb.wav"'
        filters = '-filter_complex "$(cat -- "$here/filter.txt")" -map "[out]"'
    # "file:" keeps ffmpeg from reading an option or a protocol into a file's name.
    body = [
        '[ $# -ge 2 ] || { echo "usage: sh run.sh IN.wav OUT.wav" >&2; exit 2; }',
        'here=$(dirname -- "$0")',
        "in=$1 out=$2",
        "shift 2",
        'exec "${FFMPEG:-ffmpeg}" -hide_banner -nostdin -loglevel error \\',
        f'  -i "file:$in"{response} \\',
        f"  {filters} \\",
        '  -c:a pcm_f32le -rf64 auto "$@" "file:$out"',
    ]
    return "\n".join((*head, *body)) + "\n"


def _notes(strip: Strip) -> tuple[str, ...]:
    lines = []
    if depends_on_rate(strip):
        lines.append(
            f"ffmpeg: right at {strip.sample_rate} Hz, to which audio of another rate is resampled;"
            " '--sample-rate' writes it for that rate"
        )
    return tuple(lines)


def _read(path: Path) -> Preset:
    folder = path if path.is_dir() else path.parent
    settings, reverb = parse(_text(path / "filter.txt" if path.is_dir() else path))
    name = ""
    if (folder / "run.sh").is_file():
        shebang, _, script = _text(folder / "run.sh").partition("\n")
        title, _, script = script.partition("\n")
        if shebang == "#!/bin/sh" and title.startswith("# "):
            name = title[2:].strip()
        held = re.search(f"^{re.escape(RESPONSE_LINE)}(.*)$", script, re.MULTILINE)
        if reverb and held:
            pairs = dict(pair.split("=", 1) for pair in held[1].split())
            settings |= {f"reverb.{key}": float(pairs[key]) for key in RESPONSE_NAMES}
            reverb = False
    if reverb:
        raise ExportError(
            f"{path}: has a reverb, whose settings stand in run.sh as export wrote it, and cannot"
            " be told from its response; put run.sh beside it"
        )
    return Preset.from_settings(settings, name=name)


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ExportError(f"{path}: over 1 MB, which no filter graph of a strip is")
    return content.decode("utf-8")


FORMAT = Format(
    key="ffmpeg",
    title="ffmpeg 5.1 and later: filter graph, response of the reverb, ready command",
    ending="",
    write=_write,
    mapped=mapped(),
    notes=_notes,
    figures=(
        Figure("EQ", -120.0),
        Figure("compressor", -120.0),
        Figure("reverb", -120.0),
        Figure("whole chain", -120.0),
    ),
    consumer="ffmpeg 5.1 and 9.0",
    read=_read,
)
