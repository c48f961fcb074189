"""Raw vocals whose right settings are known, made from voices and the statistics of real mixes.

A finished voice (levelled, its long-term spectrum brought to one of finished vocals) is turned
into a raw one by undoing a channel strip (:mod:`.strips`):

- the strip's shelves and bells run with opposite gains, so the strip's EQ brings the tone back
  (a cookbook bell or shelf of −g dB undoes one of g dB exactly);
- the level wanders the more, the higher the strip's ratio;
- rumble lies below the high-pass, the louder the higher its frequency;
- the room is the wetter, the drier the strip's reverb;
- later modules are undone by their own code, where it is asked for: sharper esses, noise between
  phrases.

The settings that were drawn are the labels, and the strip applied to the raw is the mix.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import scipy.signal
import torch

from ...audio.endings import has_audio_ending
from ...console import Console, equalizer
from ...errors import AudioError
from ...model.predictor import REFERENCE_LUFS
from ...strip.later import LATER
from ...strip.parameters import BY_KEY, PARAMETERS
from .strips import Strips
from .undone import is_before_eq, undone

__all__ = [
    "Example",
    "Voices",
    "audio_files",
    "crop",
    "levelled",
    "load_rooms",
    "load_voices",
    "simulate",
    "undone",
]

SAMPLE_RATE = 44100
SECONDS = 5.0
MOST_CORRECTION_DB = 12.0
VOICE_BINS = slice(4, 200)
"""Of a long-term spectrum: 170 Hz to 8.6 kHz."""
MIXED_SPREAD_DB = 4.0
"""By what the long-term spectra of mixed vocals differ, the root mean square over a third of an
octave: 3 to 5 dB on 25 real mixes."""
SHORTEST_SECONDS = 1.0
WIDEST_SPEED = 0.35
DRY_SHARE = 0.3
"""Of the raw vocals; the others stand in a room."""


@dataclass(frozen=True)
class Voices:
    """Clips by speaker, and the long-term spectra that finished voices have.

    Attributes
    ----------
    clips : dict of str to list of ndarray
        ``(samples,)`` float32 at 44.1 kHz.
    corrections : dict of str to ndarray
        Linear-phase FIR that brings a speaker's long-term spectrum to the mean of finished ones.
    missing_db : dict of str to ndarray
        ``(bins,)``, the mean finished long-term spectrum over that of each speaker.
    residuals_db : tuple of ndarray
        ``(bins,)`` each, by what finished voices differ from their mean; without any, every
        finished voice has the mean spectrum.
    """

    clips: dict[str, list[np.ndarray]]
    corrections: dict[str, np.ndarray]
    missing_db: dict[str, np.ndarray] = field(default_factory=dict)
    residuals_db: tuple[np.ndarray, ...] = ()

    def of(self, people: Sequence[str]) -> Voices:
        """Return the part of some speakers."""
        clips = {p: self.clips[p] for p in people}
        return replace(self, clips=clips, corrections={p: self.corrections[p] for p in people})

    def correction(self, person: str, rng: np.random.Generator) -> np.ndarray:
        """Return a linear-phase FIR that gives a speaker's voice a finished long-term spectrum.

        The finished spectrum is the mean plus ``a·cos θ + b·sin θ`` of two residuals and an
        angle that are drawn: it varies as much, and in the same ways, as finished voices do.
        """
        if not self.residuals_db:
            return self.corrections[person]
        first, second = rng.integers(len(self.residuals_db), size=2)
        angle = rng.uniform(0.0, 2.0 * math.pi)
        return _correction(
            self.missing_db[person]
            + math.cos(angle) * self.residuals_db[first]
            + math.sin(angle) * self.residuals_db[second]
        )


@dataclass(frozen=True)
class Example:
    """One simulated raw vocal.

    Attributes
    ----------
    raw : ndarray
        ``(samples,)`` float32 at 44.1 kHz and −18 LUFS.
    settings : dict of str to float
        The strip that finishes it.
    modules : frozenset of str
        The modules that came after version 1.0 and are on in it.
    """

    raw: np.ndarray
    settings: dict[str, float]
    modules: frozenset[str] = frozenset()

    def normalised(self) -> np.ndarray:
        """Return the settings in 0…1, in the order of the table."""
        return np.array([p.to_normalised(self.settings[p.key]) for p in PARAMETERS], np.float32)

    def mix(self) -> np.ndarray:
        """Return the strip applied to the raw vocal, ``(2, samples)``."""
        console = Console(SAMPLE_RATE, bypass=LATER - self.modules)
        with torch.inference_mode():
            audio = torch.from_numpy(self.raw)[None, None]
            return console(audio, _tensors(self.settings))[0].numpy()


def load_voices(
    folder: str | Path, reference: Sequence[str] = (), finished: str | Path | None = None
) -> Voices:
    """Read a folder with one folder of clips per speaker.

    Parameters
    ----------
    folder : str or Path
        Holds one folder per speaker; every audio file in it is a clip, unless it is silent or
        shorter than a second.
    reference : sequence of str
        The speakers whose long-term spectrum is the finished one; by default the mean of all.
    finished : str or Path, optional
        Folder of mixed vocals, in place of the reference: a finished voice's long-term spectrum
        is drawn from the distribution of theirs.

    Raises
    ------
    AudioError
        No folder, no speaker in it, a speaker of the reference is not there, or a file cannot be
        read.
    """
    from ...audio import read_audio, resample

    folder = Path(folder)
    if not folder.is_dir():
        raise AudioError(f"{folder}: not a folder; give one with a folder of clips per speaker")
    mixed = None if finished is None else _mixed_vocals(Path(finished))
    clips: dict[str, list[np.ndarray]] = {}
    for person in sorted(p for p in folder.iterdir() if p.is_dir()):
        for path in audio_files(person):
            samples, rate = read_audio(path)
            mono = resample(samples.mean(axis=0, keepdims=True), rate, SAMPLE_RATE)[0]
            if len(mono) >= SHORTEST_SECONDS * SAMPLE_RATE and float(np.max(np.abs(mono))) > 1e-3:
                clips.setdefault(person.name, []).append(levelled(mono))
    if not clips:
        raise AudioError(f"{folder}: no audio in the folders below it; one folder per speaker")
    missing = sorted(set(reference) - set(clips))
    if missing:
        raise AudioError(f"{folder}: no folder {missing[0]!r}, which the reference names")
    spectra = {person: _spectrum_db(np.concatenate(parts)) for person, parts in clips.items()}
    residuals: tuple[np.ndarray, ...] = ()
    if mixed is None:
        target = np.mean([spectra[p] for p in (reference or clips)], axis=0)
    else:
        target, residuals = _finished_spectra(Path(str(finished)), mixed)
    lacking = {p: target - spectra[p] for p in clips}
    return Voices(clips, {p: _correction(lacking[p]) for p in clips}, lacking, residuals)


def _mixed_vocals(folder: Path) -> list[Path]:
    """The files of a folder of mixed vocals."""
    paths = audio_files(folder) if folder.is_dir() else None
    if not paths:
        reason = "not a folder; give one" if paths is None else "no audio in it; give a folder"
        raise AudioError(f"{folder}: {reason} with mixed vocals")
    return paths


def _finished_spectra(
    folder: Path, paths: Sequence[Path]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Mean long-term spectrum of mixed vocals, and each one's residual, in dB."""
    from ...audio import read_audio, resample

    spectra = []
    for path in paths:
        samples, rate = read_audio(path)
        mono = resample(samples.mean(axis=0, keepdims=True), rate, SAMPLE_RATE)[0]
        if len(mono) >= SHORTEST_SECONDS * SAMPLE_RATE and float(np.max(np.abs(mono))) > 1e-3:
            spectrum = _spectrum_db(mono)
            spectra.append(spectrum - np.median(spectrum[VOICE_BINS]))
    if not spectra:
        raise AudioError(f"{folder}: all silent or under a second; give mixed vocals")
    mean = np.mean(spectra, axis=0)
    residuals = np.array(spectra) - mean
    # Stems of effects are among them: as a set they shall differ no more than leads do.
    spread_db = float(np.sqrt(np.mean(residuals[:, VOICE_BINS] ** 2)))
    residuals *= min(1.0, MIXED_SPREAD_DB / (spread_db + 1e-9))
    return mean, tuple(residuals)


