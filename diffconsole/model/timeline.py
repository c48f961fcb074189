"""How a model's answers change along a song: its settings, window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..audio import resample
from ..audio.take import take_of
from ..audio.windows import repeated, window_starts
from ..strip.parameters import PARAMETERS
from .encoder_windows import QUIETEST_WINDOW_DB, WINDOW_SECONDS
from .levelling import as_array, gain_of
from .prediction import Prediction
from .predictor import Predictor
from .voice_features import extract_voice_features

__all__ = ["Course", "SettingsTimeline", "predict_course", "predict_timeline"]

TOGETHER = 16
"""Windows that are encoded at once: memory does not grow with the length of the song."""

MOST_WINDOWS = 400
LEAST_SUNG = 0.1
"""Share of a window below which digital silence leaves too little of it."""


@dataclass(frozen=True)
class SettingsTimeline:
    """Settings along a song.

    Attributes
    ----------
    seconds : ndarray
        ``(windows,)``: the middle of each window.
    settings, low, high : dict of str to ndarray
        By key ``(windows,)``, physical units: what the model would choose for that window alone,
        and one standard deviation below and above its mean. NaN where the window is quiet.
    whole : Prediction
        Of the whole song: the preset.
    """

    seconds: np.ndarray
    settings: dict[str, np.ndarray]
    low: dict[str, np.ndarray]
    high: dict[str, np.ndarray]
    whole: Prediction


@torch.inference_mode()
def predict_timeline(
    model: Predictor,
    samples: np.ndarray | Tensor,
    sample_rate: int,
    *,
    hop_seconds: float | None = None,
) -> SettingsTimeline:
    """Predict the settings of every window of a vocal.

    The vocal is levelled once, as a whole, as :meth:`Predictor.predict` does it.

    Parameters
    ----------
    model : Predictor
        Any.
    samples : ndarray or Tensor
        ``(channels, samples)``.
    sample_rate : int
        Hz.
    hop_seconds : float, optional
        Between windows of five seconds; by default half a window, or what keeps it to 400.

    Raises
    ------
    AudioError
        The vocal is silent.
    """
    take = take_of(as_array(samples), sample_rate)
    whole = model.predict_take(take)
    gain_db, sample_rate = gain_of(take), take.sample_rate
    factor = np.float32(10.0 ** (gain_db / 20.0))
    mono = take.timeline[0]
    length = min(int(WINDOW_SECONDS * sample_rate), len(mono))
    room = len(mono) - length
    if hop_seconds is None:
        hop_seconds = max(WINDOW_SECONDS / 2.0, room / sample_rate / (MOST_WINDOWS - 1))
    count = 1 + math.ceil(room / (hop_seconds * sample_rate))
    starts = window_starts(len(mono), length, count)
    power = np.array([_power(take.between(s, s + length)) for s in starts])
    sung = np.array([take.share(s, s + length) for s in starts]) > LEAST_SUNG
    loud = sung & (power >= power.max() * 10.0 ** (QUIETEST_WINDOW_DB / 10.0))
    means, deviations = [], []
    device = next(model.parameters()).device
    for first in range(0, count, TOGETHER):
        some = starts[first : first + TOGETHER]
        # What is left of a window beside silence is repeated: it has the whole window's length.
        voices = [take.between(s, s + length) * factor for s in some]
        windows = np.stack([np.resize(voice[0], length) for voice in voices])
        encoder_input = resample(windows, sample_rate, model.encoder.sample_rate)
        encoder_input = repeated(encoder_input, model.encoder.sample_rate // 2)
        audio = torch.from_numpy(np.ascontiguousarray(encoder_input, np.float32)).unsqueeze(1)
        voice_features = torch.stack(
            [extract_voice_features(voice, sample_rate) for voice in voices]
        )
        mean, log_variance = model(audio.to(device), voice_features.to(device))
        means.append(mean.double().cpu())
        deviations.append((0.5 * log_variance.double()).exp().cpu())
    mean, deviation = torch.cat(means), torch.cat(deviations)
    chosen = model.point_estimate(mean, deviation)
    timeline = SettingsTimeline((starts + 0.5 * length) / sample_rate, {}, {}, {}, whole)
    for place, parameter in enumerate(PARAMETERS):
        shift = gain_db if parameter.key == "input_gain.gain_db" else 0.0
        for values, found in (
            (chosen, timeline.settings),
            (mean - deviation, timeline.low),
            (mean + deviation, timeline.high),
        ):
            physical = np.array(
                [
                    parameter.clip(float(parameter.to_physical(float(u))) + shift)
                    for u in values[:, place].clamp(0.0, 1.0)
                ]
            )
            physical[~loud] = math.nan
            found[parameter.key] = physical
    return timeline


def _power(samples: np.ndarray) -> float:
    return float(np.mean(samples.astype(np.float64) ** 2))


Course, predict_course = SettingsTimeline, predict_timeline
"""Former names."""
