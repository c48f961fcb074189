"""The one strip that matches all mixes best: what every prediction starts from.

Across engineers most of what turns a raw vocal into a mixed one is the same for every voice, and
follows the voice little. A prediction is therefore this strip plus what the network is sure of.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .later import LATER, rest_settings
from .parameters import PARAMETERS
from .preset import Preset

__all__ = ["ANCHOR", "anchor", "anchor_settings"]

ANCHOR = Path(__file__).parent / "data" / "anchor.json"


def anchor_settings() -> dict[str, float]:
    """Return the strip's settings by key, physical units, for a vocal at −18 LUFS.

    Modules that came after it have the values at which they change least.
    """
    preset = Preset.read(ANCHOR)
    return {**preset.settings(), **rest_settings(LATER & preset.bypass())}


def anchor() -> Tensor:
    """Return the strip normalised, ``(parameters,)`` in 0…1."""
    settings = anchor_settings()
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS])
