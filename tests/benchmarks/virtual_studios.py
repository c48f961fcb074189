"""Virtual studios: an engineer who listens to the voice, with somebody else's processors.

A studio has a house sound and rules that react: the voice's long-term spectrum is pulled towards
the house's, the threshold follows level and crest, the ratio how much the level wanders, attack
and release crest and pace, and the reverb how wet the recording is and how slow it is sung. On
every decision lies some taste, which nobody can predict. The settings have no equal in our
console: other filters, detectors and reverbs.

The people are split three ways, for good: those that encoders may be pretrained on, those that
sing for the studio's pairs, and those that every result is measured on.

Run: ``python -m tests.benchmarks.virtual_studios [--count 60]`` prints how much of each setting
the voice explains, and taste does not.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from diffconsole.audio import loudness_lufs, read_audio, resample
from diffconsole.pairs import PAIR_RATE
from tests.benchmarks.studio_renderers import render_ffmpeg, render_pedalboard, with_return
from tests.benchmarks.voice_measures import BANDS_HZ, VoiceMeasures, bands_between, measure

__all__ = [
    "PRETRAINING_PEOPLE_HELD_OUT",
    "STUDIOS",
    "TEST_PEOPLE",
    "TRAIN_PEOPLE",
    "Passage",
    "Studio",
    "decide",
    "explained_shares",
    "mix",
    "raw_passages",
]

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
VOICES, ROOMS = DATA / "voices", DATA / "ir"

TRAIN_PEOPLE = (
    "makam_idil", "gcompris_gd", "cmn_chen_wang", "msc_vUdcLk4R", "msc_4g8oHH1M",
    "kerstin", "yuki", "scottpoid", "erithacus", "berklee_female",
)  # fmt: skip
"""They sing and speak for the studios' pairs."""

TEST_PEOPLE = ("makam_guelen", "makam_guelcin", "librivox_sonnet", "msc_QgeGxPRr", "msc_tHgBo7UE")
"""Nothing but the measurement hears them."""

PRETRAINING_PEOPLE_HELD_OUT = (*TRAIN_PEOPLE, *TEST_PEOPLE)
"""An encoder that is measured here must not know them."""

PASSAGE_SECONDS = 10.0
LEVELS_LUFS = (-30.0, -10.0)
MOST_SPEED = 0.08
HIGHEST_PEAK = 0.99
SECONDS_A_TURN = 300.0

REFERENCE_LUFS = -18.0
MOST_EQ_DB, NOTHING_THERE_DB = 7.0, -30.0
USUAL_CREST_DB, USUAL_SPREAD_DB, USUAL_PACE, USUAL_DECAY_S = 12.0, 15.0, 2.0, 0.3
BODY_HZ, PRESENCE_HZ, AIR_HZ = (250.0, 1000.0), (1500.0, 5000.0), (6000.0, 13000.0)

TASTE: dict[str, float] = {
    "high_pass_hz": 0.06,
    "low_shelf_db": 0.6,
    "body_hz": 0.10,
    "body_db": 0.6,
    "presence_hz": 0.10,
    "presence_db": 0.6,
    "air_db": 0.7,
    "threshold_db": 0.8,
    "ratio": 0.10,
    "attack_ms": 0.15,
    "release_ms": 0.12,
    "pre_delay_ms": 0.10,
    "decay_s": 0.08,
    "wet_db": 0.8,
}
"""Deviation of each decision that the voice does not explain: dB, or of the natural logarithm."""

LOUDNESS_TASTE_DB, MOST_LOUDNESS_TASTE_DB = 0.25, 0.5


