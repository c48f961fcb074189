"""Pairs as studios have them: tuned, doubled, cut short, recorded by other clocks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole.audio import resample
from diffconsole.errors import PairError
from diffconsole.pairs import (
    LOWEST_CORRELATION,
    PAIR_RATE,
    Pair,
    PairFiles,
    align,
    load_pair,
    loudest_start,
)
from diffconsole.training.finetuning.segments import places_of

from ..benchmarks.disturbances import SAME_TIME, at_other_speed, later, through_mp3
from ..synthetic import STUDIO, mixed, voice

KEPT = ("doubled", "doubled exactly", "band-limited", "noise bed")
"""What leaves the raw vocal's waveform in the mix: its lag can be found."""


@pytest.fixture(scope="module")
def take() -> np.ndarray:
    """Twelve seconds, ``(1, samples)``."""
    return voice(12.0, 1)[None]


@pytest.fixture(scope="module")
def mix(take: np.ndarray) -> np.ndarray:
    return mixed(take[0], STUDIO)


@pytest.fixture(scope="module")
def disturbed(mix: np.ndarray) -> Callable[[str], np.ndarray]:
    """The mix with one of the disturbances, each of which is made once: a vocoder takes a while."""
    return functools.cache(lambda kind: SAME_TIME[kind](mix, 3))


def loaded(folder: Path, raw: np.ndarray, mix: np.ndarray, rate: int = PAIR_RATE) -> Pair:
    return load_pair(written(folder, raw, mix, rate))


def written(folder: Path, raw: np.ndarray, mix: np.ndarray, rate: int = PAIR_RATE) -> PairFiles:
    files = PairFiles("take", folder / "raw.wav", folder / "mix.wav")
    soundfile.write(files.raw, raw.T, PAIR_RATE, subtype="FLOAT")
    soundfile.write(files.mixed, mix.T, rate, subtype="FLOAT")
    return files


# Tuned, moved, doubled


@pytest.mark.parametrize("seconds", [0.0, 0.007, -0.9])
@pytest.mark.parametrize("kind", KEPT)
def test_lag_where_the_waveform_is_kept(
    disturbed: Callable[[str], np.ndarray],
    take: np.ndarray,
    tmp_path: Path,
    kind: str,
    seconds: float,
) -> None:
    pair = loaded(tmp_path, take, later(disturbed(kind), seconds))
    assert pair.lag_seconds == pytest.approx(seconds, abs=0.001)
    assert pair.polarity == 1
    assert pair.lag_uncertain_seconds == 0.0


@pytest.mark.parametrize("seconds", [0.0, 0.007, -0.9])
@pytest.mark.parametrize(
    ("kind", "polarity"), [("retuned", 1), ("stretched", -1), ("retuned, stretched", 1)]
)
def test_lag_where_the_waveform_is_another(
    disturbed: Callable[[str], np.ndarray],
    take: np.ndarray,
    tmp_path: Path,
    kind: str,
    seconds: float,
    polarity: int,
) -> None:
    """Found, or called uncertain; then 0 where that is as good, and never far off."""
    pair = loaded(tmp_path, take, polarity * later(disturbed(kind), seconds))
    off = abs(pair.lag_seconds - seconds)
    assert off < 0.001 or pair.lag_uncertain_seconds > 0.0
    assert off < 0.008
    assert off <= max(pair.lag_uncertain_seconds, 0.001)
    if pair.lag_uncertain_seconds:
        assert any("uncertain" in line for line in pair.messages)
    if kind == "stretched":
        assert pair.polarity == polarity


@pytest.mark.parametrize("polarity", [1, -1])
def test_polarity_where_the_waveform_is_another(
    disturbed: Callable[[str], np.ndarray], take: np.ndarray, tmp_path: Path, polarity: int
) -> None:
    """Behind steep filters it may be anything: then it stays, and is called uncertain."""
    for kind in ("retuned", "retuned, doubled, band-limited, noise"):
        pair = loaded(tmp_path, take, polarity * disturbed(kind))
        if any("polarity is uncertain" in line for line in pair.messages):
            assert pair.polarity == 1
        else:
            assert pair.polarity == polarity, kind


# What hides the syllables' energies, but not the waveform


def with_echo(mix: np.ndarray) -> np.ndarray:
    return mix + np.float32(0.9) * later(mix, 0.11)


