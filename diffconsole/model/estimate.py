"""From the distributions of a take's settings to its prediction; of tensors and of NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from ..kernels.arrays import Numbers, as_array, math_of
from ..simplify.low_end import hold_low_end, low_end_of
from ..strip.later import rest_value
from ..strip.parameters import PARAMETERS, is_on, without_inaudible
from .levelling import gain_of
from .prediction import Prediction
from .switches import RULES

if TYPE_CHECKING:
    from ..audio.take import Take
    from .known import Known

__all__ = ["ESTIMATE_BIAS_STD", "averaged", "estimated", "prediction_of"]

ESTIMATE_BIAS_STD = {"reverb.wet_db": -0.5}
"""Bias of the point estimate against the mean, in standard deviations: too much reverb on a mix
that has little is audible, and counts in the distance to it, far more than too little."""


def averaged(mean: Numbers, log_variance: Numbers) -> tuple[Numbers, Numbers]:
    """Return mean and deviation of the settings of a take from those of its windows.

    The windows are averaged by their precision; the variance is that of their mixture.

    Parameters
    ----------
    mean, log_variance : Tensor or ndarray
        ``(windows, parameters)``, float64.

    Returns
    -------
    mean, deviation : Tensor or ndarray
        ``(parameters,)``.
    """
    m = math_of(mean)
    weight = m.exp(-log_variance)
    weight = weight / weight.sum(0)
    take_mean = (weight * mean).sum(0)
    variance = (weight * (m.exp(log_variance) + (mean - take_mean) ** 2)).sum(0)
    return take_mean, m.sqrt(variance)


def estimated(known: Known, mean: Numbers, deviation: Numbers) -> Numbers:
    """Return one value of each setting: the mean, with less reverb where it is uncertain.

    Parameters that the model does not know stay where they rest, whatever their rows say.

    Parameters
    ----------
    known : Known
        What the model predicts.
    mean, deviation : Tensor or ndarray
        ``(…, parameters)``, normalised.

    Returns
    -------
    Tensor or ndarray
        ``(…, parameters)`` in 0…1, differentiable in `mean`.
    """
    m = math_of(mean)
    side = m.like([ESTIMATE_BIAS_STD.get(p.key, 0.0) for p in PARAMETERS], mean)
    return known.with_rest(m.at_most(m.at_least(mean + side * m.held(deviation), 0.0), 1.0))


def prediction_of(
    take: Take,
    known: Known,
    chosen: Numbers,
    mean: Numbers,
    deviation: Numbers,
    likely: Numbers,
    *,
    is_calibrated: bool,
) -> Prediction:
    """Return the prediction of settings that were chosen from their distribution.

    Parameters
    ----------
    take : Take
        Of the raw vocal.
    known : Known
        What the model predicts.
    chosen, mean, deviation : Tensor or ndarray
        ``(parameters,)``, normalised: the settings, their mean and standard deviation.
    likely : Tensor or ndarray
        ``(switches,)``, how likely each is on.
    is_calibrated : bool
        Whether these probabilities hold, so that they are given with the prediction.

    Raises
    ------
    ModelError
        A value is no number.
    """
    chosen, mean, deviation, likely = map(as_array, (chosen, mean, deviation, likely))
    # Finite weights of the network may still overflow here.
    if not all(np.isfinite(values).all() for values in (mean, deviation, chosen)):
        raise ModelError(
            "the model predicts values that are no numbers: its weights are damaged; copy it again"
        )
    gain_db = gain_of(take)
    settings, uncertainty, off = {}, {}, known.off
    for i, parameter in enumerate(PARAMETERS):
        if parameter.key in known.unknown:
            if parameter.module not in off:
                settings[parameter.key] = rest_value(parameter)
            continue
        shift = gain_db if parameter.key == "input_gain.gain_db" else 0.0
        value, low, high = (
            parameter.clip(parameter.to_physical(min(max(float(u), 0.0), 1.0)) + shift)
            for u in (chosen[i], mean[i] - deviation[i], mean[i] + deviation[i])
        )
        settings[parameter.key] = value
        uncertainty[parameter.key] = (low, high)
    low_end = None if "eq" in off else low_end_of(take.mono[0], take.sample_rate)
    held = settings if low_end is None else hold_low_end(settings, low_end)
    likely_of = dict(zip(RULES, likely.tolist(), strict=True))
    final = without_inaudible(known.decided(held, likely_of))
    uncertainty = {
        key: (min(low, final[key]), max(high, final[key]))
        for key, (low, high) in uncertainty.items()
        if key in final
    }
    return Prediction(
        final,
        uncertainty,
        take.loudness_lufs,
        take.messages,
        None if low_end is None or held == settings else low_end.lowest_hz,
        {switch: share for switch, share in likely_of.items() if is_on(switch, off)}
        if is_calibrated
        else {},
    )
