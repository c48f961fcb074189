"""Loss of predicted settings against known ones.

Each setting counts by how audible it is: the frequency of a bell by the bell's gain, the
reverb's by its level. The EQ counts as a curve too, since different bells make the same curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ...modules.equalizer.process import equalizer_sections, response
from ...strip.later import UNTRAINED
from ...strip.parameters import EQ_BANDS, PARAMETERS, denormalize

__all__ = ["eq_curve_db", "relevance", "settings_loss"]

CURVE_RATE = 44100
CURVE_POINTS = 48
CURVE_FLOOR_DB = -24.0
CURVE_WEIGHT = 0.1


def eq_curve_db(settings: Mapping[str, Tensor]) -> Tensor:
    """Return the EQ's response from 40 Hz to 18 kHz, ``(batch, points)`` dB, −24 dB at least."""
    device = next(iter(settings.values())).device
    freq_hz = torch.logspace(math.log10(40.0), math.log10(18000.0), CURVE_POINTS, device=device)
    sections = equalizer_sections(CURVE_RATE, settings)
    magnitude = response(sections, CURVE_RATE, freq_hz).abs().clamp(min=1e-6)
    return (20.0 * magnitude.log10()).sum(dim=1).clamp(min=CURVE_FLOOR_DB)


def relevance(settings: Mapping[str, Tensor]) -> Tensor:
    """Return how audible each setting is, ``(batch, parameters)`` in 0.02…1.

    Settings that no training example moves count 0.
    """
    wet = settings["reverb.wet_db"]
    by_section = {
        f"eq.{band}": settings[f"eq.{band}.gain_db"].abs() / 6.0
        for band in EQ_BANDS
        if f"eq.{band}.gain_db" in settings
    }
    by_section["reverb"] = (wet + 45.0) / 25.0
    ones = torch.ones_like(wet)
    columns = [
        torch.zeros_like(wet)
        if p.key in UNTRAINED
        else ones
        if p.name in ("gain_db", "wet_db")
        else by_section.get(p.section, ones).clamp(0.02, 1.0)
        for p in PARAMETERS
    ]
    return torch.stack(columns, dim=-1)


def settings_loss(mean: Tensor, log_variance: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return the loss of predicted against known settings, normalised, ``(batch, parameters)``.

    ``total = mean of relevance·½((mean − target)²/variance + log variance) + 0.1·curve``, the
    curve's error in dB, mean over 48 frequencies.

    Returns
    -------
    dict of str to Tensor
        ``total``, ``likelihood``, ``error`` (mean absolute, normalised, by relevance) and
        ``curve_db``, each ``(batch,)``.
    """
    known = denormalize(target)
    weight = relevance(known)
    weight = weight / weight.mean(dim=1, keepdim=True)
    squared = (mean - target) ** 2
    likelihood = 0.5 * (weight * (squared * torch.exp(-log_variance) + log_variance)).mean(dim=1)
    curve = (eq_curve_db(denormalize(mean)) - eq_curve_db(known)).abs().mean(dim=1)
    curve = curve.to(mean.dtype)
    return {
        "total": likelihood + CURVE_WEIGHT * curve,
        "likelihood": likelihood,
        "error": (weight * (mean - target).abs()).mean(dim=1),
        "curve_db": curve,
    }
