"""One HTML file with everything inside: audio, presets, the console and the page's own code."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..console.render import render
from ..errors import OutputError, PageSizeError, SettingsError
from ..files import atomic_path, check_output
from ..strip.parameters import CHAIN, PARAMETERS, SWITCHES
from ..strip.preset import Preset
from ..strip.schema import FORMAT, SCHEMA_ID, VERSION
from .bundle import SCRIPTS, bundle, json_in_html
from .versions import aligned_mix, encode, measured

__all__ = ["LARGEST_BYTES", "Page", "Vocal", "write_page"]

LARGEST_BYTES = 200 * 10**6
"""A page above this is refused: browsers and mail get slow."""


@dataclass(frozen=True)
class Vocal:
    """A vocal to listen to.

    Attributes
    ----------
    name : str
        Shown as it is.
    samples : ndarray
        The raw vocal, ``(1 or 2, samples)`` float32.
    sample_rate : int
        Hz.
    presets : sequence of (str, Preset)
        What to play it through, each with the name that is shown.
    mixed : (str, ndarray, int), optional
        An engineer's mix: name, ``(channels, samples)``, its rate in Hz.
    processed : sequence of ndarray
        What the first presets made of it, where that is known; else it is rendered.
    before : ndarray, optional
        The take as it was recorded, where `samples` are what an enhancer made of it; same shape.
    """

    name: str
    samples: np.ndarray
    sample_rate: int
    presets: Sequence[tuple[str, Preset]]
    mixed: tuple[str, np.ndarray, int] | None = None
    processed: Sequence[np.ndarray] = ()
    before: np.ndarray | None = None


@dataclass(frozen=True)
class Page:
    """What was written.

    Attributes
    ----------
    size_bytes : int
        Of the file.
    vocals : list of dict
        Of each vocal its ``name`` and ``versions``: name, kind, loudness in LUFS.
    notices : tuple of str
        What the user should know, one line each.
    """

    size_bytes: int
    vocals: list[dict[str, Any]]
    notices: tuple[str, ...] = ()


@dataclass
class _Parts:
    """Collects what goes into the file."""

    audio: list[str] = field(default_factory=list)
    audio_bytes: int = 0
    notices: list[str] = field(default_factory=list)

    def add_audio(self, samples: np.ndarray, sample_rate: int) -> str:
        content = base64.b64encode(encode(samples, sample_rate)).decode("ascii")
        self.audio_bytes += len(content)
        if self.audio_bytes > LARGEST_BYTES:
            raise PageSizeError(
                f"the page would be larger than {LARGEST_BYTES // 10**6} MB; give fewer or shorter "
                "vocals, or leave out --mixed"
            )
        name = f"audio-{len(self.audio)}"
        self.audio.append(f'<script type="text/plain" id="{name}">{content}</script>')
        return name


def write_page(
    path: str | Path,
    vocals: Sequence[Vocal],
    *,
    title: str | None = None,
    force: bool = False,
    progress: Callable[[float, str], None] | None = None,
) -> Page:
    """Write the page, whole or not at all.

    Parameters
    ----------
    path : str or Path
        The file, ``.html``.
    vocals : sequence of Vocal
        At least one; the page has a choice where there are several.
    title : str, optional
        By default the first vocal's name.
    force : bool
        Whether an existing file may be replaced.
    progress : callable, optional
        Gets the share done and a note.

    Returns
    -------
    Page
        Its size, and the loudness of every version.

    Raises
    ------
    OutputError
        Another ending; too large; the file exists and `force` is false, or cannot be written.
    SettingsError
        No vocal, or one that the console does not take.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{path}: a page is an HTML file; use a name that ends in .html")
    if not vocals:
        raise SettingsError("no vocal to listen to; give at least one")
    check_output(path, force=force)
    report = progress or (lambda done, note: None)
    parts = _Parts()
    entries: list[dict[str, Any]] = []
    count = sum(1 + len(vocal.presets) for vocal in vocals)
    for vocal in vocals:
        before = sum(1 + len(other.presets) for other in vocals[: len(entries)])

        def report_version(done: int, before: int = before) -> None:
            report((before + done) / count, "")

        entries.append(_entry(vocal, parts, report_version))
    text = _text(title or vocals[0].name, entries, parts.audio)
    content = text.encode("utf-8", "replace")
    with atomic_path(path, force=force) as temporary:
        temporary.write_bytes(content)
    vocals_in_page = [
        {
            "name": one["name"],
            "versions": [
                {"name": v["name"], "kind": v["kind"], "loudness_lufs": v["loudness"]}
                for v in one["versions"]
            ],
        }
        for one in entries
    ]
    return Page(len(content), vocals_in_page, tuple(parts.notices))


