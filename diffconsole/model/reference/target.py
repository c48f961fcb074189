"""The style that a result should have: what references, the vocal and the prediction say of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ...audio.take import Take
from ...console import Console
from ...strip.later import NOT_DRAWN
from ...strip.parameters import denormalize
from .descent import StyleTarget
from .sides import PASSAGE_SECONDS, passages_of, sides_of
from .style_features import (
    ASPECTS,
    BANDS_HZ,
    SIDE_FEATURES,
    STYLE_FEATURES,
    STYLE_RATE,
    aspect_of,
    style_features,
)
from .style_statistics import StyleStatistics, load

__all__ = ["passages_of", "reference_style", "style_target"]


@torch.no_grad()
def reference_style(
    samples: np.ndarray, sample_rate: int, take: Take, device: torch.device | str = "cpu"
) -> np.ndarray:
    """Return the style of a finished vocal, ``(features,)``; NaN where its sides show no reverb.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``.
    sample_rate : int
        Hz.
    take : Take
        What is analysed of it, where its channels are not two sides of one vocal.
    device : device
        Where to compute.
    """
    sides = sides_of(samples, sample_rate, take)
    style = style_features(sides.audio.to(device)).cpu().numpy().astype(np.float64)
    if not sides.show_reverb:
        style[SIDE_FEATURES] = np.nan
    return style


@torch.no_grad()
def style_target(
    vocal: Tensor,
    mean: Tensor,
    references: Sequence[tuple[np.ndarray, int, Take]],
    shares: Mapping[str, np.ndarray],
    statistics: StyleStatistics | None = None,
    embeddings: tuple[np.ndarray, np.ndarray] | None = None,
    lowest_hz: float = 0.0,
    off: Collection[str] = NOT_DRAWN,
) -> StyleTarget:
    """Return the style that is expected of the right result, and how surely.

    Parameters
    ----------
    vocal : Tensor
        ``(passages, 1, samples)`` of the raw vocal at 44.1 kHz and −18 LUFS.
    mean : Tensor
        ``(parameters,)``, normalised: the settings that the model predicts.
    references : sequence of (ndarray, int, Take)
        Samples, their rate in Hz, and what is analysed, of each.
    shares : mapping of str to ndarray
        By aspect, ``(references,)``; an aspect with nothing but zeros is not followed.
    statistics : StyleStatistics, optional
        Of the model; by default the shipped ones, which serve any.
    embeddings : tuple of ndarray, optional
        ``(dim,)`` of the raw vocal and ``(references, dim)``, by the model's encoder, where its
        statistics use them.
    lowest_hz : float
        Of the voice's lowest partial: what lies below is not lifted, whatever a reference has
        there.
    off : collection of str
        Modules that the model does not know.
    """
    table = load() if statistics is None else statistics
    count = len(STYLE_FEATURES)
    bypass = {"pan", "output_gain", *off}
    console = Console(STYLE_RATE, bypass=bypass, reverb_seconds=PASSAGE_SECONDS)
    settings = denormalize(mean.float().expand(len(vocal), -1))
    raw, predicted = (
        style_features(audio).cpu().numpy().astype(np.float64)
        for audio in (vocal, console(vocal, settings))
    )
    styles = np.stack([reference_style(*each, vocal.device) for each in references])
    expected, known = raw.copy(), np.zeros(count, bool)
    deviation = np.full(count, np.inf)
    for aspect in ASPECTS:
        if not shares[aspect].any():
            continue
        style = _mean(styles, shares[aspect])
        mine = aspect_of(aspect)
        known[mine] = np.isfinite(style[mine])
        style = np.where(np.isfinite(style), style, table.input_mean[count : 2 * count])
        fitting = table.for_references(1.0 / float(np.square(shares[aspect]).sum()))
        embedding = None
        if embeddings is not None and table.embedding_dim:
            embedding = np.concatenate((embeddings[0], shares[aspect] @ embeddings[1]))
        expected[mine] = fitting.expected(raw, style, predicted, embedding)[mine]
        deviation[mine] = np.where(known[mine], fitting.deviation[0][mine], np.inf)
    below = np.array([hz * 10.0**0.05 < lowest_hz for hz in BANDS_HZ])
    tone = expected[aspect_of("tone")]
    tone[below] = np.minimum(tone, raw[aspect_of("tone")])[below]
    return StyleTarget(*(torch.from_numpy(a).float().to(vocal.device)
                         for a in (expected, deviation)))  # fmt: skip


def _mean(styles: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Weighted mean, figure by figure, of those that have it; NaN where none has."""
    weights = np.where(np.isfinite(styles), shares[:, None], 0.0)
    total = weights.sum(axis=0)
    sums = (np.nan_to_num(styles) * weights).sum(axis=0)
    return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0.0)
