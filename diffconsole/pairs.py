"""Raw/mixed pairs: find them by name, check that they are one performance, align them.

Alignment is in two steps. The energies of four bands, every 10 ms, say by how many frames the
mix lies later and whether it is the same performance at all: mixing changes tone and dynamics,
but not when a syllable starts. Around that lag the cross-correlation of the samples says the
rest, to a fraction of a sample, and the polarity.
"""

from __future__ import annotations

import csv
import math
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .audio import loudness_lufs, read_audio, resample
from .errors import PairError

__all__ = [
    "Pair",
    "PairFiles",
    "align",
    "find_pairs",
    "load_pair",
    "loudest_start",
    "pair_key",
    "read_pair_list",
]

PAIR_RATE = 44100
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64")
NAME_ENDINGS = ("raw", "dry", "mix", "mixed", "wet", "processed")
# Nine real mixes, and far heavier ones made by the console, lie above 0.6; other performances
# of five seconds below 0.45, longer ones lower.
LOWEST_CORRELATION = 0.5
FRAME = 441
BAND_EDGES_HZ = (100.0, 400.0, 1000.0, 2500.0, 6000.0)
HIGHEST_HZ = 8000.0
SEARCH_SAMPLES = 1323
BLOCK, SPECTRUM = 1 << 16, 1 << 17
# A lag is distinct if it stands out this much from all that is farther away than its own peak.
DISTINCT, PEAK_SAMPLES = 2.0, 10
SHORTEST_SECONDS = 1.0
MOST_SECONDS = 40.0
SILENT_PEAK = 1e-5
# Breaths and room lie between a raw vocal's words and digital silence between a mix's: neither
# counts below this share of the loudest frame's energy.
FLOOR = 1e-5
TREND_FRAMES = 51
LEAST_OVERLAP = 0.8


@dataclass(frozen=True)
class PairFiles:
    """Two files that belong together by name.

    Attributes
    ----------
    name : str
        Of the raw file, without its suffix.
    raw, mixed : Path
        The files.
    """

    name: str
    raw: Path
    mixed: Path


@dataclass(frozen=True)
class Pair:
    """An aligned pair at 44.1 kHz.

    Attributes
    ----------
    name : str
        Of the files.
    raw : ndarray
        ``(1 or 2, samples)`` float32, as the file lies.
    mixed : ndarray
        ``(2, samples)`` float32, moved to the raw's timing and polarity.
    lag_seconds : float
        By how much the mixed file lies later than the raw.
    polarity : int
        −1 where the mix is inverted.
    correlation : float
        Of the bands' energies, 1 at most.
    """

    name: str
    raw: np.ndarray
    mixed: np.ndarray
    lag_seconds: float
    polarity: int
    correlation: float


def pair_key(path: Path) -> str:
    """Return a file's name without its suffix and without endings such as ``_raw`` or ``-mix``.

    Examples
    --------
    >>> pair_key(Path("Song 1_Raw.wav")) == pair_key(Path("song 1 (mixed).flac"))
    True
    """
    # Some systems write é as two characters, some as one.
    key = unicodedata.normalize("NFC", path.stem).casefold()
    ending = re.compile(rf"[\s_\-.()\[\]]+(?:{'|'.join(NAME_ENDINGS)})[\s_\-.()\[\]]*$")
    while (shorter := ending.sub("", key)) and shorter != key:
        key = shorter
    return key.strip(" _-.()[]")


def find_pairs(
    raw_folder: str | Path, mixed_folder: str | Path
) -> tuple[list[PairFiles], list[str]]:
    """Pair the audio files of two folders by name.

    Parameters
    ----------
    raw_folder, mixed_folder : str or Path
        Folders; their subfolders are not searched.

    Returns
    -------
    pairs : list of PairFiles
        In order of the name.
    left_over : list of str
        One line for each file that found no partner.

    Raises
    ------
    PairError
        Not a folder, no pair at all, or two files of one folder with the same name.
    """
    raw, mixed = _by_key(Path(raw_folder)), _by_key(Path(mixed_folder))
    shared = sorted(set(raw) & set(mixed))
    if not shared:
        raise PairError(
            f"no file of {raw_folder} has a partner of the same name in {mixed_folder} "
            f"(endings {', '.join(NAME_ENDINGS)} are ignored); or give --pairs CSV"
        )
    left_over = [f"{raw[k]}: no partner in {mixed_folder}" for k in sorted(set(raw) - set(mixed))]
    left_over += [f"{mixed[k]}: no partner in {raw_folder}" for k in sorted(set(mixed) - set(raw))]
    return [PairFiles(raw[k].stem, raw[k], mixed[k]) for k in shared], left_over


