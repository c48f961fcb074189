"""What the module ``shine`` of :mod:`.grown_strip` does: a gain."""

from __future__ import annotations

from torch import Tensor

runs: list[float] = []


def process(audio: Tensor, sample_rate: float, gain_db: Tensor) -> Tensor:
    """Return louder audio."""
    runs.append(float(gain_db[0]))
    return audio * 10.0 ** (gain_db[:, None, None] / 20.0).to(audio)