@dataclass(frozen=True)
class Studio:
    """A house sound and the rules of its engineer.

    Attributes
    ----------
    name : str
        By its sound.
    processors : str
        ``"pedalboard"`` or ``"ffmpeg"``.
    house_db : tuple of (float, float)
        Hz and dB of the spectrum that voices are pulled towards, in third octaves; straight lines
        on the logarithm of frequency between.
    pull : float
        Share of the difference that is taken away.
    low_shelf_hz, air_hz : float
        Of the shelves.
    over_db : float
        Threshold above the voice's level, for a usual crest.
    ratio, attack_ms, release_ms : float
        For a usual voice.
    room : str
        Stem of an impulse response; empty for the processors' own reverb.
    wet_db, decay_s, pre_delay_ms : float
        For a usual voice: of the return against the dry signal, and times.
    send_low_cut_hz : float
        Of the reverb's send.
    loudness_lufs : float
        That mixes are delivered at.
    taste : float
        How much of `TASTE`.
    seed : int
        Of its takes and its taste.
    """

    name: str
    processors: str
    house_db: tuple[tuple[float, float], ...]
    pull: float
    low_shelf_hz: float
    air_hz: float
    over_db: float
    ratio: float
    attack_ms: float
    release_ms: float
    room: str
    wet_db: float
    decay_s: float
    pre_delay_ms: float
    send_low_cut_hz: float
    loudness_lufs: float
    taste: float
    seed: int


# fmt: off
STUDIOS = {
    studio.name: studio
    for studio in (
        Studio(
            "warm folk", "pedalboard",
            ((80, -14), (125, -2), (200, 6), (315, 7), (500, 6), (800, 2), (1250, -2), (2000, -5),
             (3150, -7), (5000, -10), (8000, -13), (12500, -17), (16000, -22)),
            pull=0.5, low_shelf_hz=220.0, air_hz=6000.0,
            over_db=-4.0, ratio=2.2, attack_ms=60.0, release_ms=900.0,
            room="emt140_dark_1", wet_db=-13.0, decay_s=1.7, pre_delay_ms=18.0,
            send_low_cut_hz=150.0, loudness_lufs=-18.0, taste=1.0, seed=11,
        ),
        Studio(
            "modern pop", "ffmpeg",
            ((80, -20), (125, -8), (200, 1), (315, 4), (500, 4), (800, 2), (1250, 0), (2000, -2),
             (3150, -2), (5000, -4), (8000, -5), (12500, -7), (16000, -11)),
            pull=0.6, low_shelf_hz=180.0, air_hz=7500.0,
            over_db=-4.0, ratio=2.8, attack_ms=6.0, release_ms=120.0,
            room="quantumverb_medium_chamber", wet_db=-18.0, decay_s=0.9, pre_delay_ms=45.0,
            send_low_cut_hz=300.0, loudness_lufs=-14.0, taste=1.0, seed=12,
        ),
        Studio(
            "radio speech", "pedalboard",
            ((80, -8), (125, 4), (200, 7), (315, 6), (500, 5), (800, 1), (1250, -1), (2000, -1),
             (3150, -2), (5000, -7), (8000, -10), (12500, -15), (16000, -22)),
            pull=0.6, low_shelf_hz=150.0, air_hz=5000.0,
            over_db=-6.0, ratio=3.5, attack_ms=12.0, release_ms=350.0,
            room="", wet_db=-24.0, decay_s=0.7, pre_delay_ms=4.0,
            send_low_cut_hz=120.0, loudness_lufs=-16.0, taste=1.0, seed=13,
        ),
    )
}
# fmt: on


@dataclass(frozen=True)
class Passage:
    """Ten seconds of one person.

    Attributes
    ----------
    person : str
        Who it is.
    samples : ndarray
        ``(1, samples)`` float32 at 44.1 kHz.
    """

    person: str
    samples: np.ndarray


