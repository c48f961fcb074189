"""The last stage of pretraining: predictions are shrunk towards one strip, the anchor.

Trained on simulated raw vocals, a network predicts the mean of their strips, and offsets from it by
the voice. For real raw vocals both are worse than one good strip for all. So the head is made to
predict the anchor (:mod:`diffconsole.strip.anchor`) for the mean voice, plus a share of the offsets
that it learnt; then its uncertainty is calibrated again, about the anchor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...encoders.logmel import LogMelEncoder
from ...model.head import Head
from ...model.predictor import ESTIMATE_BIAS_STD, Predictor
from ...strip.anchor import anchor
from ...strip.parameters import PARAMETERS
from .pretrain_model import PretrainModel, ValidationSet, calibrate
from .simulate import Voices, simulate
from .strips import Strips

__all__ = ["ANCHOR_SHARE", "ANCHOR_VOICES", "settle", "undo_anchoring", "pooled_raw_vocals"]

ANCHOR_SHARE = 0.4
"""Of the offsets: on simulated raw vocals of validation speakers the error of the
EQ's curve is lowest with 0.4 to 0.5 of them."""

ANCHOR_VOICES = 96
"""Simulated raw vocals that the mean voice is the mean of."""

ANCHOR_SEED = 3


@torch.no_grad()
def pooled_raw_vocals(
    encoder: LogMelEncoder,
    voices: Voices,
    rooms: Sequence[np.ndarray],
    strips: Strips,
    seed: int,
    count: int = ANCHOR_VOICES,
) -> Tensor:
    """Return the pooled frames of simulated raw vocals, ``(count, 2·dim)``."""
    device = next(encoder.parameters()).device
    found = []
    for number in range(count):
        rng = np.random.default_rng((seed, ANCHOR_SEED, number))
        raw = simulate(voices, rooms, strips, rng).raw
        mel = encoder.mel(torch.from_numpy(raw[None]).to(device))
        found.append(Head.pool(encoder.frames_of(mel.float())))
    return torch.cat(found)


def undo_anchoring(
    model: Predictor,
    voices: Voices,
    rooms: Sequence[np.ndarray],
    strips: Strips,
    seed: int,
    count: int = ANCHOR_VOICES,
) -> None:
    """Give a model that was anchored its whole offsets back, so that training continues.

    Of a model that was anchored with a share of 0 none are left: it continues without any.
    """
    share = model.info.get("anchor_share", 1.0)
    if not 0.0 < share < 1.0:
        return
    assert isinstance(model.encoder, LogMelEncoder)
    pooled = pooled_raw_vocals(model.encoder, voices, rooms, strips, seed, count)
    model.head.anchor_at(anchor(), pooled, 1.0 / share)


@torch.no_grad()
def settle(
    trained: PretrainModel, pooled: Tensor, validation_set: ValidationSet, share: float
) -> None:
    """Anchor the head that finishes raw vocals, and scale the uncertainty of both heads.

    Parameters
    ----------
    trained : PretrainModel
        Trained.
    pooled : Tensor
        What :func:`pooled_raw_vocals` returned for speakers that were trained on.
    validation_set : ValidationSet
        Examples of speakers that were not.
    share : float
        Of the offsets that the head learnt, 0…1.
    """
    head, strip = trained.model.head, anchor()
    trained.eval()
    pooled = pooled.to(head.mean.weight)
    side = torch.tensor([ESTIMATE_BIAS_STD.get(p.key, 0.0) for p in PARAMETERS])
    head.anchor_at(strip, pooled, share)
    # What is chosen lies beside the mean by a part of the deviation, and the deviation that is
    # right depends on where the mean is: the second time hardly anything moves.
    for _ in range(2):
        calibrate(trained, validation_set)
        _, log_variance = head.predict_from_pooled(pooled)
        deviation = (0.5 * log_variance).exp().mean(dim=0).cpu()
        head.anchor_at((strip - side * deviation).clamp(0.0, 1.0), pooled, 1.0)
