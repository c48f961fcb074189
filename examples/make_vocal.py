"""Make the example vocal: a sung phrase by source-filter synthesis, as a raw take would sound.

``python examples/make_vocal.py -o examples/vocal.wav``

The words are "see me now in May, some noon, no time to stay"; the melody is in G major. Source:
glottal pulses (Rosenberg's flow, differentiated, with a tilt that follows the effort), vibrato,
jitter, shimmer, portamento and breath. Filter: a tube of moving formants. The take is uneven on
purpose, with rumble, a boxy room and sharp sibilants, so that an EQ and a compressor have work.
The same seed gives the same file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import butter, lfilter, resample_poly, sosfilt, sosfiltfilt

RATE = 44100
OVERSAMPLING = 4
"""The pulses have corners; made at 176.4 kHz they do not alias into the take."""

BLOCK = 32
"""Samples between two positions of the vocal tract (0.7 ms): a multiple of `TRACT_DIVISOR`."""

TRACT_DIVISOR = 4
"""The tract works at a quarter of the rate."""

DYNAMICS_DB = 14.0
"""From the softest effort to the full voice, beside what the tilt of the source takes."""

PEAK_DBFS = -9.0

FORMANTS_HZ = {
    # F1 … F5; the upper three close together around 3 kHz: a trained voice
    "i": (330, 2500, 3000, 3600, 4500),
    "I": (430, 2150, 2900, 3600, 4500),
    "e": (500, 2050, 2850, 3600, 4500),
    "a": (820, 1280, 2750, 3500, 4400),
    "V": (700, 1250, 2700, 3500, 4400),
    "o": (520, 950, 2650, 3450, 4400),
    "u": (370, 900, 2600, 3400, 4300),
    "m": (280, 1050, 2300, 3300, 4300),
    "n": (300, 1600, 2500, 3400, 4400),
    "s": (350, 1750, 2700, 3500, 4500),
    "t": (350, 1800, 2750, 3500, 4500),
}
NO_SOUND = (None,) * 5
BANDWIDTHS_HZ = (130, 130, 170, 230, 320)
"""Of F1 … F5; nasals take more."""

AIR_LEVEL = 0.5
"""Of the source above 5.5 kHz, beside the formants."""


@dataclass(frozen=True)
class Syllable:
    """One note of the phrase.

    Attributes
    ----------
    sounds : str
        Letters of `FORMANTS_HZ`, in order; the vowels share what the consonants leave.
    note : float
        MIDI note number.
    seconds : float
        Length.
    effort : float
        0 … 1, soft to full voice; the level and the brightness follow.
    """

    sounds: str
    note: float
    seconds: float
    effort: float


PHRASE = (
    Syllable("si", 59, 0.62, 0.42),
    Syllable("mi", 62, 0.52, 0.50),
    Syllable("nau", 64, 0.95, 0.62),
    Syllable("In", 62, 0.34, 0.42),
    Syllable("mei", 67, 1.30, 1.00),
    Syllable("", 67, 0.42, 0.00),
    Syllable("sVm", 60, 0.48, 0.30),
    Syllable("nun", 59, 0.92, 0.34),
    Syllable("", 59, 0.26, 0.00),
    Syllable("nou", 62, 0.50, 0.55),
    Syllable("taim", 66, 0.78, 0.90),
    Syllable("tu", 64, 0.36, 0.52),
    Syllable("stei", 62, 1.65, 0.66),
)

CONSONANT_SECONDS = {"s": 0.13, "t": 0.07, "m": 0.09, "n": 0.08}
LEAD_SECONDS, END_SECONDS = 0.35, 0.45


@dataclass(frozen=True)
class Sound:
    """A stretch of one sound: letter, start and length in seconds, note and effort."""

    letter: str
    start: float
    seconds: float
    note: float
    effort: float


def lay_out(phrase: tuple[Syllable, ...]) -> list[Sound]:
    """Give every sound of the phrase its place in time; rests get the letter ``""``."""
    sounds, now = [], LEAD_SECONDS
    for syllable in phrase:
        letters = list(syllable.sounds) or [""]
        fixed = sum(CONSONANT_SECONDS.get(letter, 0.0) for letter in letters)
        vowels = [letter for letter in letters if letter not in CONSONANT_SECONDS]
        for letter in letters:
            if letter in CONSONANT_SECONDS:
                seconds = CONSONANT_SECONDS[letter]
            else:
                # singers hold the first part of a diphthong
                shares = (1.0,) if len(vowels) == 1 else (0.7, 0.3)
                seconds = (syllable.seconds - fixed) * shares[min(vowels.index(letter), 1)]
            sounds.append(Sound(letter, now, seconds, syllable.note, syllable.effort))
            now += seconds
    return sounds


def smooth(track: np.ndarray, seconds: float, rate: float) -> np.ndarray:
    """Run a Hann window of this length along a control track, along the last axis."""
    length = max(int(seconds * rate) | 1, 3)
    window = np.hanning(length + 2)[1:-1]
    ends = [(0, 0)] * (track.ndim - 1) + [(length // 2, length // 2)]
    padded = np.pad(track, ends, mode="edge")
    window /= window.sum()
    rows = [np.convolve(row, window, "valid") for row in np.atleast_2d(padded)]
    return np.array(rows).reshape(track.shape)


def track_of(
    sounds: list[Sound], points: int, rate: float, value: Callable[[Sound], float | None]
) -> np.ndarray:
    """Sample a value of each sound over time; None keeps the value before (rests: the next)."""
    track = np.full(points, np.nan)
    for sound in sounds:
        at = value(sound)
        if at is not None:
            first, last = sound.start * rate, (sound.start + sound.seconds) * rate
            track[int(first) : int(last)] = at
    known = np.flatnonzero(~np.isnan(track))
    previous = np.searchsorted(known, np.arange(points), side="right") - 1
    return track[known[np.maximum(previous, 0)]]


def slow_noise(rng: np.random.Generator, points: int, cutoff_hz: float, rate: float) -> np.ndarray:
    """Return noise below `cutoff_hz` with unit variance."""
    noise = sosfiltfilt(butter(2, cutoff_hz, fs=rate, output="sos"), rng.standard_normal(points))
    return noise / noise.std()


def pitch_hz(rng: np.random.Generator, sounds: list[Sound], points: int) -> np.ndarray:
    """Return the fundamental: notes with portamento, scoops, drift, vibrato and jitter."""
    rate = RATE / BLOCK
    note = track_of(sounds, points, rate, lambda s: s.note if s.letter else None)
    vibrato, scoop = np.zeros(points), np.zeros(points)
    time = np.arange(points) / rate
    for sound in sounds:
        if sound.letter in CONSONANT_SECONDS or sound.seconds < 0.25:
            continue
        since = np.clip((time - sound.start) / sound.seconds, 0.0, 1.0)
        inside = (time >= sound.start) & (time < sound.start + sound.seconds)
        # vibrato comes in after the first third of a held note
        depth = 0.45 * np.clip((since - 0.3) / 0.35, 0.0, 1.0) * min(sound.seconds, 1.0)
        vibrato[inside] = depth[inside]
        scoop[inside] = -0.7 * np.exp(-(time[inside] - sound.start) / 0.06)
    phase = 2.0 * np.pi * np.cumsum(5.5 + 0.25 * slow_noise(rng, points, 1.0, rate)) / rate
    vibrato = smooth(vibrato, 0.25, rate) * np.sin(phase)
    drift = 0.10 * slow_noise(rng, points, 2.0, rate) + 0.05 * slow_noise(rng, points, 18.0, rate)
    midi = smooth(note, 0.13, rate) + vibrato + smooth(scoop, 0.04, rate) + drift
    return 440.0 * 2.0 ** ((midi - 69.0) / 12.0)


def glottal_source(
    rng: np.random.Generator, fundamental_hz: np.ndarray, effort: np.ndarray, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the derivative of the glottal flow and how open the glottis is.

    Rosenberg's pulse: the flow rises as half a cosine, falls as a quarter of one and rests. A soft
    voice has a longer open phase, hence a duller sound.
    """
    rate = RATE * OVERSAMPLING
    count = samples * OVERSAMPLING
    blocks = (np.arange(count) / OVERSAMPLING) / BLOCK
    grid = np.arange(len(fundamental_hz))
    frequency = np.interp(blocks, grid, fundamental_hz)
    phase = np.cumsum(frequency) / rate
    cycle = np.floor(phase).astype(int)
    # jitter and shimmer: every cycle a little early or late, a little louder or softer
    cycles = cycle[-1] + 2
    early = 0.004 * rng.standard_normal(cycles)
    loud = 1.0 + 0.035 * rng.standard_normal(cycles)
    within = phase - cycle
    within = np.clip(within + early[cycle] * within * (1.0 - within) * 4.0, 0.0, 1.0)

    strength = np.interp(blocks, grid, effort)
    rise = 0.46 - 0.06 * strength
    fall = 0.26 - 0.10 * strength
    rising, falling = within < rise, (within >= rise) & (within < rise + fall)
    slope = np.where(rising, np.pi / (2 * rise) * np.sin(np.pi * within / rise), 0.0)
    edge = np.pi / 2 * (within - rise) / fall
    slope = np.where(falling, -np.pi / (2 * fall) * np.sin(edge), slope)
    flow = np.where(rising, 0.5 - 0.5 * np.cos(np.pi * within / rise), 0.0)
    flow = np.where(falling, np.cos(edge), flow)
    source = resample_poly(slope * loud[cycle], 1, OVERSAMPLING)
    return source, resample_poly(flow, 1, OVERSAMPLING)


