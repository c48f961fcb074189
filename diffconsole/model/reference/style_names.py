"""The names of the figures of a style (:mod:`.style_features`), without PyTorch."""

from __future__ import annotations

from ...audio.bands import THIRD_OCTAVES_HZ

__all__ = [
    "BANDS_HZ",
    "DYNAMICS",
    "LAGS",
    "LEVELS",
    "PAUSES",
    "SIDE_BANDS_HZ",
    "SIDE_FEATURES",
    "SPACE",
    "STYLE_FEATURES",
]

BANDS_HZ = THIRD_OCTAVES_HZ[1:]
"""Centres of third octaves, 63 Hz to 16 kHz."""

SIDE_BANDS_HZ = (125.0, 500.0, 1500.0, 4000.0, 9000.0)
"""Edges of the bands in which the side is compared with the mid."""

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.95)
PAUSES = (0.02, 0.05, 0.1, 0.2)
LAGS = (1, 3, 8)

_GATED = [f"{scale}_level_{100 * level:.0f}" for scale in ("medium", "coarse") for level in LEVELS]
DYNAMICS = (
    "crest_db", "fine_crest_db", "medium_std_db", "coarse_std_db", *_GATED,
    *(f"{way}_{lag}_db" for lag in LAGS for way in ("rise", "fall")),
    *(f"{band}_std_db" for band in ("mid", "high")),
    "short_to_long_db",
)  # fmt: skip
SPACE = (
    *(f"pause_{100 * level:.0f}_db" for level in PAUSES),
    *(f"{band}_pause_{100 * level:.0f}_db" for band in ("mid", "high") for level in PAUSES[1::2]),
    *(f"side_{hz:g}_hz_db" for hz in SIDE_BANDS_HZ[:-1]),
    "side_std_db", "side_fall_db", "side_pause_db",
    *(f"steepest_{name}_db" for name in ("broad", "mid", "high")),
)  # fmt: skip

STYLE_FEATURES = (*(f"tone_{hz:g}_hz" for hz in BANDS_HZ), *DYNAMICS, *SPACE)
"""Names of what :func:`.style_features.style_features` returns, in its order."""

SIDE_FEATURES = [i for i, name in enumerate(STYLE_FEATURES) if name.startswith("side_")]
"""Places of those that a mono file does not show."""
