"""What a format for other software is: a table of mapped parameters, a writer, perhaps a reader.

A format is one file of this package with a :class:`Format` named ``FORMAT``; nothing else needs to
be changed for it to be listed, exported, imported and tested.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExportError
from ..strip.channel_strip import ChannelStrip
from ..strip.module import Module
from ..strip.numbers import number
from ..strip.parameters import BY_KEY, CHAIN, SWITCHES, is_on
from ..strip.preset import Preset
from ..strip.versions import is_spare
from ..strip.words import module_words

__all__ = [
    "DEFAULT_RATE",
    "LONGEST_NAME",
    "Figure",
    "Files",
    "Format",
    "Mapped",
    "Strip",
    "imported",
    "number",
    "plain_name",
]

DEFAULT_RATE = 48000
LONGEST_NAME = 80

Files = Mapping[str, bytes]
"""Contents by file name; ``""`` names the file of a format that writes no folder.

Other names of such a format are files that it needs, written beside it.
"""


@dataclass(frozen=True)
class Mapped:
    """One parameter of ours and what it is called in the other software.

    Attributes
    ----------
    key : str
        Ours: ``"compressor.attack_ms"``.
    name : str
        Theirs.
    unit : str
        Theirs; empty for a plain number.
    to_theirs, to_ours : callable
        From one value to the other.
    """

    key: str
    name: str
    unit: str = ""
    to_theirs: Callable[[float], float] = float
    to_ours: Callable[[float], float] = float


@dataclass(frozen=True)
class Figure:
    """How near the other software comes, measured with a real voice.

    Attributes
    ----------
    part : str
        What was compared: ``"EQ"``, ``"compressor"``, ``"whole chain"``.
    error_db : float
        Energy of the difference over the energy of the strip in float64, the worst of the factory
        presets and rates that the test runs.
    """

    part: str
    error_db: float

    def __str__(self) -> str:
        return f"{self.part} ≤ {self.error_db:g} dB".replace("-", "−")


@dataclass(frozen=True)
class Strip:
    """A preset at a sample rate, as a writer gets it.

    Attributes
    ----------
    preset : Preset
        What is exported.
    sample_rate : int
        Hz, of the audio that the other software will work on: some formats depend on it.
    channels : int
        Of that audio.
    at_rate : bool
        Hold frequencies at 0.49·fs, as the console does.
    """

    preset: Preset
    sample_rate: int = DEFAULT_RATE
    channels: int = 1
    at_rate: bool = True
    strip: ChannelStrip = field(init=False)

    def __post_init__(self) -> None:
        strip = self.preset.channel_strip.effective()
        if self.at_rate:
            strip = strip.at_rate(self.sample_rate)
        object.__setattr__(self, "strip", strip)

    def __getitem__(self, key: str) -> float:
        """Return a setting, physical; a frequency no higher than 0.49·fs where that counts."""
        return self.settings[key]

    @property
    def settings(self) -> Mapping[str, float]:
        """Every setting by key."""
        return self.strip.settings

    @property
    def off(self) -> frozenset[str]:
        """Modules and EQ bands that are off or do nothing."""
        return self.strip.off

    @property
    def title(self) -> str:
        """The preset's name for people, in one printable line; never empty."""
        return plain_name(self.preset.name) or "channel strip"

    def on(self, section: str) -> bool:
        """Whether a module or band does anything: a centred pan, an EQ without bands do not."""
        return self.strip.on(section)

    def bands(self) -> tuple[str, ...]:
        """Names of the EQ's active bands in chain order: ``"peak_1"``."""
        return self.strip.bands("eq")

    def of(self, section: str) -> dict[str, float]:
        """Return the settings of a module or band by name: ``{"freq_hz": 90.0, "q": 0.71}``."""
        return self.strip.of(section)

    def gain_db(self, module: str) -> float:
        """Return the gain of ``"input_gain"`` or ``"output_gain"``, 0 where it is off."""
        return self.settings[f"{module}.gain_db"] if self.on(module) else 0.0

    def impulse_response(self) -> np.ndarray:
        """Return the reverb's response at wet level 0 dB, ``(2, taps)`` float64."""
        from ..modules.reverb.process import impulse_response

        # In the table's order, which is that of the arguments; the level comes last and stays out.
        wanted = [np.array([v], np.float64) for v in self.of("reverb").values()][:-1]
        response: np.ndarray = impulse_response(self.sample_rate, *wanted, dtype=np.float64)[0]
        return response


