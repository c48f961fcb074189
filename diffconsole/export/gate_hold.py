"""The gate's hold, which the gates of other software lack."""

from __future__ import annotations

from collections.abc import Mapping

from .base import Strip

__all__ = ["HOLD", "hold_notes", "release_ms"]

RELEASE_PER_HOLD = 0.3
"""How much of a hold is added to the release: measured as closest for voices with pauses."""

HOLD = "gate.hold_ms: the gate there has none; its release is longer by 0.3 of the hold"


def release_ms(own: Mapping[str, float]) -> float:
    """Return the release for a gate without a hold, which keeps a voice open about as long."""
    return own["release_ms"] + RELEASE_PER_HOLD * own.get("hold_ms", 0.0)


def hold_notes(strip: Strip) -> tuple[str, ...]:
    """Say what became of the hold, where a strip has one."""
    return (HOLD,) if strip.on("gate") and strip["gate.hold_ms"] > 0.0 else ()