def _by_key(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise PairError(f"{folder}: not a folder; give the folder that holds the files")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not hidden:
            key = pair_key(path)
            if key in found:
                raise PairError(
                    f"{folder}: {found[key].name} and {path.name} have the same name for pairing; "
                    "rename one, or give --pairs CSV"
                )
            found[key] = path
    return found


def read_pair_list(table: str | Path) -> list[PairFiles]:
    """Read pairs from a CSV with the columns ``raw`` and ``mixed``.

    Relative paths start at the folder of the CSV.

    Raises
    ------
    PairError
        Missing, without these columns, or without a row.
    """
    table = Path(table)
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise PairError(f"{table}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PairError(f"{table}: cannot be read as CSV ({error})") from None
    if not rows or not {"raw", "mixed"} <= set(rows[0]):
        raise PairError(f"{table}: needs a header with 'raw' and 'mixed' and a row for each pair")
    pairs = []
    for number, row in enumerate(rows, start=2):
        if not row["raw"] or not row["mixed"]:
            raise PairError(f"{table}: line {number} lacks a raw or a mixed file")
        raw, mixed = (table.parent / row[column] for column in ("raw", "mixed"))
        pairs.append(PairFiles(raw.stem, raw, mixed))
    return pairs


def load_pair(files: PairFiles) -> Pair:
    """Read, check and align a pair; of a longer one the loudest 40 seconds are kept.

    A studio's two hundred songs then fit into memory.

    Raises
    ------
    PairError
        Not the same performance (with the correlation found), too short, or silent.
    AudioError
        A file cannot be read.
    """
    raw, mixed = (_at_pair_rate(path) for path in (files.raw, files.mixed))
    for path, samples in ((files.raw, raw), (files.mixed, mixed)):
        if samples.shape[1] < SHORTEST_SECONDS * PAIR_RATE:
            raise PairError(f"{path}: shorter than {SHORTEST_SECONDS:g} s")
        if float(np.max(np.abs(samples))) < SILENT_PEAK:
            raise PairError(f"{path}: silent (below -70 LUFS)")
    lag, polarity, correlation = align(raw.mean(axis=0), mixed.mean(axis=0))
    if correlation < LOWEST_CORRELATION:
        raise PairError(
            f"{files.raw} and {files.mixed}: not the same performance (correlation "
            f"{correlation:.2f}, at least {LOWEST_CORRELATION} is needed); check the names"
        )
    mixed = polarity * _shift(mixed, round(lag), raw.shape[1])
    start = loudest_start(raw, int(MOST_SECONDS * PAIR_RATE))
    part = slice(start, start + int(MOST_SECONDS * PAIR_RATE))
    raw, mixed = (np.array(samples[:, part], np.float32) for samples in (raw, mixed))
    for path, samples in ((files.raw, raw), (files.mixed, mixed)):
        if not math.isfinite(loudness_lufs(samples, PAIR_RATE)):
            raise PairError(f"{path}: silent (below -70 LUFS)")
    mixed = np.array(np.broadcast_to(mixed, (2, raw.shape[1])))
    return Pair(files.name, raw, mixed, lag / PAIR_RATE, polarity, correlation)


def loudest_start(raw: np.ndarray, length: int, first: int = 0, last: int | None = None) -> int:
    """Find where the loudest part of a vocal begins.

    Parameters
    ----------
    raw : ndarray
        ``(channels, samples)`` at 44.1 kHz.
    length : int
        Samples of the part; a shorter file begins at 0.
    first, last : int
        Samples that the part lies between, or at least starts in.

    Returns
    -------
    int
        A multiple of half a second after `first`, or the last possible start.
    """
    samples = raw.shape[1]
    if samples <= length:
        return 0
    last = samples if last is None else last
    energy = np.concatenate(([0.0], np.cumsum(np.mean(raw.astype(np.float64) ** 2, axis=0))))
    starts = np.arange(first, max(last - length, first) + 1, PAIR_RATE // 2)
    starts = np.minimum(starts, samples - length)
    return int(starts[np.argmax(energy[starts + length] - energy[starts])])


def _at_pair_rate(path: Path) -> np.ndarray:
    samples, rate = read_audio(path)
    return resample(samples, rate, PAIR_RATE)


def _shift(samples: np.ndarray, lag: int, length: int) -> np.ndarray:
    """Take away `lag` samples at the start (or add silence), cut or padded to `length`."""
    moved = samples[:, lag:] if lag >= 0 else np.pad(samples, ((0, 0), (-lag, 0)))
    missing = max(length - moved.shape[1], 0)
    return np.pad(moved[:, :length], ((0, 0), (0, missing)))


def align(raw: np.ndarray, mixed: np.ndarray) -> tuple[float, int, float]:
    """Find how much later the mix lies, its polarity, and whether it is the same performance.

    Parameters
    ----------
    raw, mixed : ndarray
        ``(samples,)`` at 44.1 kHz.

    Returns
    -------
    lag : float
        Samples, positive where the mix is later.
    polarity : int
        1 or −1.
    correlation : float
        Of the bands' log-energies at the best lag, where both files lie, 1 at most; less the
        more the overlap falls short of 80 % of the shorter file.
    """
    a, b = _band_energies(raw), _band_energies(mixed)
    length = _next_power(a.shape[1] + b.shape[1])
    product = np.conj(np.fft.rfft(a, length)) * np.fft.rfft(b, length)
    best = int(np.argmax(np.fft.irfft(product.sum(axis=0), length)))
    frames = best if best < length // 2 else best - length
    correlation = _overlap_correlation(a, b, frames)

    lag, polarity = _fine_lag(raw, mixed, frames * FRAME)
    return lag, polarity, correlation


def _fine_lag(raw: np.ndarray, mixed: np.ndarray, coarse: int) -> tuple[float, int]:
    """Lag and polarity by the cross-correlation of the samples around a coarse lag.

    The phases alone say it best, whatever the mix did to the tone: an EQ can move the ordinary
    cross-correlation by a period of a formant, and invert it. Where they show no distinct lag, as
    in a doubled vocal, the ordinary one decides.
    """
    cross = _cross_spectrum(raw, mixed, coarse)
    freq_hz = np.fft.rfftfreq(SPECTRUM, 1.0 / PAIR_RATE)
    cross *= (freq_hz > BAND_EDGES_HZ[0]) & (freq_hz < HIGHEST_HZ)
    size = np.abs(cross)
    by_phase, plain = (
        np.fft.irfft(c, SPECTRUM)[: 2 * SEARCH_SAMPLES + 1]
        for c in (cross / np.maximum(size, 1e-12 * size.max() + 1e-30), cross)
    )
    place = np.arange(len(plain))
    strength = np.abs(by_phase)
    peak = int(np.argmax(strength))
    away = np.abs(place - peak) > PEAK_SAMPLES
    if strength[peak] < DISTINCT * strength[away].max():
        by_phase, strength = plain, np.abs(plain)
        peak = int(np.argmax(strength))
    lag = coarse - SEARCH_SAMPLES + peak + _vertex(strength, peak)
    return float(lag), 1 if by_phase[peak] >= 0 else -1


def _cross_spectrum(raw: np.ndarray, mixed: np.ndarray, coarse: int) -> np.ndarray:
    """Sum over blocks; its transform holds the lags from `coarse` − search to + search."""
    total = np.zeros(SPECTRUM // 2 + 1, complex)
    for start in range(0, len(raw), BLOCK):
        ours = raw[start : start + BLOCK]
        first = start + coarse - SEARCH_SAMPLES
        theirs = mixed[max(first, 0) : max(first + len(ours) + 2 * SEARCH_SAMPLES, 0)]
        theirs = np.pad(theirs, (max(-first, 0), 0)) if len(theirs) else theirs
        if len(theirs):
            total += np.conj(np.fft.rfft(ours, SPECTRUM)) * np.fft.rfft(theirs, SPECTRUM)
    return total


def _overlap_correlation(a: np.ndarray, b: np.ndarray, frames: int) -> float:
    """Correlation of `a` with `b` `frames` later, over what they share."""
    x, y = a[:, max(-frames, 0) :], b[:, max(frames, 0) :]
    shared = min(x.shape[1], y.shape[1])
    x, y = x[:, :shared], y[:, :shared]
    share = shared / (LEAST_OVERLAP * min(a.shape[1], b.shape[1]))
    similar = float(np.sum(x * y) / (np.sqrt(np.sum(x**2) * np.sum(y**2)) + 1e-12))
    return min(share, 1.0) * min(similar, 1.0)


def _next_power(samples: int) -> int:
    return 1 << samples.bit_length()


def _vertex(values: np.ndarray, peak: int) -> float:
    """Offset of a parabola's top from its highest sample, −0.5…0.5."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    left, top, right = values[peak - 1 : peak + 2]
    bend = left - 2.0 * top + right
    return float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def _band_energies(mono: np.ndarray) -> np.ndarray:
    """Log-energy of four bands every 10 ms, around the mean of half a second: ``(bands, frames)``.

    A reverb fills the gaps and a compressor levels the phrases, but both let a syllable stand
    out from the half second around it.
    """
    import scipy.signal

    padded = np.pad(mono, (0, max(0, 2048 - len(mono))))
    freq_hz, _, spectrum = scipy.signal.stft(padded, PAIR_RATE, nperseg=2048, noverlap=2048 - FRAME)
    power = np.abs(spectrum) ** 2
    edges = zip(BAND_EDGES_HZ, BAND_EDGES_HZ[1:], strict=False)
    bands = [power[(freq_hz >= low) & (freq_hz < high)].sum(axis=0) for low, high in edges]
    floor = FLOOR * np.max(power.sum(axis=0)) + 1e-20
    energies = np.log10(np.array(bands) + floor)
    window = np.hanning(TREND_FRAMES + 2)[1:-1]
    half = TREND_FRAMES // 2
    padded = np.pad(energies, ((0, 0), (half, half)), mode="edge")
    trend = [np.convolve(row, window / window.sum(), "valid") for row in padded]
    return energies - np.array(trend)