def load_rooms(folder: str | Path | None) -> list[np.ndarray]:
    """Read impulse responses as mono at 44.1 kHz, each of unit energy; without a folder none.

    Raises
    ------
    AudioError
        No folder, no audio in it, or a file that is silent or cannot be read.
    """
    from ...audio import read_audio, resample

    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise AudioError(f"{folder}: not a folder; give one with impulse responses")
    rooms = []
    for path in audio_files(Path(folder)):
        samples, rate = read_audio(path)
        mono = resample(samples[:1], rate, SAMPLE_RATE)[0][: 2 * SAMPLE_RATE]
        energy = np.linalg.norm(mono)
        if not energy > 0.0:
            raise AudioError(f"{path}: a silent impulse response; remove it")
        rooms.append((mono / energy).astype(np.float32))
    if not rooms:
        raise AudioError(f"{folder}: no audio in it; give a folder with impulse responses")
    return rooms


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files of a folder by name.

    Hidden ones are what other systems leave behind, not audio.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if has_audio_ending(path) and not path.name.startswith(".")
    )


def simulate(
    voices: Voices,
    rooms: Sequence[np.ndarray],
    strips: Strips,
    rng: np.random.Generator,
    seconds: float = SECONDS,
    modules: Collection[str] = (),
) -> Example:
    """Draw a speaker, a clip and a strip, and make the raw vocal that needs this strip.

    Modules that came after version 1.0, named by their keys, are part of it where `modules` has
    them, and off otherwise; the rest of the example does not depend on them.
    """
    own = rng.spawn(1)[0] if modules else rng
    people = sorted(voices.clips)
    person = people[int(rng.integers(len(people)))]
    finished = crop(voices.clips[person], int(seconds * SAMPLE_RATE), rng)
    finished = scipy.signal.oaconvolve(finished, voices.correction(person, rng), mode="same")

    fitted, ranks = strips.table.sample(rng)
    room_rank = rng.uniform()
    # A dry vocal gets any amount of reverb, one that stands in a room rather less. Were the dry
    # ones given the most reverb, studio vocals, which are drier than all, would drown in it.
    audible_room = max(room_rank - DRY_SHARE, 0.0) / (1.0 - DRY_SHARE)
    wet_rank = float(rng.uniform() ** (1.0 + 1.5 * audible_room))
    settings = strips.strip(fitted, wet_rank)

    finished, behind = undone(
        finished, SAMPLE_RATE, [m for m in modules if not is_before_eq(m)], own
    )
    raw = finished * _ride(len(finished), 8.0 * strips.share * ranks["comp_ratio"], rng)
    raw = _undo_eq(raw, settings)
    if rooms and room_rank > DRY_SHARE:
        room = rooms[int(rng.integers(len(rooms)))] * 10.0 ** ((-34.0 + 30.0 * room_rank) / 20.0)
        raw = raw + scipy.signal.oaconvolve(raw, room)[: len(raw)]
    raw = levelled(raw) + _noise(len(raw), settings, ranks, rng)
    settings["output_gain.gain_db"] = _closing_gain_db(raw, settings)
    raw, before = undone(raw, SAMPLE_RATE, [m for m in modules if is_before_eq(m)], own)
    return Example(raw, {**settings, **behind, **before}, frozenset(modules))


