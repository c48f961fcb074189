"""Equalizer: gradients against finite differences, and finite where ranges end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from diffconsole.console import equalizer, high_pass, high_shelf, low_pass, low_shelf, peak
from diffconsole.strip.parameters import PARAMETERS

from .helpers import (
    PLACES,
    assert_finite_with_gradients,
    check_gradients,
    full_range_ends,
    noise,
    square_wave,
)

EQ_KEYS = [p.key for p in PARAMETERS if p.section.startswith("eq.")]
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "high_pass": high_pass,
    "low_shelf": low_shelf,
    "peak_1": peak,
    "peak_4": peak,
    "high_shelf": high_shelf,
    "low_pass": low_pass,
}


def keys_of(band: str) -> list[str]:
    return [key for key in EQ_KEYS if key.startswith(f"eq.{band}.")]


def short(kernel: str) -> Tensor:
    # The frequency-sampling kernel transforms seconds of ringing for every finite difference.
    return noise(2, 2, 10) if kernel == "cpu" else noise(1, 2, 5)


def whole(audio: Tensor, *settings: Tensor, rate: float = 48000) -> Tensor:
    return equalizer(audio, rate, dict(zip(EQ_KEYS, settings, strict=True)))


@pytest.mark.parametrize("place", list(PLACES.values()), ids=list(PLACES))
@pytest.mark.parametrize("band", list(FUNCTIONS))
def test_gradcheck_of_each_band(kernel, band, place):
    def run(audio: Tensor, *settings: Tensor) -> Tensor:
        return FUNCTIONS[band](audio, 44100, *settings)

    check_gradients(run, keys_of(band), short(kernel), place)


@pytest.mark.parametrize("band", ["high_pass", "peak_1", "high_shelf"])
def test_gradcheck_with_settings_at_opposite_ends(kernel, band):
    def run(audio: Tensor, *settings: Tensor) -> Tensor:
        return FUNCTIONS[band](audio, 16000, *settings)

    keys = keys_of(band)
    places = [PLACES["low"], PLACES["high"], PLACES["low"]][: len(keys)]
    check_gradients(run, keys, short(kernel), places)
    check_gradients(run, keys, short(kernel), [1.0 - place for place in places])


def test_gradcheck_of_the_whole_eq(kernel):
    check_gradients(whole, EQ_KEYS, short(kernel), PLACES["mid"])


@pytest.mark.parametrize("rate", [16000, 192000])
@pytest.mark.parametrize("audio", [torch.zeros(1, 1, 300).double(), square_wave(300, 2)])
def test_finite_at_every_end(kernel, rate, audio):
    def run(x: Tensor, *settings: Tensor) -> Tensor:
        return whole(x, *settings, rate=rate)

    ends = list(full_range_ends(EQ_KEYS))
    # the generic kernel transforms seconds of ringing for each item
    assert_finite_with_gradients(run, ends if kernel == "cpu" else ends[:2], audio)


def test_a_louder_bell_is_found_by_its_gradient():
    """Descent on the gain of one bell reaches the gain that made the target."""
    x = noise(1, 1, 2000)
    freq, q = torch.tensor([1000.0]), torch.tensor([1.0])
    target = peak(x, 44100, freq, torch.tensor([6.0]), q)
    gain_db = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.Adam([gain_db], lr=0.5)
    for _ in range(150):
        optimizer.zero_grad()
        (peak(x, 44100, freq, gain_db, q) - target).square().mean().backward()
        optimizer.step()
    assert gain_db.item() == pytest.approx(6.0, abs=0.05)
