"""The log-mel encoder on NumPy arrays: what :mod:`.logmel` computes once trained, without PyTorch.

The normalisations that follow a convolution are part of its weights, and a convolution is a matrix
product: of the weights with the nine neighbours of every place. Windows are encoded one after the
other, so that a window's features depend on it alone and memory stays small.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .logmel_shape import HIGHEST_HZ, LOWEST_HZ, POWER_FLOOR, SAMPLE_RATE, LogMelShape

__all__ = ["LogMelArrays", "gelu", "mel_bank"]

NORM_EPSILON = 1e-5
"""PyTorch's, added to the variance of a normalisation."""

SLANEY_BREAK_HZ, SLANEY_HZ_PER_MEL = 1000.0, 200.0 / 3.0
SLANEY_LOG_STEP = math.log(6.4) / 27.0

ERF_NUMERATOR = (
    1.128378987312317, 0.20473095774650574, 0.05121570825576782, 0.003911836072802544,
    0.00014732187264598906, -1.9848862393700983e-06, 1.9906570614125485e-08,
)  # fmt: skip
ERF_DENOMINATOR = (
    1.0, 0.5147678852081299, 0.11699274927377701, 0.01477025169879198, 0.0010085677495226264,
)  # fmt: skip
ERF_REACH = 3.92
"""``erf(z) ≈ z·P(z²)/Q(z²)`` within ±4·10⁻⁷ in single precision, fitted by least squares; beyond
the reach erf is ±1."""

LONGEST_SUM = 512
BLOCK = 1 << 14
"""Numbers that stay in the processor's cache through the steps of a formula."""


