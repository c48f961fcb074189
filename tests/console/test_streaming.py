"""A signal in blocks is the signal whole, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.console import Console
from diffconsole.console.streaming import SHOWN_DYNAMICS, StreamingConsole
from diffconsole.kernels import operators as kernels
from diffconsole.strip.later import LATER
from diffconsole.strip.parameters import DEFAULT_PARAMETERS, PARAMETERS

RATE = 16000
SAMPLES = 20 * 1024 + 77


def signal(channels: int) -> torch.Tensor:
    """Bursts of noise between silence, so that every stage has something to remember."""
    rng = np.random.default_rng(channels)
    noise = 0.3 * rng.standard_normal((1, channels, SAMPLES))
    return torch.from_numpy((noise * (np.arange(SAMPLES) // 3000 % 2)).astype(np.float32))


def strip(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    # Those of version 1.0 first, so that they are the same whatever came later.
    later = [p for p in PARAMETERS if p not in DEFAULT_PARAMETERS]
    row = (*DEFAULT_PARAMETERS, *later)
    units = torch.rand(len(row), generator=generator, dtype=torch.float64)
    found = {
        p.key: p.to_physical(0.2 + 0.6 * u).reshape(1) for p, u in zip(row, units, strict=True)
    }
    found["reverb.decay_s"] = torch.tensor([0.4], dtype=torch.float64)
    found["compressor.threshold_db"] = torch.tensor([-30.0], dtype=torch.float64)
    return found


def error_db(ours: torch.Tensor, whole: torch.Tensor) -> float:
    error = (ours.double() - whole.double()).square().mean()
    return float(10.0 * torch.log10(error / whole.double().square().mean() + 1e-30))


@pytest.mark.parametrize("block", [512, 2048, 7 * 512, 1 << 20])
@pytest.mark.parametrize(
    "off",
    [
        (),
        ("reverb",),
        ("eq",),
        ("compressor", "pan"),
        ("reverb", "pan"),
        ("gate", "compressor_2", "deesser"),
        ("saturation",),
        ("delay",),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_are_the_whole(block, off, channels):
    audio, settings = signal(channels), strip(block + channels)
    with torch.inference_mode():
        whole = Console(RATE, bypass=off)(audio, settings)
        console = StreamingConsole(RATE, bypass=off)
        parts = [console(audio[..., n : n + block], settings) for n in range(0, SAMPLES, block)]
    assert error_db(torch.cat(parts, dim=-1), whole) < -130.0


def test_generic_kernels_carry_over_too():
    audio, settings = signal(2)[..., :9000], strip(3)
    with torch.inference_mode(), kernels.use("generic"):
        whole = Console(RATE)(audio, settings)
        console = StreamingConsole(RATE)
        parts = [console(audio[..., n : n + 2048], settings) for n in range(0, 9000, 2048)]
    assert error_db(torch.cat(parts, dim=-1), whole) < -118.0


@pytest.mark.parametrize("times_ms", [(1.0, 900.0), (80.0, 20.0)])
def test_a_slow_detector_starts_where_it_was(times_ms):
    """A loud beginning holds the gain down for seconds: a block that forgot it would be louder."""
    settings = strip(0)
    for name, value in zip(("attack_ms", "release_ms"), times_ms, strict=True):
        settings[f"compressor.{name}"] = torch.tensor([value], dtype=torch.float64)
    audio = 0.02 * torch.ones(1, 1, SAMPLES)
    audio[..., :1024] = 0.9
    off = {"eq", "reverb", "pan", *LATER}
    with torch.inference_mode():
        whole = Console(RATE, bypass=off)(audio, settings)
        console = StreamingConsole(RATE, bypass=off)
        parts = [console(audio[..., n : n + 1024], settings) for n in range(0, SAMPLES, 1024)]
        alone = Console(RATE, bypass=off)(audio[..., 1024:2048], settings)
    assert error_db(torch.cat(parts, dim=-1), whole) < -140.0
    if times_ms[1] > times_ms[0]:
        assert error_db(alone, whole[..., 1024:2048]) > -40.0


def test_dynamics_are_reported_without_makeup():
    audio, settings = signal(1), strip(5)
    seen = []
    console = StreamingConsole(
        RATE,
        bypass={"reverb", "pan", "deesser", "saturation", "delay"},
        on_dynamics=lambda *found: seen.append(found),
    )
    with torch.inference_mode():
        out = torch.cat(
            [console(audio[..., n : n + 4096], settings) for n in range(0, SAMPLES, 4096)], dim=-1
        )
    first, second = ([found for key, *found in seen if key == k] for k in SHOWN_DYNAMICS)
    assert torch.equal(torch.cat([after for _, after, _ in second], dim=-1), out)
    for found, more_db, key in ((first, 0.0, "compressor"), (second, "output", "compressor_2")):
        if more_db:
            more_db = float(settings["output_gain.gain_db"])
        share = float(settings[f"{key}.mix"]) / 100.0
        gain = share * 10.0 ** (float(settings[f"{key}.makeup_db"]) / 20.0) + 1.0 - share
        total_db = 20.0 * np.log10(gain) + more_db
        assert {round(gain_db, 6) for _, _, gain_db in found} == {round(total_db, 6)}
        assert torch.cat([before for before, _, _ in found], dim=-1).shape == audio.shape
