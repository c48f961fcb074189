"""Cookbook coefficients by torch's operations, on every device; see :mod:`.coefficients`.

dasp-pytorch's ``biquad`` serves, in float64: in float32 its low bands are off by −28 dB.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from dasp_pytorch.signal import biquad
from torch import Tensor

from .kinds import KINDS, WITHOUT_GAIN

__all__ = ["coefficients"]


def coefficients(
    settings: Tensor, kinds: Sequence[int], sample_rate: float, highest_hz: float
) -> Tensor:
    """Return what :func:`.coefficients.section_coefficients` does, kinds as places in `KINDS`."""
    count = len(kinds)
    freq_hz = settings[:count].clamp(max=highest_hz)
    q, gains_db = settings[count : 2 * count], settings[2 * count :]
    with_gain = [place for place, kind in enumerate(kinds) if kind not in WITHOUT_GAIN]
    rows: dict[int, Tensor] = {}
    # Sections of a kind in one go: each call costs some forty small operations.
    for kind in dict.fromkeys(kinds):
        alike = [place for place, own in enumerate(kinds) if own == kind]
        own_freq = torch.cat([freq_hz[place] for place in alike])
        if kind in WITHOUT_GAIN:
            own_gain = torch.zeros_like(own_freq)
        else:
            own_gain = torch.cat([gains_db[with_gain.index(place)] for place in alike])
        own_q = torch.cat([q[place] for place in alike])
        b, a = biquad(own_gain, own_freq, own_q, sample_rate, KINDS[kind])
        found = torch.cat((b, a[:, 1:]), dim=-1)
        rows.update(zip(alike, found.chunk(len(alike)), strict=True))
    sections = torch.stack([rows[place] for place in range(count)], dim=1)
    if len(gains_db) == len(with_gain):
        return sections
    factor = (10.0 ** (gains_db[-1] / 20.0)).reshape(-1, 1, 1)
    first = torch.cat((factor * sections[:, :1, :3], sections[:, :1, 3:]), dim=-1)
    return torch.cat((first, sections[:, 1:]), dim=1)