def levelled(mono: np.ndarray) -> np.ndarray:
    """Return a mono passage at −18 LUFS."""
    from ...audio import loudness_lufs

    loudness = loudness_lufs(mono[None], SAMPLE_RATE)
    gain_db = REFERENCE_LUFS - max(loudness, -70.0)
    return (mono * 10.0 ** (gain_db / 20.0)).astype(np.float32)


def _spectrum_db(mono: np.ndarray) -> np.ndarray:
    """Long-term spectrum in dB, smoothed to a third of an octave, at 513 bins."""
    freq_hz, power = scipy.signal.welch(mono, SAMPLE_RATE, nperseg=4096)
    smooth = np.empty_like(power)
    for i, f in enumerate(freq_hz):
        inside = (freq_hz >= f / 2 ** (1 / 6)) & (freq_hz <= f * 2 ** (1 / 6))
        smooth[i] = power[inside].mean()
    return 10.0 * np.log10(smooth[::4] + 1e-12)


def _correction(difference_db: np.ndarray) -> np.ndarray:
    centred = difference_db - np.median(difference_db[VOICE_BINS])
    gain_db = np.clip(centred, -MOST_CORRECTION_DB, MOST_CORRECTION_DB)
    # Above 14 kHz codecs have left nothing that could be brought up.
    gain_db[325:] = np.minimum(gain_db[325:], gain_db[325])
    return scipy.signal.firwin2(
        1025, np.linspace(0.0, 1.0, len(gain_db)), 10.0 ** (gain_db / 20.0)
    ).astype(np.float32)


