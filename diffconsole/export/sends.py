"""What the sends of a strip return together, as one impulse response.

With D and R the responses of delay and reverb at their levels and s the level at which the echoes
go into the reverb, the mean of the channels goes through ``D + R + s·(R ∗ mean of D's sides)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..strip.parameters import BY_KEY, PARAMETERS

if TYPE_CHECKING:
    import numpy as np

    from .base import Strip

__all__ = ["CUT", "SEND_KEYS", "delay_notes", "delay_samples", "echo_seconds", "sends_response"]

SEND_KEYS = tuple(p.key for p in PARAMETERS if p.module in ("delay", "reverb"))
"""What stands in the samples of the response."""

CUT = "delay: its echoes end after {:g} s"
"""Said where the response is cut."""

SENT = "delay.reverb_send_db"


def echo_seconds(strip: Strip) -> float:
    """Return how long it takes the echoes of a strip's delay to fall by 120 dB."""
    from ..modules.delay.process import EXACT_DB, echoes

    return echoes(strip["delay.feedback"], EXACT_DB) * strip["delay.time_ms"] / 1000.0


def delay_notes(strip: Strip, most_seconds: float) -> tuple[str, ...]:
    """Say where the echoes end before they have fallen by 60 dB."""
    is_cut = strip.on("delay") and echo_seconds(strip) / 2.0 > most_seconds
    return (CUT.format(most_seconds),) if is_cut else ()


def delay_samples(strip: Strip, most_seconds: float) -> np.ndarray:
    """Return the response of the delay at its level, ``(2, taps)`` float64.

    Parameters
    ----------
    strip : Strip
        Its delay is on.
    most_seconds : float
        Where it ends at the latest; it ends where the echoes have fallen by 120 dB.
    """
    import numpy as np

    from ..modules.delay.process import delay_response, level_of

    values = strip.of("delay").items()
    own: dict[str, Any] = {k: np.array([v], np.float64) for k, v in values}
    level = level_of(own.pop("wet_db"))
    del own["reverb_send_db"]
    most = int(most_seconds * strip.sample_rate)
    found: np.ndarray = delay_response(strip.sample_rate, **own, most=most)[0] * level
    return found


def sends_response(strip: Strip, most_seconds: float) -> np.ndarray:
    """Return the response of delay and reverb together, ``(2, taps)`` float64.

    Parameters
    ----------
    strip : Strip
        Its delay is on, its reverb perhaps.
    most_seconds : float
        Where it ends at the latest.
    """
    import numpy as np
    from scipy.signal import oaconvolve

    found = delay_samples(strip, most_seconds)
    if strip.on("reverb"):
        room = strip.impulse_response() * 10.0 ** (strip["reverb.wet_db"] / 20.0)
        parts = [found, room]
        if strip[SENT] > BY_KEY[SENT].low:
            sent = 10.0 ** (strip[SENT] / 20.0) * found.mean(axis=0, keepdims=True)
            parts.append(oaconvolve(sent, room, axes=1))
        found = np.zeros((2, max(part.shape[1] for part in parts)))
        for part in parts:
            found[:, : part.shape[1]] += part
    return found[:, : int(most_seconds * strip.sample_rate)]
