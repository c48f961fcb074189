"""What tuning, doubling, editing and transfers do to a mix, with known lag: inputs for tests.

Each disturbance takes ``(channels, samples)`` at 44.1 kHz and returns the same; positive lags lie
later. Everything is seeded.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import scipy.interpolate
import scipy.signal
import soundfile
import soxr

RATE = 44100

__all__ = [
    "at_other_speed",
    "band_limited",
    "doubled",
    "later",
    "noisy",
    "retuned",
    "shifted_in_pitch",
    "stretched",
    "through_mp3",
]


def later(audio: np.ndarray, seconds: float) -> np.ndarray:
    """Silence in front, or less of the beginning; the length is kept where silence comes in."""
    samples = round(seconds * RATE)
    if samples < 0:
        return audio[:, -samples:]
    return np.pad(audio, ((0, 0), (samples, 0)))[:, : audio.shape[1]]


def warped(audio: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Read the samples at these fractional places, by windowed sinc over 32 neighbours."""
    whole = np.floor(positions).astype(np.int64)
    share = positions - whole
    taps = np.arange(-15, 17)
    result = np.zeros((len(audio), len(positions)))
    padded = np.pad(audio, ((0, 0), (16, 17)))
    whole = np.clip(whole, 0, audio.shape[1] - 1)
    for tap in taps:
        distance = share - tap
        weight = np.sinc(distance) * np.cos(np.pi * distance / 34.0) ** 2
        result += padded[:, whole + tap + 16] * weight
    return result.astype(np.float32)


def stretched(audio: np.ndarray, seed: int, most_ms: float = 20.0) -> np.ndarray:
    """Move syllables by up to `most_ms`, smoothly, with no delay on average."""
    rng = np.random.default_rng((seed, 1))
    samples = audio.shape[1]
    knots = max(5, round(samples / RATE / 0.8))
    offsets = rng.uniform(-1.0, 1.0, knots)
    offsets -= offsets.mean()
    offsets *= most_ms / 1000.0 * RATE / max(np.abs(offsets).max(), 1e-9)
    places = np.linspace(0, samples - 1, knots)
    smooth = scipy.interpolate.PchipInterpolator(places, offsets)(np.arange(samples))
    return warped(audio, np.arange(samples) - smooth)


def shifted_in_pitch(audio: np.ndarray, cents: float) -> np.ndarray:
    """Shift the pitch and keep the time: a phase vocoder, then resampling."""
    factor = 2.0 ** (cents / 1200.0)
    size, hop = 2048, 256
    out = []
    for channel in audio:
        _, _, spectrum = scipy.signal.stft(channel, RATE, nperseg=size, noverlap=size - hop)
        frames = spectrum.shape[1]
        places = np.arange(0, frames - 1, 1.0 / factor)
        left = places.astype(int)
        share = places - left
        magnitude = (1 - share) * np.abs(spectrum[:, left]) + share * np.abs(spectrum[:, left + 1])
        step = np.angle(spectrum[:, left + 1]) - np.angle(spectrum[:, left])
        expected = 2.0 * np.pi * hop * np.arange(size // 2 + 1)[:, None] / size
        step = expected + np.mod(step - expected + np.pi, 2 * np.pi) - np.pi
        phase = np.angle(spectrum[:, :1]) + np.cumsum(step, axis=1) - step
        _, longer = scipy.signal.istft(
            magnitude * np.exp(1j * phase), RATE, nperseg=size, noverlap=size - hop
        )
        result = soxr.resample(longer, RATE * factor, RATE, quality="VHQ")
        out.append(np.pad(result, (0, max(0, len(channel) - len(result))))[: len(channel)])
    return np.array(out, np.float32)


def retuned(audio: np.ndarray, seed: int, cents: float = 30.0) -> np.ndarray:
    """Tune each phrase of one to two seconds by up to `cents`, without moving it in time."""
    rng = np.random.default_rng((seed, 2))
    result = np.zeros_like(audio)
    start, fade = 0, 1024
    while start < audio.shape[1]:
        stop = min(start + int(rng.uniform(1.0, 2.0) * RATE), audio.shape[1])
        amount = rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 1.0) * cents
        first, last = max(start - 4096, 0), min(stop + 4096, audio.shape[1])
        shifted = shifted_in_pitch(audio[:, first:last], amount)
        window = np.zeros(last - first)
        window[start - first : min(stop + fade, last) - first] = 1.0
        if start:
            window[start - first : start - first + fade] = np.linspace(0.0, 1.0, fade)
        if stop < audio.shape[1]:
            tail = window[stop - first : stop - first + fade]
            tail[:] = np.linspace(1.0, 0.0, fade)[: len(tail)]
        result[:, first:last] += shifted * window
        start = stop
    return result.astype(np.float32)


def doubled(audio: np.ndarray, seed: int, cents: float = 8.0) -> np.ndarray:
    """Add a copy, 15 to 30 ms later, 3 dB below, a little out of tune."""
    rng = np.random.default_rng((seed, 3))
    copy = shifted_in_pitch(audio, rng.choice([-1.0, 1.0]) * cents) if cents else audio
    return audio + np.float32(0.7) * later(copy, rng.uniform(0.015, 0.030))


def band_limited(audio: np.ndarray) -> np.ndarray:
    """Like a telephone: 300 to 3400 Hz."""
    sections = scipy.signal.butter(4, (300.0, 3400.0), "bandpass", fs=RATE, output="sos")
    return scipy.signal.sosfilt(sections, audio, axis=1).astype(np.float32)


def noisy(audio: np.ndarray, seed: int, level_db: float = -20.0) -> np.ndarray:
    """Add pink noise under the audio's root mean square."""
    rng = np.random.default_rng((seed, 4))
    spectrum = np.fft.rfft(rng.standard_normal(audio.shape))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.shape[1]), 20.0))
    noise = np.fft.irfft(spectrum, audio.shape[1])
    gain = 10.0 ** (level_db / 20.0) * np.sqrt(np.mean(audio**2) / np.mean(noise**2))
    return (audio + gain * noise).astype(np.float32)


def at_other_speed(audio: np.ndarray, ppm: float) -> np.ndarray:
    """Play slower by `ppm` millionths: what comes at t lies at t · (1 + ppm / 1e6)."""
    return soxr.resample(audio.T, RATE, RATE * (1.0 + 1e-6 * ppm), quality="VHQ").T


def through_mp3(audio: np.ndarray, rate: int = RATE) -> np.ndarray:
    """Write and read an MP3; its encoder's delay stays, as some programs leave it."""
    content = io.BytesIO()
    soundfile.write(content, audio.T, rate, format="MP3")
    content.seek(0)
    decoded, _ = soundfile.read(content, dtype="float32", always_2d=True)
    return np.ascontiguousarray(decoded.T)


Disturbance = Callable[[np.ndarray, int], np.ndarray]

SAME_TIME: dict[str, Disturbance] = {
    "undisturbed": lambda audio, seed: audio,
    "retuned": retuned,
    "stretched": stretched,
    "retuned, stretched": lambda audio, seed: stretched(retuned(audio, seed), seed),
    "doubled": doubled,
    "doubled exactly": lambda audio, seed: doubled(audio, seed, 0.0),
    "band-limited": lambda audio, seed: band_limited(audio),
    "noise bed": noisy,
    "retuned, doubled, band-limited, noise": lambda audio, seed: noisy(
        band_limited(doubled(retuned(audio, seed), seed)), seed
    ),
}
"""What is done to a mix without moving it as a whole."""