def _entry(vocal: Vocal, parts: _Parts, report: Callable[[int], None]) -> dict[str, Any]:
    """Return what the page's data say of a vocal, and keep its audio."""
    samples, rate = vocal.samples, vocal.sample_rate
    length = samples.shape[1]
    longest = length
    audio = parts.add_audio(samples, rate)
    first = "Raw" if vocal.before is None else "Enhanced"
    versions: list[dict[str, Any]] = [{"kind": "raw", "name": first, **measured(samples, rate)}]
    for name, preset in vocal.presets:
        report(len(versions))
        index = len(versions) - 1
        if index < len(vocal.processed):
            result = vocal.processed[index]
        else:
            result = render(samples, rate, preset).samples
        longest = max(longest, result.shape[1])
        parts.notices += _silent(name, preset)
        own = {"strip": preset.strip, "presetName": preset.name, "provenance": preset.provenance}
        versions.append({"kind": "preset", "name": name, **own, **measured(result, rate)})
    if vocal.before is not None:
        versions.append(_recorded("Raw", vocal.before, rate, parts))
    if vocal.mixed is not None:
        name, mixed, mixed_rate = vocal.mixed
        mix, late, inverted = aligned_mix(samples, rate, mixed, mixed_rate)
        if late is None:
            parts.notices.append(
                f"{name}: does not sound like the same performance as {vocal.name}; left in place"
            )
        elif abs(late) >= 0.5 / rate:
            parts.notices.append(f"{name}: moved by {-1000 * late:.2f} ms, to lie with the vocal")
        if inverted:
            parts.notices.append(f"{name}: inverted against {vocal.name}; its polarity was turned")
        longest = max(longest, mix.shape[1])
        versions.append(_recorded(name, mix, rate, parts))
    return {
        "name": vocal.name,
        "sampleRate": rate,
        "channels": len(samples),
        "samples": length,
        "tailSamples": longest - length,
        "audio": audio,
        "versions": versions,
    }


def _silent(name: str, preset: Preset) -> list[str]:
    """Say which modules of a preset the page cannot run, one line each."""
    off = preset.bypass()
    return [
        f"{name}: the page cannot run the {module.title}, which has no JavaScript; it plays "
        "this preset without it"
        for module in CHAIN
        if not module.script and module.key not in off
    ]


def _recorded(name: str, samples: np.ndarray, rate: int, parts: _Parts) -> dict[str, Any]:
    """A version with audio of its own, which no preset makes."""
    own_audio = {"audio": parts.add_audio(samples, rate), "channels": len(samples)}
    return {"kind": "mix", "name": name, **own_audio, **measured(samples, rate)}


def _text(title: str, vocals: list[dict[str, Any]], audio: list[str]) -> str:
    data = {
        "format": {"format": FORMAT, "version": VERSION, "schema": SCHEMA_ID},
        "diffconsole": __version__,
        "table": [{"key": p.key, **asdict(p)} for p in PARAMETERS],
        "switches": SWITCHES,
        "vocals": vocals,
    }
    fillings = {
        "TITLE": html.escape(title),
        "VERSION": html.escape(__version__),
        "STYLE": (SCRIPTS / "ui" / "style.css").read_text(encoding="utf-8"),
        "DATA": json_in_html(data),
        "AUDIO": "\n".join(audio),
        "WORKLET": bundle("worklet.js"),
        "WORKER": bundle("worker.js"),
        "MAIN": bundle("ui/main.js"),
    }
    template = (SCRIPTS / "ui" / "page.html").read_text(encoding="utf-8")
    # One pass: what is filled in is not searched again.
    return re.sub(r"@([A-Z]+)@", lambda found: fillings[found[1]], template)
