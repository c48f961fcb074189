"""The reverb's loops: against their formula, each other, finite differences and threads."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from diffconsole.console import impulse_response, reverb
from diffconsole.kernels import operators as kernels
from diffconsole.modules.reverb.noise import band_noise
from diffconsole.modules.reverb.process import band_decays
from diffconsole.modules.reverb.room import _loops, room_response, room_spectrum
from diffconsole.strip.parameters import PARAMETERS
from tests import reference

from .helpers import noise, values

CPU = torch.device("cpu")
RATE = 44100.0
KEYS = [p.key for p in PARAMETERS if p.section == "reverb"]
ERROR_DB = {torch.float32: -125.0, torch.float64: -200.0}


def decays() -> torch.Tensor:
    """From far shorter than the noise to longer, also within an item."""
    return band_decays(
        values(0.1, 0.15, 0.3, 8.0), values(0.1, 4.0, 1.0, 4.0), values(0.05, 0.05, 1.5, 1.5)
    )


def spectra(batch: int, bins: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    real = noise(batch, 2, bins, 2, seed=seed).to(dtype)
    real[..., 0, 1] = real[..., -1, 1] = 0.0
    return torch.view_as_complex(real)


def settings(batch: int) -> torch.Tensor:
    """Mix, pre-delay and cuts from one end of their ranges to the other."""
    rows = torch.linspace(0.0, 1.0, batch, dtype=torch.float64)
    return torch.stack(
        (
            0.3 + rows, 0.9 * rows, 1.2 - rows, -0.4 * rows, 5292.0 * rows + 0.37 * (1.0 - rows),
            math.pi / RATE * 20.0 * 50.0**rows, math.pi / RATE * 1000.0 * 20.0**rows,
        ),
        dim=-1,
    )  # fmt: skip


@pytest.mark.parametrize("samples", [1, 127, 129, 20000])
def test_decaying_noise_is_its_formula(kernel, samples):
    t60 = decays()
    bands = band_noise(RATE, samples, 1, torch.float64, CPU)
    target = torch.full((len(t60), 2, samples + 3), 7.0, dtype=torch.float64)
    _loops(kernel).decaying_noise(bands, t60, RATE, target)
    time = np.arange(samples) / RATE
    for item, seconds in enumerate(t60.numpy()):
        shape = 10.0 ** (-3.0 * time / seconds[:, None]) * (time < seconds.max())
        expected = (bands.numpy() * shape).sum(axis=1)
        assert reference.error_db(target[item, :, :samples], expected) < -220.0
    assert bool((target[..., samples:] == 7.0).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [[3, 19000, 1], [8, 19992, 4], [0, 20000, 1]])
def test_the_two_implementations_agree(dtype, bins):
    pytest.importorskip("numba", reason="loops are compiled by numba")
    t60, batch, length, samples = decays(), 4, 40000, 17000
    bands = band_noise(RATE, samples, 0, dtype, CPU)
    spectrum, error = spectra(batch, length // 2 + 1, dtype), spectra(batch, 20001, dtype, seed=1)
    by_tap, by_power = noise(batch, 2, samples, seed=2).to(dtype), noise(batch, 3, seed=3)
    found = {}
    for name in ("cpu", "generic"):
        module, bins_of = _loops(name), _loops(name, "color")
        target, by_spectrum = torch.zeros(batch, 2, length, dtype=dtype), torch.empty_like(spectrum)
        module.decaying_noise(bands, t60, RATE, target)
        by_setting = bins_of.color_gradient(
            error.clone(), spectrum, settings(batch), length, by_spectrum
        )
        found[name] = {
            "noise": target,
            "decays": module.decay_gradient(bands, t60, RATE, by_tap) * t60,
            "powers": module.band_powers(spectrum, bins),
            "spectrum": torch.view_as_real(
                module.spectrum_gradient(error, by_power, spectrum, bins)
            ),
            "colored": torch.view_as_real(bins_of.color(spectrum, settings(batch), length)),
            "by spectrum": torch.view_as_real(by_spectrum),
            "by setting": by_setting * settings(batch),
        }
    for what, one in found["cpu"].items():
        other = found["generic"][what]
        limit = ERROR_DB[dtype] + (25.0 if what in ("decays", "by setting") else 0.0)
        for item in range(batch):
            assert reference.error_db(one[item], other[item]) < limit, what


@pytest.mark.parametrize("step", [1, 2])
def test_gradcheck_of_the_decays(kernel, step):
    t60 = band_decays(values(0.02, 0.004), values(2.0, 0.5), values(0.3, 1.0)).requires_grad_()

    def run(seconds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bins = (0, 32, step)
        return room_spectrum(seconds, 16000.0, 20, 0, 64, bins, torch.float64)

    assert torch.autograd.gradcheck(run, t60, eps=1e-8, atol=1e-5)


def test_gradcheck_of_mix_cuts_and_pre_delay(kernel):
    rows = settings(3)
    rows[:, 4] = values(0.0, 3.3, 20.0)
    rows.requires_grad_()
    signal = noise(3, 2, 20).requires_grad_()

    def run(taps: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return room_response(torch.fft.rfft(taps, 64), own, 64, 40)

    assert torch.autograd.gradcheck(run, (signal, rows), atol=1e-6)


def test_the_number_of_threads_changes_nothing():
    pytest.importorskip("numba", reason="loops are compiled by numba")
    cpu, cpu_color = _loops("cpu"), _loops("cpu", "color")
    bands = band_noise(RATE, 30000, 0, torch.float32, CPU)
    spectrum, by_tap = spectra(4, 20001, torch.float32), noise(4, 2, 30000).float()
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            target, by_spectrum = torch.zeros(4, 2, 30000), torch.empty_like(spectrum)
            cpu.decaying_noise(bands, decays(), RATE, target)
            by_setting = cpu_color.color_gradient(
                spectrum.clone(), spectrum, settings(4), 40000, by_spectrum
            )
            by_decay = cpu.decay_gradient(bands, decays(), RATE, by_tap)
            powers = cpu.band_powers(spectrum, [1, 19999, 1])
            colored = cpu_color.color(spectrum, settings(4), 40000)
            found.append((target, by_spectrum, by_setting, by_decay, powers, colored))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seconds", [None, 0.25])
def test_rooms_of_very_different_decays(dtype, seconds):
    """Each item of a batch is the room that it is alone, by either implementation."""
    pytest.importorskip("numba", reason="loops are compiled by numba")
    room = [
        values(0.0, 120.0, 3.3), values(0.1, 0.4, 0.2), values(0.1, 4.0, 1.0),
        values(0.05, 0.3, 1.5), values(20.0, 1000.0, 90.0), values(20000.0, 1000.0, 7000.0),
        values(0.0, 1.0, 0.5),
    ]  # fmt: skip
    found = []
    for name in ("cpu", "generic"):
        with kernels.use(name):
            found.append(impulse_response(RATE, *room, dtype=dtype, seconds=seconds))
    for item in range(3):
        assert reference.error_db(found[0][item], found[1][item]) < ERROR_DB[dtype]


def test_a_second_backward_pass_is_refused(kernel):
    t60 = values(0.01).expand(9).reshape(1, 9).clone().requires_grad_()
    spectrum, _ = room_spectrum(t60, 16000.0, 20, 0, 64, (1, 30, 1), torch.float64)
    response = room_response(spectrum, settings(1), 64, 40)
    (first,) = torch.autograd.grad(response.square().sum(), t60, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        first.sum().backward()


def test_the_reverb_compiles_to_one_graph(kernel):
    x = noise(2, 2, 3000)
    table = [p for p in PARAMETERS if p.section == "reverb"]

    def run(audio: torch.Tensor, *room: torch.Tensor) -> torch.Tensor:
        return reverb(audio, 16000, *room, seconds=0.05)

    found = []
    for function in (run, torch.compile(run, backend="aot_eager", fullgraph=True)):
        room = [p.to_physical(values(0.3, 0.6)).requires_grad_() for p in table]
        y = function(x, *room)
        weights = noise(*y.shape, seed=4)
        found.append((y.detach(), *torch.autograd.grad((y * weights).sum(), room)))
    for one, other in zip(*found, strict=True):
        assert reference.error_db(one, other) < -180.0
