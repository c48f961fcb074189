"""From float samples to the numbers that a file stores: scaling, dither, rounding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

__all__ = ["CODED_SAMPLES", "encoded", "encoded_blocks"]

CODED_SAMPLES = 1 << 17
"""Of a block; the dither is drawn block by block."""


def encoded_blocks(
    samples: np.ndarray, gain: float, bit_depth: str, seed: int
) -> Iterator[np.ndarray]:
    """Give a signal block by block as it is stored, so that long files cost no memory.

    Integers get triangular dither, 2 LSB from peak to peak: the error is then free of distortion
    and its variance is LSB²/4 whatever the signal (Lipshitz, Wannamaker, Vanderkooy 1992).

    Parameters
    ----------
    samples : numpy.ndarray
        ``(channels, samples)``, full scale at ±1.0.
    gain : float
        Linear gain.
    bit_depth : {"32f", "24", "16"}
        float32, or integers of that many bits.
    seed : int
        Seed of the dither.

    Yields
    ------
    numpy.ndarray
        ``(block, channels)``, C-contiguous: float32, int16, or int32 with the 24 bits on top, as
        libsndfile takes them. Codes stop at the rails.
    """
    starts = range(0, samples.shape[1], CODED_SAMPLES)
    blocks = (samples[:, start : start + CODED_SAMPLES] for start in starts)
    yield from encoded(blocks, gain, bit_depth, seed)


def encoded(
    blocks: Iterable[np.ndarray], gain: float, bit_depth: str, seed: int
) -> Iterator[np.ndarray]:
    """Give blocks of :data:`CODED_SAMPLES`, the last one shorter, as :func:`encoded_blocks` does.

    Parameters
    ----------
    blocks : iterable of ndarray
        ``(channels, samples)`` each.
    gain, bit_depth, seed
        See :func:`encoded_blocks`.
    """
    generator = np.random.default_rng(seed)
    for samples in blocks:
        block = samples.T
        if bit_depth == "32f":
            scaled = block if gain == 1.0 else block * np.float64(gain)
            yield np.ascontiguousarray(scaled, dtype=np.float32)
            continue
        rail = 2.0 ** (int(bit_depth) - 1)
        # The difference of two even distributions one LSB wide is a triangle two LSB wide.
        dither_lsb = generator.random(block.shape) - generator.random(block.shape)
        codes = np.rint(block.astype(np.float64) * (gain * rail) + dither_lsb)
        codes = np.ascontiguousarray(np.clip(codes, -rail, rail - 1))
        yield codes.astype(np.int16) if bit_depth == "16" else codes.astype(np.int32) << 8
