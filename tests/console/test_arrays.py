"""The console of arrays: the samples of the console of tensors, without PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole import Console
from diffconsole.console.arrays import ArrayConsole, serves
from diffconsole.console.render import render, run_blocks, run_strip
from diffconsole.errors import SettingsError
from diffconsole.kernels import operators as kernels
from diffconsole.strip.channel_strip import ChannelStrip
from diffconsole.strip.parameters import PARAMETERS
from diffconsole.strip.preset import factory_presets

from ..toy import run_with

pytest.importorskip("numba", reason="arrays are processed by the compiled loops")

RATE = 44100
DEFAULTS = {p.key: p.default for p in PARAMETERS}


def noise(channels: int, samples: int = 30000) -> np.ndarray:
    swell = np.sin(np.linspace(0.0, 9.0, samples)) ** 2
    found = np.random.default_rng(channels).standard_normal((channels, samples)) * 0.2 * swell
    return found.astype(np.float32)


def peak_db(difference: np.ndarray, of: np.ndarray) -> float:
    largest = np.abs(difference).max()
    return float(20.0 * np.log10(largest / np.abs(of).max())) if largest else -np.inf


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("key", ["lead_vocal_pop", "dry_controlled", "telephone", "dream_wash"])
def test_tensors_without_a_gradient_give_the_same_samples(key, channels):
    strip = factory_presets()[key].channel_strip.effective()
    assert serves(strip)
    samples = noise(channels)
    with torch.inference_mode():
        audio = torch.from_numpy(samples)[None]
        wanted = Console(RATE, bypass=strip.off)(audio, strip.tensors())[0].numpy()
    assert np.array_equal(run_strip(samples, RATE, strip), wanted)


def test_tensors_with_a_gradient_differ_by_less_than_120_db():
    strip = ChannelStrip(DEFAULTS)
    samples = noise(2)
    settings = {key: value.requires_grad_() for key, value in strip.tensors().items()}
    graph = Console(RATE)(torch.from_numpy(samples)[None], settings)
    assert graph.requires_grad
    found = run_strip(samples, RATE, strip)
    assert peak_db(graph.detach().numpy()[0] - found, found) < -120.0


@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_of_arrays_are_the_whole(channels):
    strip, samples = ChannelStrip(DEFAULTS), noise(channels)
    run = run_blocks(RATE, strip)
    parts = [run(samples[:, first : first + 4096]) for first in range(0, 30000, 4096)]
    whole = run_strip(samples, RATE, strip)
    assert peak_db(np.concatenate(parts, axis=1) - whole, whole) < -120.0


def test_memory_in_any_order_and_not_to_be_written():
    strip, samples = ChannelStrip(DEFAULTS), noise(2)
    strange = np.asfortranarray(samples)[:, ::-1]
    strange.flags.writeable = False
    assert np.array_equal(
        run_strip(strange, RATE, strip), run_strip(samples[:, ::-1].copy(), RATE, strip)
    )
    assert np.array_equal(strange, samples[:, ::-1])


def test_a_batch_is_its_items():
    strips = [factory_presets()[key].channel_strip for key in ("rap", "ballad_plate")]
    arrays = [strip.arrays() for strip in strips]
    settings = {key: np.concatenate([own[key] for own in arrays]) for key in arrays[0]}
    console, samples = ArrayConsole(RATE), np.stack([noise(1), noise(1)[:, ::-1]])
    found = console(samples, settings)
    for item, own in enumerate(arrays):
        alone = console(samples[item : item + 1].copy(), own)[0]
        assert peak_db(found[item] - alone, alone) < -120.0


def test_where_the_loops_do_not_serve_tensors_do():
    preset, samples = factory_presets()["dry_controlled"], noise(1)
    with kernels.use("generic"):
        assert not serves(preset.channel_strip)
        generic = render(samples, RATE, preset).samples
    compiled = render(samples, RATE, preset).samples
    assert 0.0 > peak_db(generic - compiled, compiled) > -np.inf
    assert peak_db(generic - compiled, compiled) < -100.0


def test_a_module_that_takes_tensors_alone_still_processes():
    script = """
import sys
import numpy as np
from diffconsole import Preset
from diffconsole.console.render import render
samples = np.random.default_rng(0).standard_normal((1, 4410)).astype(np.float32)
rendered = {}
for gain_db in (0.0, 6.0):
    preset = Preset({"tilt": {"freq_hz": 800.0, "gain_db": gain_db}})
    rendered[gain_db] = render(samples, 44100, preset).samples
change = np.abs(np.fft.rfft(rendered[6.0][0]))[-400:] / np.abs(np.fft.rfft(samples[0]))[-400:]
plain = "torch" in sys.modules
print(json.dumps([float(20 * np.log10(np.median(change))), plain]))
"""
    rise_db, loaded = run_with({"tilt": "eq"}, script)
    assert rise_db == pytest.approx(3.0, abs=0.2)
    assert loaded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compressor.ratio": None}, "is missing"),
        ({"compressor.ratio": 4.0}, "must be a numpy.ndarray"),
        ({"compressor.ratio": np.ones(2)}, r"has shape \(2,\)"),
        ({"compressor.rate": np.ones(1)}, "unknown setting"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    settings = {**ChannelStrip(DEFAULTS).arrays(), **change}
    settings = {key: value for key, value in settings.items() if value is not None}
    with pytest.raises(SettingsError, match=message):
        ArrayConsole(RATE)(noise(1)[None], settings)
    with pytest.raises(SettingsError, match="sample rate"):
        ArrayConsole(8000)
