"""Several voices through one strip: what an encoder must recognise, whoever sings.

Half of the strips are drawn from the statistics of real mixes, half widely, each setting for
itself, so that no setting can be guessed from another. Several singers, or several passages of one
singer, share each strip: what they have in common is the processing. Before the strip each is at
−18 LUFS; after it the levels are left as they come, since gain is a setting; the gain that would
level each result comes with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch

from ...audio import loudness_lufs
from ...console import Console
from ...model.predictor import REFERENCE_LUFS
from ...strip.later import FIRST_PARAMETERS, NOT_DRAWN, is_later, start_settings
from ...strip.parameters import BY_KEY, CHAIN, PARAMETERS, Parameter
from ...strip.statistics import SettingsStatistics
from .simulate import SAMPLE_RATE, SECONDS, Voices, crop, levelled

__all__ = [
    "Processed",
    "process_several",
    "process_two",
    "random_strip",
    "taken",
    "through_strip",
    "wide_strip",
]

HELD = frozenset(p.key for p in PARAMETERS if p.drawn is not None and p.drawn[0] == p.drawn[1])
"""Settings that are not drawn: their range to draw from is one value."""

HELD_MODULES = frozenset(m.key for m in CHAIN if HELD.issuperset(p.key for p in m.parameters))
WIDE = {p.key: p.drawn for p in PARAMETERS if p.drawn is not None and p.key not in HELD}
"""Ranges of a wide strip, on the scale of each setting; what is not here is the table's."""

WIDE_SHARE = 0.5
MICROPHONE_DB, ROOM_SHARE = 3.0, 0.3


@dataclass(frozen=True)
class Processed:
    """Voices after one strip.

    Attributes
    ----------
    raw : ndarray
        ``(voices, samples)`` float32 at 44.1 kHz: before the strip, each at −18 LUFS.
    output : ndarray
        ``(voices, samples)``: after it, the mean of the two sides.
    settings : dict of str to float
        The strip.
    levelling_db : tuple of float
        For each voice the gain that would bring the two sides together to −18 LUFS.
    """

    raw: np.ndarray
    output: np.ndarray
    settings: dict[str, float]
    levelling_db: tuple[float, ...]

    def normalised(self, gain_db: float = 0.0) -> np.ndarray:
        """Return the settings in 0…1, in the order of the table, with more output gain."""
        key = "output_gain.gain_db"
        settings = {**self.settings, key: BY_KEY[key].clip(self.settings[key] + gain_db)}
        return np.array([p.to_normalised(settings[p.key]) for p in PARAMETERS], np.float32)


def wide_strip(rng: np.random.Generator) -> dict[str, float]:
    """Draw every setting for itself, evenly on its scale.

    Modules that came later, and whose rows state ranges to draw from, have a generator of their
    own, seeded by their key and by what was drawn for the others: these stay as they were.
    """
    strip = start_settings()
    for parameter in PARAMETERS:
        if not is_later(parameter) and parameter.key not in HELD:
            strip[parameter.key] = _drawn(parameter, rng)
    values = np.array([strip[key] for key in FIRST_PARAMETERS])
    for module in CHAIN:
        if module.key in NOT_DRAWN:
            continue
        seed = hashlib.blake2b(module.key.encode() + values.tobytes(), digest_size=16).digest()
        own = np.random.default_rng(int.from_bytes(seed, "little"))
        for parameter in module.parameters:
            if is_later(parameter) and parameter.drawn is not None and parameter.key not in HELD:
                strip[parameter.key] = _drawn(parameter, own)
    return strip


def _drawn(parameter: Parameter, rng: np.random.Generator) -> float:
    ends = WIDE.get(parameter.key, (parameter.low, parameter.high))
    low, high = (parameter.to_normalised(end) for end in ends)
    return parameter.clip(parameter.to_physical(rng.uniform(low, high)))


def random_strip(
    statistics: SettingsStatistics, rng: np.random.Generator, wide_share: float = WIDE_SHARE
) -> dict[str, float]:
    """Draw a strip, widely with a probability of `wide_share`, otherwise as real mixes have it."""
    return wide_strip(rng) if rng.uniform() < wide_share else statistics.sample(rng)[0]


def process_two(
    voices: Voices,
    rooms: Sequence[np.ndarray],
    statistics: SettingsStatistics,
    rng: np.random.Generator,
    *,
    wide_share: float = WIDE_SHARE,
    same_share: float = 0.0,
    seconds: float = SECONDS,
) -> Processed:
    """Draw a strip and two voices; see :func:`process_several`."""
    return process_several(
        voices, rooms, statistics, rng,
        count=2, wide_share=wide_share, same_share=same_share, seconds=seconds,
    )  # fmt: skip