class LogMelArrays:
    """The encoder of a saved model; see :class:`.logmel.LogMelEncoder`.

    Parameters
    ----------
    shape : LogMelShape
        Its numbers.
    weights : mapping of str to ndarray
        By the names of its state dict, of the shapes that `shape` says.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, shape: LogMelShape, weights: Mapping[str, np.ndarray]) -> None:
        self.shape, self.dim = shape, shape.dim
        self.bank = mel_bank(shape.n_fft // 2 + 1, shape.mels, SAMPLE_RATE)
        self.bank *= np.float32(SAMPLE_RATE / shape.n_fft)
        turn = 2.0 * np.pi * np.arange(shape.window) / shape.window
        self.window = (0.5 - 0.5 * np.cos(turn)).astype(np.float32)
        self.stages = [
            (
                _folded(weights, f"blocks.{i}.0", f"blocks.{i}.1"),
                _folded(weights, f"blocks.{i}.3.body.0", f"blocks.{i}.3.body.1"),
                _folded(weights, f"blocks.{i}.3.body.3", f"blocks.{i}.3.body.4"),
            )
            for i in range(len(shape.widths))
        ]
        self.project = np.ascontiguousarray(weights["project.weight"].T, np.float32)
        self.project_bias = weights["project.bias"].astype(np.float32)

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Turn ``(batch, channels, samples)`` at 44.1 kHz into ``(batch, frames, dim)`` float32."""
        return np.stack([self.frames_of(self.mel(one.mean(axis=0))) for one in audio])

    def mel(self, audio: np.ndarray) -> np.ndarray:
        """Return the scaled log-mel spectrogram of ``(samples,)``, ``(mels, frames)``."""
        shape = self.shape
        padded = np.pad(audio.astype(np.float32, copy=False), shape.n_fft // 2)
        count = 1 + (len(padded) - shape.n_fft) // shape.hop
        # The window lies in the middle of a frame; zeros around it turn phases alone.
        inner = padded[(shape.n_fft - shape.window) // 2 :]
        frames = np.lib.stride_tricks.sliding_window_view(inner, shape.window)[:: shape.hop]
        spectrum = np.fft.rfft(frames[:count] * self.window, shape.n_fft)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        power = power.astype(np.float32, copy=False) / np.square(self.window).sum()
        # Longer sums depend on how many threads share them.
        parts = [
            slice(start, start + LONGEST_SUM) for start in range(0, len(self.bank), LONGEST_SUM)
        ]
        mel = np.sum([power[:, part] @ self.bank[part] for part in parts], axis=0)
        scaled: np.ndarray = (10.0 * np.log10(mel + np.float32(POWER_FLOOR)) + 40.0) / 20.0
        return scaled.T.astype(np.float32, copy=False)

    def frames_of(self, mel: np.ndarray) -> np.ndarray:
        """Turn a scaled log-mel spectrogram ``(mels, frames)`` into features ``(frames, dim)``."""
        pool = self.shape.pool
        spare = -mel.shape[1] % pool
        mel = np.pad(mel, ((0, 0), (0, spare)), mode="edge") if spare else mel
        x = np.ascontiguousarray(mel)[None]
        for stage, stride in zip(self.stages, self.shape.time_strides, strict=True):
            down, grouped, mixed = stage
            x = gelu(_convolved(x, *down, (2, stride)))
            inner = gelu(_convolved(x, *grouped, (1, 1)))
            weight, bias = mixed
            x += (weight[:, :, 0, 0] @ inner.reshape(len(inner), -1) + bias[:, None]).reshape(
                x.shape
            )
            x = gelu(x)
        learnt = x.reshape(-1, x.shape[-1]).T @ self.project + self.project_bias
        pooled = mel.reshape(len(mel), -1, pool).mean(axis=2)
        return np.concatenate((learnt, pooled.T), axis=1)


def mel_bank(bins: int, mels: int, sample_rate: int) -> np.ndarray:
    """Return triangles of equal area on Slaney's mel scale, ``(bins, mels)`` float32.

    The scale is linear up to 1 kHz, 66.7 Hz a mel, and logarithmic above it (Slaney, "Auditory
    Toolbox", 1998).

    Parameters
    ----------
    bins : int
        From 0 Hz to half the sample rate.
    mels : int
        Triangles from 20 Hz to 20 kHz; each begins and ends at the tops of its neighbours.
    sample_rate : int
        Hz.
    """
    log_from = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL
    low, high = LOWEST_HZ, HIGHEST_HZ
    low_mel = low / SLANEY_HZ_PER_MEL
    high_mel = log_from + math.log(high / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    # In single precision, as models are trained with it: differences of frequencies lose digits.
    mel = _evenly_spaced(np.float32(low_mel), np.float32(high_mel), mels + 2)
    above = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * np.maximum(mel - log_from, 0.0))
    edges_hz = np.where(mel < log_from, SLANEY_HZ_PER_MEL * mel, above).astype(np.float32)
    freq_hz = np.linspace(0.0, sample_rate // 2, bins).astype(np.float32)[:, None]
    width_hz = np.diff(edges_hz)
    rising = (freq_hz - edges_hz[:-2]) / width_hz[:-1]
    falling = (edges_hz[2:] - freq_hz) / width_hz[1:]
    triangles = np.maximum(np.float32(0.0), np.minimum(rising, falling))
    found: np.ndarray = triangles * (np.float32(2.0) / (edges_hz[2:] - edges_hz[:-2]))
    return found


def _evenly_spaced(low: np.float32, high: np.float32, count: int) -> np.ndarray:
    """Numbers from one end to the other, each half counted from its own end, as PyTorch does it."""
    place = np.arange(count)
    step = float((high - low) / np.float32(count - 1))
    up, down = float(low) + step * place, float(high) - step * (count - 1 - place)
    return np.where(place < count // 2, up, down).astype(np.float32)


def gelu(values: np.ndarray) -> np.ndarray:
    """Apply ``x·(1 + erf(x/√2))/2`` to float32 values in place, and return them."""
    flat = values.reshape(-1)
    for start in range(0, len(flat), BLOCK):
        block = flat[start : start + BLOCK]
        z = np.clip(block * np.float32(math.sqrt(0.5)), -ERF_REACH, ERF_REACH)
        square = z * z
        z *= _polynomial(ERF_NUMERATOR, square)
        z /= _polynomial(ERF_DENOMINATOR, square)
        z += np.float32(1.0)
        block *= z
        block *= np.float32(0.5)
    return values


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    *others, last = coefficients
    found = x * np.float32(last)
    for coefficient in others[:0:-1]:
        found += np.float32(coefficient)
        found *= x
    found += np.float32(others[0])
    return found


def _folded(
    weights: Mapping[str, np.ndarray], convolution: str, norm: str
) -> tuple[np.ndarray, np.ndarray]:
    """The weight and bias of a convolution and of the normalisation that follows it."""
    scale, offset, mean, variance = (
        weights[f"{norm}.{name}"].astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    with np.errstate(invalid="ignore"):
        gain = scale / np.sqrt(variance + NORM_EPSILON)
        weight = weights[f"{convolution}.weight"] * gain[:, None, None, None]
        bias = offset - mean * gain
    return weight.astype(np.float32), bias.astype(np.float32)


def _convolved(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: tuple[int, int]
) -> np.ndarray:
    """Filter ``(channels, rows, columns)`` with 3×3 weights, in as many groups as these have."""
    channels, rows, columns = x.shape
    out, of_group = weight.shape[:2]
    groups = channels // of_group
    down, along = stride
    high, wide = (rows - 1) // down + 1, (columns - 1) // along + 1
    padded = np.zeros((channels, rows + 2, columns + 2), np.float32)
    padded[:, 1:-1, 1:-1] = x
    neighbours = np.empty((channels, 9, high, wide), np.float32)
    for place in range(9):
        i, j = divmod(place, 3)
        neighbours[:, place] = padded[:, i : i + down * high : down, j : j + along * wide : along]
    product = np.matmul(
        weight.reshape(groups, out // groups, 9 * of_group),
        neighbours.reshape(groups, 9 * of_group, high * wide),
    )
    found: np.ndarray = product.reshape(out, high, wide) + bias[:, None, None]
    return found