@dataclass(frozen=True)
class Format:
    """A format of other software.

    Attributes
    ----------
    key : str
        What ``--to`` takes.
    title : str
        The software, and what is written for it, in one line.
    ending : str
        Of the file, with the dot; empty where a folder is written.
    write : callable
        From a strip to the files' contents by name.
    mapped : tuple of Mapped
        The parameters that carry over.
    lost : dict of str to str
        By parameter, band or module (``"compressor.knee_db"``, ``"reverb"``) what does not carry
        over and what becomes of it, one line each. It is said where that part of the strip is on.
    notes : callable, optional
        Further lines that depend on the settings.
    conditions : tuple of str
        Lines for the listing: what `notes` may say.
    at_rate : bool
        Whether what is written is for one sample rate, or for none in particular, as a sheet is.
    figures : tuple of Figure
        Measured by ``tests/benchmarks/export.py``.
    consumer : str
        The program that was run for them; empty where none can be.
    read : callable, optional
        From a file or folder back to a preset.
    read_endings : tuple of str
        Of single files that `read` takes where a folder is written, in lower case.
    """

    key: str
    title: str
    ending: str
    write: Callable[[Strip], Files]
    mapped: tuple[Mapped, ...]
    lost: Mapping[str, str] = field(default_factory=dict)
    notes: Callable[[Strip], tuple[str, ...]] = lambda _: ()
    conditions: tuple[str, ...] = ()
    at_rate: bool = True
    figures: tuple[Figure, ...] = ()
    consumer: str = ""
    read: Callable[[Path], Preset] | None = None
    read_endings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {*BY_KEY, *SWITCHES}
        for name in (*(m.key for m in self.mapped), *self.lost):
            if name not in known:
                raise ExportError(f"format {self.key}: {name!r} is in no strip")

    @property
    def is_folder(self) -> bool:
        """Whether several files are written, into a folder."""
        return not self.ending

    def losses(self, strip: Strip) -> tuple[str, ...]:
        """Say what of a strip does not carry over, one line each.

        A module that is neither mapped nor mentioned is named in its own words, a single
        parameter by its name.
        """
        notes = self.notes(strip)
        known = {*self.lost, *(m.key for m in self.mapped), *(n.split(":")[0] for n in notes)}
        lines = []
        for name, words in self.lost.items():
            section = BY_KEY[name].section if name in BY_KEY else name
            if is_on(section, strip.off):
                lines.append(f"{name}: {words}")
        for module in CHAIN:
            if strip.on(module.key) and module.key not in known:
                lines += _left_out(module, strip, known)
        return (*lines, *self._held(strip), *notes)

    def _held(self, strip: Strip) -> tuple[str, ...]:
        """Say which frequencies the rate cannot hold."""
        return tuple(
            f"{key}: {value:g} Hz is above what {strip.sample_rate} Hz can hold; "
            f"{strip[key]:g} Hz is written"
            for key, value in strip.preset.settings().items()
            if self.at_rate and key in {m.key for m in self.mapped} and value > strip[key]
            and is_on(BY_KEY[key].section, strip.off)
        )  # fmt: skip


def _left_out(module: Module, strip: Strip, known: Collection[str]) -> list[str]:
    """Say what of a module that is on is neither mapped nor mentioned."""
    if not any(key in known for p in module.parameters for key in (p.key, p.section)):
        words = ", ".join(module_words(module, strip.settings, strip.off))
        return [f"{module.key}: is left out ({words})" if words else f"{module.key}: is left out"]
    return [
        f"{p.key}: is left out"
        for p in module.parameters
        if is_on(p.section, strip.off) and not {p.key, p.section} & {*known}
        and not is_spare(p.key, strip[p.key])
    ]  # fmt: skip


def imported(notes: Sequence[str]) -> dict[str, Any]:
    """Return a preset's provenance that says what an import left out, one line each.

    Empty where there is nothing to say; the command line shows the lines, too.
    """
    return {"import": list(notes)} if notes else {}


def plain_name(name: str, most: int = LONGEST_NAME) -> str:
    """Return a name in one line of printable characters, cut to a length.

    What breaks out of a particular format (quotes, brackets, dollars) that format escapes.
    """
    shown = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", name))
    shown = shown.encode("utf-8", "replace").decode("utf-8")
    return " ".join(shown.split())[:most].rstrip()