def crop(clips: Sequence[np.ndarray], length: int, rng: np.random.Generator) -> np.ndarray:
    """A part of the clips of one speaker, sometimes faster or slower than it was."""
    from ...audio import resample

    speed = 2.0 ** rng.uniform(-WIDEST_SPEED, WIDEST_SPEED) if rng.uniform() < 0.7 else 1.0
    need = int(length * speed) + 64
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < need:
        pieces.append(clips[int(rng.integers(len(clips)))])
    joined = np.concatenate(pieces)
    first = rng.integers(len(joined) - need + 1)
    part = joined[first : first + need]
    if speed != 1.0:
        part = resample(part[None], int(SAMPLE_RATE * speed), SAMPLE_RATE)[0]
    return part[:length] if len(part) >= length else np.resize(part, length)


def _ride(samples: int, depth_db: float, rng: np.random.Generator) -> np.ndarray:
    """A wandering gain: one point every half second or so, straight in dB between."""
    count = max(2, int(samples / SAMPLE_RATE / 0.45) + 2)
    knots = np.sort(rng.uniform(0, samples, count))
    gain_db = np.clip(rng.normal(0.0, depth_db / 2.0, count), -depth_db, depth_db)
    return 10.0 ** (np.interp(np.arange(samples), knots, gain_db) / 20.0)


def _undo_eq(mono: np.ndarray, settings: Mapping[str, float]) -> np.ndarray:
    opposite = {
        key: -value if key.startswith("eq.") and key.endswith("gain_db") else value
        for key, value in settings.items()
    }
    audio = torch.from_numpy(np.ascontiguousarray(mono, np.float32))[None, None]
    cuts = ("eq.high_pass", "eq.low_pass")
    with torch.inference_mode():
        return equalizer(audio, SAMPLE_RATE, _tensors(opposite), cuts)[0, 0].numpy()


def _noise(
    samples: int,
    settings: Mapping[str, float],
    ranks: Mapping[str, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Rumble below the high-pass, and a noise floor."""
    corner = max(0.7 * settings["eq.high_pass.freq_hz"], 20.0)
    sos = scipy.signal.butter(2, corner, fs=SAMPLE_RATE, output="sos")
    rumble = scipy.signal.sosfilt(sos, rng.standard_normal(samples))
    rumble_db = -62.0 + 30.0 * ranks["high_pass_freq_hz"] + rng.normal(0.0, 3.0)
    rumble *= 10.0 ** (rumble_db / 20.0) / (np.std(rumble) + 1e-9)
    floor = rng.standard_normal(samples) * 10.0 ** (rng.uniform(-95.0, -65.0) / 20.0)
    return (rumble + floor).astype(np.float32)


def _closing_gain_db(raw: np.ndarray, settings: Mapping[str, float]) -> float:
    """Output gain that brings the mix to −18 LUFS, the reverb's energy counted as unrelated."""
    from ...audio import loudness_lufs

    console = Console(SAMPLE_RATE, bypass={"pan", "reverb", "output_gain"} | LATER)
    with torch.inference_mode():
        dry = console(torch.from_numpy(raw)[None, None], _tensors(settings))[0].numpy()
    two_channels = 10.0 * math.log10(2.0)
    dry_lufs = max(loudness_lufs(dry, SAMPLE_RATE), -70.0) + two_channels
    wet = 10.0 * math.log10(1.0 + 10.0 ** (settings["reverb.wet_db"] / 10.0))
    return BY_KEY["output_gain.gain_db"].clip(REFERENCE_LUFS - dry_lufs - wet)


def _tensors(settings: Mapping[str, float]) -> dict[str, torch.Tensor]:
    return {key: torch.tensor([value], dtype=torch.float64) for key, value in settings.items()}
