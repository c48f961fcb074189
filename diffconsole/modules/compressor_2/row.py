"""The row of the second compressor in the chain's table."""

from __future__ import annotations

from ..compressor.row import like_compressor

__all__ = ["COMPRESSOR_2"]

# The first one catches peaks; this one levels phrases: late, long, gentle, with a wide bend.
COMPRESSOR_2 = like_compressor(
    "compressor_2",
    "Compressor 2",
    "second compressor",
    2,
    {
        "threshold_db": -24.0, "ratio": 2.0, "attack_ms": 20.0, "release_ms": 400.0,
        "knee_db": 12.0, "makeup_db": 1.0,
    },
)  # fmt: skip
