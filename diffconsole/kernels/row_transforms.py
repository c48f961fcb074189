"""Fourier transforms of long rows of tensors, by what is fastest for so many rows.

Of one row torch's library on the CPU takes two to three times as long as SciPy's, and of two that
do not fit into the cache its time varies by a factor of two. For more rows, shorter ones and on
other devices torch's serve.
"""

from __future__ import annotations

import scipy.fft
import torch
from torch import Tensor

from .threads import thread_count

__all__ = ["to_samples", "to_spectrum"]

LONGEST_PAIR = 1 << 19
"""Samples of each of two rows up to which torch's transforms serve."""


def _is_for_scipy(rows: Tensor, length: int) -> bool:
    count = rows.shape[:-1].numel()
    return rows.device.type == "cpu" and (count == 1 or (count == 2 and length > LONGEST_PAIR))


def to_spectrum(rows: Tensor) -> Tensor:
    """Return ``torch.fft.rfft`` of rows without a gradient, in their precision."""
    if not _is_for_scipy(rows, rows.shape[-1]):
        return torch.fft.rfft(rows)
    found: Tensor = torch.from_numpy(scipy.fft.rfft(rows.numpy(), workers=thread_count()))
    return found


def to_samples(spectrum: Tensor, length: int) -> Tensor:
    """Return ``torch.fft.irfft`` of spectra without a gradient, in their precision."""
    if not _is_for_scipy(spectrum, length):
        return torch.fft.irfft(spectrum, length)
    given = spectrum.resolve_conj().numpy()
    found: Tensor = torch.from_numpy(scipy.fft.irfft(given, length, workers=thread_count()))
    return found