def process_several(
    voices: Voices,
    rooms: Sequence[np.ndarray],
    statistics: SettingsStatistics,
    rng: np.random.Generator,
    *,
    count: int,
    wide_share: float = WIDE_SHARE,
    same_share: float = 0.0,
    seconds: float = SECONDS,
) -> Processed:
    """Draw a strip and several voices, and send a passage of each through it.

    Parameters
    ----------
    voices : Voices
        Levelled clips per singer; of one singer several passages.
    rooms : sequence of ndarray
        Impulse responses; some voices stand in one before the strip.
    statistics : SettingsStatistics
        Of real mixes.
    rng : Generator
        The source of every random choice.
    count : int
        Number of voices.
    wide_share : float
        Share of the strips that are drawn widely.
    same_share : float
        Share of the examples in which all passages are of one singer, as one microphone in one
        room took them; the others are of different singers.
    seconds : float
        Length of each passage.
    """
    settings = random_strip(statistics, rng, wide_share)
    people = sorted(voices.clips)
    length = int(seconds * SAMPLE_RATE)
    if same_share and rng.uniform() < same_share:
        person, take = people[int(rng.integers(len(people)))], int(rng.integers(2**32))
        drawn = [(person, np.random.default_rng(take)) for _ in range(count)]
    else:
        chosen = rng.choice(len(people), count, replace=len(people) < count)
        drawn = [(people[i], rng) for i in chosen]
    raw = np.stack([
        levelled(
            taken(
                crop(voices.clips[person], length, rng), voices.corrections[person], rooms, of, rng
            )
        )
        for person, of in drawn
    ])  # fmt: skip
    return Processed(raw, *through_strip(raw, settings))


def through_strip(
    raw: np.ndarray, settings: dict[str, float]
) -> tuple[np.ndarray, dict[str, float], tuple[float, ...]]:
    """Process voices with one strip.

    Parameters
    ----------
    raw : ndarray
        ``(voices, samples)`` float32 at 44.1 kHz.
    settings : dict of str to float
        The strip.

    Returns
    -------
    tuple
        The means of the two sides, ``(voices, samples)``; the strip; and per voice the gain in dB
        that would bring the two sides together to −18 LUFS.
    """
    seconds = raw.shape[1] / SAMPLE_RATE
    with torch.inference_mode():
        mixed = _console(seconds)(torch.from_numpy(raw)[:, None], _tensors(settings, len(raw)))
    loudness = (max(loudness_lufs(two.numpy(), SAMPLE_RATE), -70.0) for two in mixed)
    levelling_db = tuple(REFERENCE_LUFS - lufs for lufs in loudness)
    return mixed.mean(dim=1).numpy(), settings, levelling_db


def taken(
    passage: np.ndarray,
    correction: np.ndarray,
    rooms: Sequence[np.ndarray],
    rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> np.ndarray:
    """A passage as some microphone in some room would have taken it; its noise is ever new."""
    length = len(passage)
    if rng.uniform() < 0.5:
        passage = scipy.signal.oaconvolve(passage, correction, mode="same")
    points = np.geomspace(30.0, SAMPLE_RATE / 2, 8)
    curve_db = np.cumsum(rng.normal(0.0, MICROPHONE_DB / 2.0, len(points)))
    curve_db = np.clip(curve_db - curve_db.mean(), -2 * MICROPHONE_DB, 2 * MICROPHONE_DB)
    response = scipy.signal.firwin2(
        513, np.concatenate(([0.0], points)), 10.0 ** (np.append(curve_db[0], curve_db) / 20.0),
        fs=SAMPLE_RATE,
    )  # fmt: skip
    passage = scipy.signal.oaconvolve(passage, response, mode="same")
    if rooms and rng.uniform() < ROOM_SHARE:
        room = rooms[int(rng.integers(len(rooms)))] * 10.0 ** (rng.uniform(-30.0, -10.0) / 20.0)
        passage = passage + scipy.signal.oaconvolve(passage, room)[:length]
    noise = noise_rng.standard_normal(length) * 10.0 ** (rng.uniform(-95.0, -65.0) / 20.0)
    return (passage + noise).astype(np.float32)


def _console(seconds: float) -> Console:
    off = HELD_MODULES | NOT_DRAWN
    return Console(SAMPLE_RATE, bypass=off, reverb_seconds=min(seconds, 4.0))


def _tensors(settings: Mapping[str, float], count: int) -> dict[str, torch.Tensor]:
    return {key: torch.full((count,), BY_KEY[key].clip(value)) for key, value in settings.items()}
