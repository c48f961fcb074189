"""T60 of the impulse response by backward integration, wherever a measurement can tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole.console import impulse_response

from .helpers import values

SEEDS = 6
CENTRES_HZ = (63, 125, 250, 500, 1000, 2000, 4000, 8000, 16000)
TOLERANCE = 0.07
ROOMS = [
    # rate, decay_s, low_ratio, high_ratio
    (44100, 1.0, 0.9, 0.6),
    (16000, 0.3, 1.0, 0.5),
]
MORE_ROOMS = [
    (16000, 1.8, 0.9, 0.6),
    (96000, 0.8, 0.5, 1.5),
    (44100, 0.3, 1.0, 0.5),
    (44100, 1.0, 4.0, 0.05),
    (44100, 3.0, 0.1, 1.5),
    (48000, 8.0, 0.5, 0.3),
    (48000, 0.1, 4.0, 1.5),
    (96000, 1.0, 4.0, 0.05),
    (192000, 0.8, 1.2, 0.4),
]


def expected_t60(freq_hz: float, decay_s: float, low_ratio: float, high_ratio: float) -> float:
    """Straight lines on log-frequency and log-time through 250 Hz, 1 kHz and 8 kHz."""
    points = np.log([250.0, 1000.0, 8000.0])
    times = np.log([decay_s * low_ratio, decay_s, decay_s * high_ratio])
    return float(np.exp(np.interp(math.log(freq_hz), points, times)))


def measured_t60(responses: np.ndarray, rate: float, freq_hz: float) -> np.ndarray:
    """T60 of each row, from the fall between −5 and −35 dB of the energy that is still to come.

    A third-octave filter rings by itself; run on the reversed response its ringing lies before
    the sound and not in the decay.
    """
    edges = [freq_hz * 2 ** (-1 / 6), freq_hz * 2 ** (1 / 6)]
    sos = signal.butter(4, edges, "bandpass", fs=rate, output="sos")
    energy = np.cumsum(signal.sosfilt(sos, responses[:, ::-1]) ** 2, axis=1)[:, ::-1]
    times = []
    for row in energy:
        # It only falls: of the whole response only this part is looked at.
        first, last = np.searchsorted(-row, -row[0] * 10.0 ** (np.array([-5.0, -35.0]) / 10))
        level = 10 * np.log10(row[first:last])
        time = (np.arange(first, last) - 0.5 * (first + last - 1)) / rate
        times.append(-60 * (time @ time) / (time @ level))
    return np.array(times)


def check(rate: int, decay_s: float, low_ratio: float, high_ratio: float) -> None:
    room = [0.0, decay_s, low_ratio, high_ratio, 20.0, 20000.0, 1.0]
    settings = [values(v) for v in room]
    # Of full width, so that the two channels are as different as two seeds.
    responses = np.concatenate(
        [
            impulse_response(rate, *settings, seed=seed, dtype=torch.float32)[0].double().numpy()
            for seed in range(SEEDS)
        ]
    )
    measured = 0
    own_rate = rate
    for freq_hz in reversed(CENTRES_HZ):
        while freq_hz * 16 < own_rate:
            # Low bands are whole at a lower rate, and take less time there.
            responses, own_rate = signal.resample_poly(responses, 1, 2, axis=1), own_rate / 2
        t60 = expected_t60(freq_hz, decay_s, low_ratio, high_ratio)
        bandwidth = freq_hz * (2 ** (1 / 6) - 2 ** (-1 / 6))
        if bandwidth * t60 < 16 or freq_hz * 2 ** (1 / 6) >= rate / 2:
            continue
        # the whole response: cut short, its slow bands would click in the fast ones
        found = measured_t60(responses, own_rate, freq_hz).mean()
        assert found == pytest.approx(t60, rel=TOLERANCE), f"{freq_hz} Hz"
        measured += 1
    assert measured >= 3


@pytest.mark.parametrize("rate, decay_s, low_ratio, high_ratio", ROOMS)
def test_t60(rate, decay_s, low_ratio, high_ratio):
    check(rate, decay_s, low_ratio, high_ratio)


@pytest.mark.slow
@pytest.mark.parametrize("rate, decay_s, low_ratio, high_ratio", MORE_ROOMS)
def test_t60_in_more_rooms(rate, decay_s, low_ratio, high_ratio):
    check(rate, decay_s, low_ratio, high_ratio)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_nothing_above_minus_60_db_is_cut_off(rate):
    """The response ends where its slowest band has fallen by 60 dB, not before."""
    settings = [values(v) for v in (0.0, 0.5, 4.0, 0.5, 20.0, 20000.0, 1.0)]
    h = impulse_response(rate, *settings, dtype=torch.float64)[0, 0].numpy()
    sos = signal.butter(2, [50.0, 300.0], "bandpass", fs=rate, output="sos")
    low = signal.sosfilt(sos, h)
    window = int(0.1 * rate)
    end = int(2.0 * rate)
    fall = 10 * math.log10(np.mean(low[:window] ** 2) / np.mean(low[end - window : end] ** 2))
    # from the middle of the first window to the middle of the last: 1.9 s of a T60 of 2 s
    assert fall == pytest.approx(57.0, abs=4.0)