def tilt(source: np.ndarray, effort: np.ndarray) -> np.ndarray:
    """Darken the source where the voice is soft: blend with its own low-passed copy."""
    dark = sosfilt(butter(1, 700.0, fs=RATE, output="sos"), source)
    share = np.clip(0.97 - 0.45 * effort, 0.0, 1.0)
    return share * dark + (1.0 - share) * source


def moving_resonator(
    signal: np.ndarray, frequency_hz: np.ndarray, bandwidth_hz: np.ndarray
) -> np.ndarray:
    """Run ``y[n] = (1 + a1 + a2)·x[n] − a1·y[n−1] − a2·y[n−2]``, changing from block to block.

    What is carried over is the last two outputs, not the filter's inner state: an inner state
    belongs to the old coefficients, and a moving formant would pump it up to a bang.
    """
    rate, block = RATE / TRACT_DIVISOR, BLOCK // TRACT_DIVISOR
    radius = np.exp(-np.pi * bandwidth_hz / rate)
    a1s, a2s = -2.0 * radius * np.cos(2.0 * np.pi * frequency_hz / rate), radius**2
    out = np.empty_like(signal)
    before = earlier = 0.0
    for start, a1, a2 in zip(range(0, len(signal), block), a1s, a2s, strict=True):
        part = slice(start, start + block)
        state = np.array([-a1 * before - a2 * earlier, -a2 * before])
        out[part], _ = lfilter([1.0 + a1 + a2], [1.0, a1, a2], signal[part], zi=state)
        earlier, before = out[part][-2:]
    return out


