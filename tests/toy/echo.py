"""A send with one echo: the mean of the channels on both sides, later and scaled.

``y(t) = 10^(level_db/20)·x(t − delay_ms)``, to whole samples. Its twin for the page is ``echo.js``
beside this file; it has none for REAPER.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from diffconsole.strip.module import Module
from diffconsole.strip.parameter import Parameter

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ECHO", "process", "tail_samples"]

KEY = "echo"

ECHO = Module(
    key=KEY,
    title="Echo",
    place="send",
    parameters=(
        Parameter(KEY, "delay_ms", "ms", 10.0, 500.0, "log", 120.0, "Time of the echo"),
        Parameter(
            KEY, "level_db", "dB", -60.0, 0.0, "linear", -12.0,
            "Level of the echo against the dry signal", amount="level", neutral=-60.0,
        ),
    ),
    implementation=__name__,
    since=4,
    gain_after="level_db",
    script="echo.js",
)  # fmt: skip


def process(audio: Tensor, sample_rate: float, delay_ms: Tensor, level_db: Tensor) -> Tensor:
    """Return the echo alone, ``(batch, 2, samples)``."""
    import torch

    samples = audio.shape[-1]
    level = (10.0 ** (level_db / 20.0)).to(audio)[:, None, None]
    rows = []
    for one, delay in zip(audio.mean(dim=1, keepdim=True), delay_ms.tolist(), strict=True):
        late = round(delay / 1000.0 * sample_rate)
        rows.append(torch.nn.functional.pad(one, (late, 0))[..., :samples])
    return (level * torch.stack(rows)).repeat(1, 2, 1)


def tail_samples(sample_rate: float, settings: Mapping[str, float]) -> int:
    """Return the samples until the echo has ended."""
    return round(settings["delay_ms"] / 1000.0 * sample_rate)