def raw_passages(
    voices_folder: Path, people: Sequence[str], count: int, seed: int, first: int = 0
) -> Iterator[Passage]:
    """Cut passages from the voices: other places, levels and speeds each time.

    People take turns, two where there is much of them. A passage depends on the seed and its
    number alone: more passages begin with the same ones.

    Parameters
    ----------
    voices_folder : Path
        Holds a folder of clips for each person.
    people : sequence of str
        Who is heard.
    count : int
        How many passages.
    seed : int
        Of places, levels and speeds.
    first : int
        Number of the first passage.
    """
    turns = list(people)
    for person in people:
        seconds = _recording(voices_folder / person).shape[1] / PAIR_RATE
        turns += [person] * int(seconds // SECONDS_A_TURN)
    for number in range(first, first + count):
        rng = np.random.default_rng((seed, number))
        person = turns[number % len(turns)]
        whole = _recording(voices_folder / person)
        rate = round(PAIR_RATE * (1.0 + rng.uniform(-MOST_SPEED, MOST_SPEED)))
        length = int(PASSAGE_SECONDS * PAIR_RATE)
        need = math.ceil(length * rate / PAIR_RATE) + 64
        start = int(rng.integers(whole.shape[1] - need + 1))
        part = resample(whole[:, start : start + need], rate, PAIR_RATE)[:, :length]
        loudness = loudness_lufs(part, PAIR_RATE)
        gain = 10.0 ** ((rng.uniform(*LEVELS_LUFS) - loudness) / 20.0)
        # Whoever records watches the red light.
        gain = min(gain, HIGHEST_PEAK / float(np.abs(part).max()))
        yield Passage(person, (part * gain).astype(np.float32))


@lru_cache(maxsize=len(PRETRAINING_PEOPLE_HELD_OUT))
def _recording(folder: Path) -> np.ndarray:
    """All clips of a person, one after the other, ``(1, samples)``."""
    parts = []
    for path in sorted(folder.glob("*.opus")):
        samples, rate = read_audio(path)
        parts.append(resample(samples[:1], rate, PAIR_RATE))
    if not parts:
        raise FileNotFoundError(f"{folder}: no *.opus of this person")
    return np.concatenate(parts, axis=1)


def decide(
    studio: Studio, voice: VoiceMeasures, rng: np.random.Generator | None = None
) -> dict[str, float]:
    """Return the engineer's settings for a voice; without `rng` those without taste."""
    s = studio
    input_gain_db = REFERENCE_LUFS - voice.loudness_lufs
    house_hz, house_db = np.array(s.house_db).T
    goal_db = np.interp(np.log(BANDS_HZ), np.log(house_hz), house_db)
    off_db = np.convolve(np.pad(goal_db - voice.spectrum_db, 1, "edge"), np.ones(3) / 3, "valid")
    wanted_db = np.clip(s.pull * off_db, -MOST_EQ_DB, MOST_EQ_DB)

    strongest = voice.spectrum_db > voice.spectrum_db[bands_between(50.0, 1000.0)].max() - 10.0
    fundamental_hz = float(np.clip(BANDS_HZ[strongest][0], 80.0, 250.0))
    low = bands_between(fundamental_hz, 1.5 * s.low_shelf_hz)
    # Nobody turns up a shelf on what the recording lost.
    air = bands_between(*AIR_HZ) & (voice.spectrum_db > NOTHING_THERE_DB)
    body_hz, body_db = _worst(wanted_db, BODY_HZ)
    presence_hz, presence_db = _worst(wanted_db, PRESENCE_HZ)
    crest_db = voice.crest_db - USUAL_CREST_DB
    slow = USUAL_PACE / float(np.clip(voice.syllables_per_s, 0.5, 5.0))
    settings = {
        "input_gain_db": input_gain_db,
        "high_pass_hz": 0.7 * fundamental_hz,
        "low_shelf_hz": s.low_shelf_hz,
        "low_shelf_db": float(wanted_db[low].mean()) if low.any() else 0.0,
        "body_hz": body_hz,
        "body_db": body_db,
        "presence_hz": presence_hz,
        "presence_db": presence_db,
        "air_hz": s.air_hz,
        "air_db": float(wanted_db[air].mean()) if air.any() else 0.0,
        # Peaks carry a spiky voice over the threshold by themselves.
        "threshold_db": voice.level_db + input_gain_db + s.over_db + 0.5 * crest_db,
        "ratio": s.ratio * 2.0 ** ((voice.spread_db - USUAL_SPREAD_DB) / 10.0),
        "attack_ms": s.attack_ms * 2.0 ** (crest_db / 4.0),
        "release_ms": s.release_ms * slow**0.7,
        "pre_delay_ms": s.pre_delay_ms * slow**0.5,
        "decay_s": s.decay_s * slow**0.4,
        "wet_db": s.wet_db + 3.0 * math.log2(slow) - 4.0 * math.log2(voice.decay_s / USUAL_DECAY_S),
        "send_low_cut_hz": s.send_low_cut_hz,
        "loudness_lufs": s.loudness_lufs,
    }
    if rng is not None:
        settings = _with_taste(settings, studio.taste, rng)
    settings["ratio"] = float(np.clip(settings["ratio"], 1.2, 8.0))
    settings["threshold_db"] = float(np.clip(settings["threshold_db"], -50.0, -3.0))
    settings["wet_db"] = float(np.clip(settings["wet_db"], s.wet_db - 10.0, s.wet_db + 6.0))
    return settings


def _worst(wanted_db: np.ndarray, between_hz: tuple[float, float]) -> tuple[float, float]:
    """Frequency and gain of the bell for the largest difference in a range."""
    inside = np.flatnonzero(bands_between(*between_hz))
    place = inside[np.argmax(np.abs(wanted_db[inside]))]
    return float(BANDS_HZ[place]), float(wanted_db[place])


def _with_taste(
    settings: dict[str, float], amount: float, rng: np.random.Generator
) -> dict[str, float]:
    found = dict(settings)
    for key, deviation in TASTE.items():
        noise = amount * deviation * float(rng.standard_normal())
        found[key] = found[key] + noise if key.endswith("_db") else found[key] * math.exp(noise)
    most = MOST_LOUDNESS_TASTE_DB
    found["loudness_lufs"] += float(np.clip(rng.normal(0.0, LOUDNESS_TASTE_DB), -most, most))
    return found


def mix(
    studio: Studio, raw: np.ndarray, rng: np.random.Generator | None, rooms: Path = ROOMS
) -> np.ndarray:
    """Mix a raw vocal as the studio does.

    Parameters
    ----------
    studio : Studio
        Whose engineer it is.
    raw : ndarray
        ``(1, samples)`` at 44.1 kHz.
    rng : Generator or None
        Of the taste.
    rooms : Path
        Folder of impulse responses.

    Returns
    -------
    ndarray
        ``(2, samples)`` float32, in time with the raw.
    """
    settings = decide(studio, measure(raw), rng)
    room = rooms / f"{studio.room}.flac" if studio.room else None
    render = {"pedalboard": render_pedalboard, "ffmpeg": render_ffmpeg}[studio.processors]
    dry, wet = render(raw, settings, room)
    both = with_return(dry, wet, settings["wet_db"])
    gain_db = settings["loudness_lufs"] - loudness_lufs(both, PAIR_RATE)
    return (both * 10.0 ** (gain_db / 20.0)).astype(np.float32)


def explained_shares(studio: Studio, voices: Sequence[VoiceMeasures]) -> dict[str, float]:
    """Return by setting which share of its variance comes from the voice, not from taste."""
    shares = {}
    for key, deviation in TASTE.items():
        values = np.array([decide(studio, voice)[key] for voice in voices])
        values = values if key.endswith("_db") else np.log(values)
        heard = float(np.var(values))
        shares[key] = heard / (heard + (studio.taste * deviation) ** 2)
    return shares


def main() -> int:
    """Print the shares; 1 where taste has the greater part of a setting."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=60, help="passages")
    count = parser.parse_args().count
    if not VOICES.is_dir():
        print(f"no voices in {VOICES}")
        return 2
    people = PRETRAINING_PEOPLE_HELD_OUT
    voices = [measure(p.samples) for p in raw_passages(VOICES, people, count, seed=1)]
    print(f"Share of each setting's variance that the voice explains, {count} passages")
    for field in fields(VoiceMeasures)[1:]:
        values = [getattr(v, field.name) for v in voices]
        print(f"  {field.name:<18}{np.mean(values):8.2f} ± {np.std(values):.2f}")
    columns = {name: explained_shares(studio, voices) for name, studio in STUDIOS.items()}
    print(f"\n{'':<16}" + "".join(f"{name:>14}" for name in columns))
    for key in TASTE:
        print(f"{key:<16}" + "".join(f"{column[key]:14.2f}" for column in columns.values()))
    return int(any(share < 0.5 for column in columns.values() for share in column.values()))


if __name__ == "__main__":
    sys.exit(main())
