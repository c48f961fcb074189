"""What the Linux Studio Plugins' gate calls a strip's gate.

Its detector is ours, with the times of its compressor. Its curve falls from a threshold, over a
zone below it, to a reduction: in dB as ``3t² − 2t³``, where ours is a straight line from the
threshold T over ``W = range/(ratio − 1)``. Of all such curves the one from ``T + 0.16·W`` over
``1.32·W`` is closest, by least squares; it differs by 4 % of the range at most. The zone ends at
60 dB; a flatter curve keeps its slope there, and turns down less at its end. Its threshold ends at
−60 dB, below which the detector is turned up instead. Source: LSP's documentation and measurement
with release 1.2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..strip.parameters import BY_KEY
from .base import Strip
from .gate_hold import hold_notes, release_ms

__all__ = ["GATE", "Gate", "gate_notes", "gate_of", "settings_of"]

GATE = "gate"
ABOVE, ZONE = 0.16, 1.32
LARGEST_ZONE_DB = LOWEST_THRESHOLD_DB = 60.0
RANGE = "gate.range_db: LSP's curve ends 60 dB below its start; it turns down by {} at most"


class Gate(NamedTuple):
    """A gate of LSP.

    Attributes
    ----------
    threshold_db, zone_db, reduction_db : float
        Where the curve starts, in dBFS of the detector, by how much lower it ends, and how much it
        turns down there; 0 and less.
    preamp_db : float
        Gain in front of the detector.
    release_ms : float
        Time constant.
    """

    threshold_db: float
    zone_db: float
    reduction_db: float
    preamp_db: float
    release_ms: float


def _width_db(own: Mapping[str, float]) -> float:
    return min(own["range_db"] / (own["ratio"] - 1.0), LARGEST_ZONE_DB / ZONE)


def gate_of(own: Mapping[str, float]) -> Gate:
    """Return LSP's gate for a strip's, which does something; settings by name."""
    width_db = _width_db(own)
    threshold_db = own["threshold_db"] + ABOVE * width_db
    preamp_db = max(-LOWEST_THRESHOLD_DB - threshold_db, 0.0)
    return Gate(
        threshold_db=threshold_db + preamp_db,
        zone_db=-ZONE * width_db,
        reduction_db=-(own["ratio"] - 1.0) * width_db,
        preamp_db=preamp_db,
        release_ms=release_ms(own),
    )


def settings_of(gate: Gate) -> dict[str, float]:
    """Return a strip's settings by key, without the attack; the hold is in the release."""
    width_db = -gate.zone_db / ZONE
    return {
        "gate.threshold_db": gate.threshold_db - gate.preamp_db - ABOVE * width_db,
        "gate.ratio": 1.0 - gate.reduction_db / width_db if width_db > 0.0 else 1.0,
        "gate.range_db": -gate.reduction_db,
        "gate.hold_ms": 0.0,
        # What was longer by a hold may be beyond the range.
        "gate.release_ms": min(gate.release_ms, BY_KEY["gate.release_ms"].high),
    }


def gate_notes(strip: Strip) -> tuple[str, ...]:
    """Say what of the gate does not carry over."""
    if not strip.on(GATE):
        return ()
    own = strip.of(GATE)
    reached_db = (own["ratio"] - 1.0) * _width_db(own)
    is_cut = reached_db < own["range_db"] - 0.05
    lines = (RANGE.format(f"{reached_db:.1f} dB"),) if is_cut else ()
    return (*lines, *hold_notes(strip))