def with_claps(mix: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(5)
    clap = rng.standard_normal(4410) * np.exp(-np.arange(4410) / 900.0)
    beats = np.zeros(mix.shape[1])
    beats[:: PAIR_RATE // 4] = 1.0
    claps = np.convolve(beats, clap)[: mix.shape[1]]
    claps *= 0.5 * np.sqrt(np.mean(mix**2) / np.mean(claps**2))
    return (mix + claps).astype(np.float32)


@pytest.mark.parametrize("disturb", [with_echo, with_claps], ids=["echo", "claps"])
@pytest.mark.parametrize(("seconds", "polarity"), [(0.007, -1), (-0.9, 1)])
def test_an_effect_is_no_other_performance(
    mix: np.ndarray,
    take: np.ndarray,
    tmp_path: Path,
    disturb: Callable[[np.ndarray], np.ndarray],
    seconds: float,
    polarity: int,
) -> None:
    pair = loaded(tmp_path, take, polarity * later(disturb(mix), seconds))
    assert pair.lag_seconds == pytest.approx(seconds, abs=0.001)
    assert pair.polarity == polarity
    assert pair.lag_uncertain_seconds == 0.0
    assert pair.correlation >= LOWEST_CORRELATION


@pytest.mark.parametrize("disturb", [with_echo, with_claps], ids=["echo", "claps"])
def test_another_performance_stays_another(
    take: np.ndarray, tmp_path: Path, disturb: Callable[[np.ndarray], np.ndarray]
) -> None:
    for seed in (2, 3):
        other = disturb(mixed(voice(12.0, seed), STUDIO))
        with pytest.raises(PairError, match="not the same performance"):
            loaded(tmp_path, take, other)


@pytest.mark.parametrize(("person", "numbers"), [("scottpoid", (1, 2)), ("makam_idil", (5, 7))])
def test_another_take_of_the_same_rhythm_is_refused(
    data_folder: Path, person: str, numbers: tuple[int, int]
) -> None:
    """The bands correlate by 0.6; single syllables lie up to 60 ms apart."""
    clips = [data_folder / "voices" / person / f"{number:03d}.opus" for number in numbers]
    with pytest.raises(PairError, match="not the same performance .the syllables lie"):
        load_pair(PairFiles("take", *clips))


@pytest.mark.parametrize("side", ["raw", "mix"])
@pytest.mark.parametrize("polarity", [1, -1])
def test_a_side_that_is_inverted(
    mix: np.ndarray, take: np.ndarray, tmp_path: Path, side: str, polarity: int
) -> None:
    """The middle holds no voice then; the left channel decides."""
    turned = np.float32([[1.0], [-1.0]])
    raw = turned * np.repeat(take, 2, axis=0) if side == "raw" else take
    moved = polarity * later(turned * mix if side == "mix" else mix, 0.007)
    pair = loaded(tmp_path, raw, moved)
    assert pair.lag_seconds == pytest.approx(0.007, abs=0.001)
    assert pair.polarity == polarity
    assert np.array_equal(pair.raw, raw)


@pytest.mark.parametrize("gain", [1.0, 0.05, -1.0])
def test_a_file_with_itself(take: np.ndarray, tmp_path: Path, gain: float) -> None:
    pair = loaded(tmp_path, take, np.float32(gain) * take)
    assert pair.lag_seconds == pytest.approx(0.0, abs=1e-6)
    assert pair.polarity == np.sign(gain)
    assert pair.correlation > 0.99
    assert pair.messages == ()


# Parts of a song


@pytest.fixture(scope="module")
def song() -> np.ndarray:
    """Forty-eight seconds, the first sixteen far louder than the rest."""
    parts = [gain * voice(16.0, seed) for gain, seed in ((1.0, 5), (0.2, 6), (0.3, 7))]
    return np.concatenate(parts)[None].astype(np.float32)


@pytest.fixture(scope="module")
def song_mix(song: np.ndarray) -> np.ndarray:
    return mixed(song[0], STUDIO)


EXCERPT = slice(20 * PAIR_RATE, 32 * PAIR_RATE)


@pytest.mark.parametrize("kind", ["alone", "in silence", "with its neighbours at the wrong place"])
def test_a_mix_of_a_part(song: np.ndarray, song_mix: np.ndarray, tmp_path: Path, kind: str) -> None:
    whole = song_mix
    mix, lag = whole[:, EXCERPT], -20.0
    if kind == "in silence":
        mix, lag = np.zeros_like(whole), 0.0
        mix[:, EXCERPT] = whole[:, EXCERPT]
    elif kind == "with its neighbours at the wrong place":
        mix, lag = whole[:, 20 * PAIR_RATE :], -20.0
    pair = loaded(tmp_path, song, mix)
    assert pair.lag_seconds == pytest.approx(lag, abs=0.001)
    assert pair.correlation > 0.7
    place = int(np.flatnonzero(song[0] == pair.raw[0, 100])[0]) - 100
    assert np.array_equal(song[:, place : place + pair.raw.shape[1]], pair.raw)
    expected = whole[:, place : place + pair.raw.shape[1]]
    inside = slice(2205, -2205)
    assert np.abs(pair.mixed - expected)[:, inside].max() < 0.02 * np.abs(expected).max()
    assert place >= 20 * PAIR_RATE - 2205
    assert any("only this is used" in line for line in pair.messages)


def test_a_raw_vocal_of_a_part(song: np.ndarray, song_mix: np.ndarray, tmp_path: Path) -> None:
    whole = song_mix
    pair = loaded(tmp_path, song[:, EXCERPT], whole)
    assert pair.lag_seconds == pytest.approx(20.0, abs=0.001)
    assert np.array_equal(pair.raw, song[:, EXCERPT])
    # What came before still rings at the beginning.
    assert np.abs(pair.mixed - whole[:, EXCERPT]).max() < 1e-3


def test_an_overlap_of_a_third(song: np.ndarray, song_mix: np.ndarray, tmp_path: Path) -> None:
    """Neither file holds the other: the share of the shorter one says nothing against it."""
    pair = loaded(tmp_path, song[:, : 32 * PAIR_RATE], song_mix[:, 20 * PAIR_RATE :])
    assert pair.lag_seconds == pytest.approx(-20.0, abs=0.001)
    assert pair.raw.shape[1] == pytest.approx(12 * PAIR_RATE, abs=4410)


def test_no_padding_in_excerpts(song: np.ndarray) -> None:
    """The loudest part and the segments lie where the mix holds something."""
    silent = np.zeros((2, song.shape[1]), np.float32)
    silent[:, EXCERPT] = song[:, EXCERPT]
    start = loudest_start(song, 8 * PAIR_RATE, mixed=silent)
    assert EXCERPT.start <= start <= EXCERPT.stop - 8 * PAIR_RATE
    pair = Pair("song", song, silent, 0.0, 1, 1.0)
    for place in places_of([pair]):
        assert EXCERPT.start - PAIR_RATE <= place.start <= EXCERPT.stop


# Clocks, rates, codecs


@pytest.fixture(scope="module")
def part(song: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thirty seconds, and the mix of them."""
    raw = song[:, 12 * PAIR_RATE : 42 * PAIR_RATE]
    return raw, mixed(raw[0], STUDIO)


@pytest.mark.parametrize("seconds", [0.0, -0.9])
@pytest.mark.parametrize("ppm", [-300.0, 100.0, 1000.0])
def test_clocks_that_drift(
    part: tuple[np.ndarray, np.ndarray], tmp_path: Path, ppm: float, seconds: float
) -> None:
    raw, mix = part
    pair = loaded(tmp_path, raw, -later(at_other_speed(mix, ppm), seconds))
    assert pair.drift_ppm == pytest.approx(ppm, abs=10.0)
    assert pair.lag_seconds == pytest.approx(seconds, abs=0.001)
    assert pair.polarity == -1
    way = "slow" if ppm > 0 else "fast"
    assert any(f"ppm {way}; it was corrected" in line for line in pair.messages)
    # What is left of the lag, at the beginning and at the end.
    for place in (slice(0, 8 * PAIR_RATE), slice(-8 * PAIR_RATE, None)):
        left, sign, _ = align(pair.raw[0, place], pair.mixed[:, place].mean(axis=0))
        assert abs(left) < 0.0003 * PAIR_RATE
        assert sign == 1


def test_no_drift_is_no_news(mix: np.ndarray, take: np.ndarray, tmp_path: Path) -> None:
    pair = loaded(tmp_path, take, mix)
    assert pair.drift_ppm == 0.0
    assert pair.messages == ()


def test_a_film_at_another_speed_is_named(
    song: np.ndarray, song_mix: np.ndarray, tmp_path: Path
) -> None:
    mix = at_other_speed(song_mix, 1e6 * (24.0 / 25.0 - 1.0))
    with pytest.raises(PairError, match=r"another speed: 24 frames played as 25"):
        loaded(tmp_path, song, mix)


@pytest.mark.parametrize("kind", ["mp3", "48 kHz"])
def test_rates_and_codecs(mix: np.ndarray, take: np.ndarray, tmp_path: Path, kind: str) -> None:
    moved = later(mix, 0.007)
    if kind == "mp3":
        pair = loaded(tmp_path, take, through_mp3(moved))
    else:
        pair = loaded(tmp_path, take, resample(moved, PAIR_RATE, 48000), 48000)
    assert pair.lag_seconds == pytest.approx(0.007, abs=0.001)
    assert pair.polarity == 1
    assert pair.messages == ()
