"""The time axis of every picture: ticks where people expect them, one way to write a time."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

__all__ = ["LONG_SECONDS", "time_axis"]

LONG_SECONDS = 60.0
"""From here on times are minutes and seconds, 1:30; below they are seconds."""

STEPS_SECONDS = (
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0,
    30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0,
)  # fmt: skip
MOST_TICKS = 7


def time_axis(axes: Axes, seconds: float, *, label: bool = True) -> None:
    """Let the x axis run over a recording: in seconds below a minute, else as 0:30, 1:00, 1:30.

    Parameters
    ----------
    axes : Axes
        The panel.
    seconds : float
        Length of what is shown.
    label : bool
        Whether the unit stands below the axis.
    """
    seconds = max(seconds, STEPS_SECONDS[0])
    wide = seconds * (1.0 + 1e-9)
    is_long = seconds >= LONG_SECONDS
    steps = [s for s in STEPS_SECONDS if s >= 15.0 or not is_long]
    step = next((s for s in steps if wide / s < MOST_TICKS), steps[-1])
    ticks = step * np.arange(int(wide / step) + 1)
    axes.set_xlim(0.0, seconds)
    axes.set_xticks(ticks, [_clock(t) if is_long else f"{t:.4g}" for t in ticks])
    if label:
        axes.set_xlabel("min:s" if is_long else "s")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