def vocal_tract(source: np.ndarray, formants_hz: np.ndarray, nasal: np.ndarray) -> np.ndarray:
    """Run the source through the moving tract.

    The formants work at 11 kHz, as in Klatt's synthesiser: there five of them, mirrored at half
    the rate, stand for the endless row that a real tube has. What lies above is the bare source,
    high-passed.
    """
    voice = resample_poly(source, 1, TRACT_DIVISOR)
    for formant_hz, bandwidth_hz in zip(formants_hz, BANDWIDTHS_HZ, strict=True):
        voice = moving_resonator(voice, formant_hz, bandwidth_hz * (1.0 + 1.5 * nasal))
    air = sosfilt(butter(4, 5500.0, "highpass", fs=RATE, output="sos"), source)
    air *= AIR_LEVEL * (1.0 - 0.9 * np.repeat(nasal, BLOCK))
    return resample_poly(voice, TRACT_DIVISOR, 1) + air


def consonants(
    rng: np.random.Generator, sounds: list[Sound], samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise of s and t, and the breaths taken in the rests."""
    hiss = sosfilt(
        butter(2, (5200.0, 10500.0), "bandpass", fs=RATE, output="sos"),
        rng.standard_normal(samples),
    )
    air = sosfilt(
        butter(1, (700.0, 5000.0), "bandpass", fs=RATE, output="sos"),
        rng.standard_normal(samples),
    )
    hiss_level, air_level = np.zeros(samples), np.zeros(samples)
    time = np.arange(samples) / RATE
    for sound in sounds:
        since = time - sound.start
        if sound.letter == "s":
            arch = np.clip(1.0 - ((since / sound.seconds - 0.5) / 0.62) ** 2, 0.0, None)
            hiss_level += (0.55 + 0.45 * sound.effort) * arch**1.5
        elif sound.letter == "t":
            closed = 0.045
            burst = np.where(since >= closed, np.exp(-(since - closed) / 0.018), 0.0)
            hiss_level += (0.5 + 0.6 * sound.effort) * burst
        elif not sound.letter and sound.seconds > 0.3:
            along = np.clip(since / sound.seconds, 0.0, 1.0)
            air_level += np.sin(np.pi * along) ** 2 * (0.4 + 0.6 * along)
    return hiss * hiss_level, air * air_level


def room(take: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put the take into a small boxy booth: reflections, a resonance at 380 Hz, rumble, tone."""
    reflections = np.zeros(int(0.06 * RATE))
    reflections[0] = 1.0
    places = rng.integers(int(0.002 * RATE), len(reflections), 40)
    strengths = rng.standard_normal(40) * 0.07 * np.exp(-places / (0.014 * RATE))
    np.add.at(reflections, places, strengths)
    take = np.convolve(take, reflections)[: len(take)]
    box = sosfilt(butter(1, (290.0, 480.0), "bandpass", fs=RATE, output="sos"), take)
    take = take + 0.7 * box
    samples = len(take)
    rumble = sosfilt(butter(3, 55.0, fs=RATE, output="sos"), rng.standard_normal(samples))
    tone = sosfilt(butter(1, 300.0, fs=RATE, output="sos"), rng.standard_normal(samples))
    hiss = rng.standard_normal(samples)
    peak = np.abs(take).max()
    return take / peak + 0.008 * rumble / rumble.std() + 0.0015 * tone / tone.std() + 0.0004 * hiss


def sing(seed: int) -> np.ndarray:
    """Return the whole take: ``(samples,)`` float64 at 44.1 kHz, peak at −9 dBFS."""
    rng = np.random.default_rng(seed)
    sounds = lay_out(PHRASE)
    seconds = sounds[-1].start + sounds[-1].seconds + END_SECONDS
    points = int(seconds * RATE / BLOCK)
    samples, rate = points * BLOCK, RATE / BLOCK

    fundamental = pitch_hz(rng, sounds, points)
    effort = smooth(track_of(sounds, points, rate, lambda s: s.effort), 0.12, rate)
    # a phrase breathes: the level moves inside a note too
    effort = np.clip(effort * (1.0 + 0.10 * slow_noise(rng, points, 3.0, rate)), 0.0, 1.0)
    voicing_of = {"": 0.0, "s": 0.0, "t": 0.0, "m": 0.5, "n": 0.5}
    ends = sounds[-1].start + sounds[-1].seconds
    voiced = track_of(sounds, points, rate, lambda s: voicing_of.get(s.letter, 1.0))
    time = np.arange(points) / rate
    voiced[(time < sounds[0].start) | (time > ends)] = 0.0
    voiced = smooth(voiced, 0.045, rate) * np.clip((ends - time) / 0.6, 0.0, 1.0) ** 0.7
    formants = np.stack(
        [
            track_of(sounds, points, rate, lambda s, i=i: FORMANTS_HZ.get(s.letter, NO_SOUND)[i])
            for i in range(len(BANDWIDTHS_HZ))
        ]
    )
    formants = smooth(formants, 0.11, rate)
    # a singer opens the mouth rather than let F1 fall below the fundamental
    formants[0] = np.maximum(formants[0], 1.3 * fundamental)
    nasal = smooth(
        track_of(sounds, points, rate, lambda s: float(s.letter in ("m", "n"))), 0.05, rate
    )

    def per_sample(track: np.ndarray) -> np.ndarray:
        return np.interp(np.arange(samples) / BLOCK, np.arange(points), track)

    pulses, opening = glottal_source(rng, fundamental, effort, samples)
    breath = rng.standard_normal(samples) * (0.3 + 0.7 * opening)
    level = per_sample(voiced) * 10.0 ** ((per_sample(effort) - 1.0) * DYNAMICS_DB / 20.0)
    source = tilt(pulses, per_sample(effort)) + 0.06 * breath * (1.5 - per_sample(effort))
    voice = vocal_tract(source * level, formants, nasal)
    voice /= np.abs(voice).max()
    noises, air = consonants(rng, sounds, samples)
    take = voice + 0.20 * noises / np.abs(noises).max() + 0.03 * air / np.abs(air).max()
    take = room(take, rng)
    return take / np.abs(take).max() * 10.0 ** (PEAK_DBFS / 20.0)


def main() -> None:
    """Read the command line, sing, write a 16-bit file."""
    parser = argparse.ArgumentParser(description="Make the example vocal.")
    parser.add_argument("-o", "--output", type=Path, default=Path("examples/vocal.wav"))
    parser.add_argument("--seed", type=int, default=4, help="another seed, another take")
    options = parser.parse_args()
    take = sing(options.seed)
    soundfile.write(options.output, take, RATE, subtype="PCM_16")
    print(f"{options.output}: {len(take) / RATE:.2f} s, {RATE} Hz, mono, 16 bit")


if __name__ == "__main__":
    main()
