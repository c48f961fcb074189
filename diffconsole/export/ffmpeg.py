"""The whole strip for ffmpeg: a filter graph, the reverb's response, and the command that runs it.

``filter.txt`` is the graph, as :mod:`.ffmpeg_graph` writes it; ``reverb.wav`` is there where the
reverb is on, in its place ``sends.wav`` where the delay is on, with or without the reverb;
``run.sh`` is ``sh run.sh IN.wav OUT.wav``, one command that finds both beside itself.
A filter graph has no comments: name and reverb stand in those of ``run.sh``, and come back from
there.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..console.render import render_plan
from ..errors import ExportError, PresetError
from ..files.small_files import read_small
from ..strip.parameters import BY_KEY
from ..strip.preset import Preset
from .base import Figure, Files, Format, Strip, number
from .ffmpeg_graph import (
    LONGEST_RESPONSE_S,
    RESPONSE_NAMES,
    depends_on_rate,
    graph,
    mapped,
    normalised_response,
    parse,
)
from .ir import wav_bytes
from .sends import SEND_KEYS, echo_seconds

__all__ = ["FORMAT"]

RESPONSE_LINES = {"reverb": "# reverb.wav holds ", "sends": "# sends.wav holds "}


def _write(strip: Strip) -> Files:
    files: dict[str, bytes] = {}
    name = _response(strip)
    if name:
        response, gain = normalised_response(strip)
        taps = response.shape[1]
        if name == "sends":
            # The file ends where that of ``apply`` does; the response is more than its tail.
            taps = min(taps, render_plan(strip.preset, strip.sample_rate, None)[1] + 1)
        text = graph(strip, gain, taps)
        # 32 bits: rounding the response costs −150 dB of the return.
        files[f"{name}.wav"] = wav_bytes(response, strip.sample_rate)
    else:
        text = graph(strip)
    files["filter.txt"] = f"{text}\n".encode()
    files["run.sh"] = _script(strip).encode()
    return {name: files[name] for name in sorted(files)}


def _response(strip: Strip) -> str:
    """Return the name of the response's file without its ending, empty where there is none."""
    return "sends" if strip.on("delay") else "reverb" if strip.on("reverb") else ""


def _held(strip: Strip, name: str) -> dict[str, float]:
    """Return the settings that stand in the response alone, as the command's comment names them."""
    if name == "reverb":
        return {key: strip[f"reverb.{key}"] for key in RESPONSE_NAMES}
    return {key: strip[key] for key in SEND_KEYS if strip.on(BY_KEY[key].module)}


def _script(strip: Strip) -> str:
    rate = "at any sample rate."
    if depends_on_rate(strip):
        rate = f"at {strip.sample_rate} Hz; another rate is resampled to that."
    # A comment ends with its line, and the title is one line.
    head = ["#!/bin/sh", f"# {strip.title}"]
    head += ["# sh run.sh IN.wav OUT.wav [OPTIONS OF FFMPEG], mono or stereo,", f"# {rate}"]
    head += ["# Needs ffmpeg 5.1 or later; FFMPEG=/path/to/ffmpeg takes another than that in PATH."]
    response, filters = "", '-af "$(cat -- "$here/filter.txt")"'
    name = _response(strip)
    if name:
        values = (f"{key}={number(value)}" for key, value in _held(strip, name).items())
        head.append(RESPONSE_LINES[name] + " ".join(values))
        response = f' -i "file:$here/{name}.wav"'
        filters = '-filter_complex "$(cat -- "$here/filter.txt")" -map "[out]"'
    # "file:" keeps ffmpeg from reading an option or a protocol into a file's name.
    body = [
        '[ $# -ge 2 ] || { echo "usage: sh run.sh IN.wav OUT.wav" >&2; exit 2; }',
        'here=$(dirname -- "$0")',
        "in=$1 out=$2",
        "shift 2",
        # With -nostdin ffmpeg does not replace a file either, but 9.0 calls that a success.
        'case " $* " in *" -y "*) ;; *)',
        '  [ ! -e "$out" ] || { echo "$out is there already; -y replaces it" >&2; exit 1; } ;;',
        "esac",
        'exec "${FFMPEG:-ffmpeg}" -hide_banner -nostdin -loglevel error \\',
        f'  -i "file:$in"{response} \\',
        f"  {filters} \\",
        '  -c:a pcm_f32le -rf64 auto "$@" "file:$out"',
    ]
    return "\n".join((*head, *body)) + "\n"


def _notes(strip: Strip) -> tuple[str, ...]:
    if not depends_on_rate(strip):
        return ()
    lines = []
    if strip.on("delay") and echo_seconds(strip) > LONGEST_RESPONSE_S:
        lines.append(f"delay: the response holds its first {LONGEST_RESPONSE_S} s")
    return (
        *lines,
        f"ffmpeg: right at {strip.sample_rate} Hz, to which audio of another rate is resampled;"
        " '--sample-rate' writes it for that rate",
    )


def _read(path: Path) -> Preset:
    path = path / "filter.txt" if path.is_dir() else path
    try:
        settings, response = parse(_text(path))
        return _with_script(path, settings, response)
    except (ExportError, PresetError) as error:
        raise ExportError(f"{path}: {error}") from None


def _with_script(path: Path, settings: dict[str, float], response: str) -> Preset:
    """Add the name and the settings in the response, which stand in the comments of the command."""
    name = ""
    run = path.parent / "run.sh"
    if run.is_file():
        shebang, _, script = _text(run).partition("\n")
        title, _, script = script.partition("\n")
        if shebang == "#!/bin/sh" and title.startswith("# "):
            name = title[2:].strip()
        line = re.escape(RESPONSE_LINES.get(response, ""))
        held = re.search(f"^{line}(.*)$", script, re.MULTILINE)
        if response and held:
            pairs = dict(pair.split("=", 1) for pair in held[1].split())
            if response == "reverb":
                settings |= {f"reverb.{key}": float(pairs[key]) for key in RESPONSE_NAMES}
            else:
                settings |= {key: float(pairs[key]) for key in SEND_KEYS if key in pairs}
            response = ""
    if response:
        what = "a reverb" if response == "reverb" else "a delay"
        raise ExportError(
            f"has {what}, whose settings cannot be read from its response but stand in run.sh, as"
            " export wrote it; put that run.sh beside it"
        )
    return Preset.from_settings(settings, name=name)


def _text(path: Path) -> str:
    content = read_small(path)
    if content is None:
        raise ExportError(f"{path.name} is over 1 MB, which no filter graph of a strip is")
    return content.decode("utf-8")


FORMAT = Format(
    key="ffmpeg",
    title="ffmpeg 5.1 and later: filter graph, response of the reverb, ready command",
    ending="",
    write=_write,
    mapped=mapped(),
    notes=_notes,
    conditions=(
        "ffmpeg: right at one sample rate, to which other audio is resampled, where the "
        "compressor, the delay or the reverb is on",
        "delay: the response holds its first 60 s",
    ),
    figures=(
        # To ten dB: what is left is the rounding of float64, another one with every build.
        Figure("EQ", -230.0),
        Figure("compressor", -240.0),
        # That of the response's float32.
        Figure("reverb's return", -148.0),
        Figure("whole chain", -150.0),
    ),
    consumer="ffmpeg 5.1 and 9.0",
    read=_read,
)
