"""The recursions: blocks, threads, layouts, and the two implementations against each other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole.kernels import operators as kernels
from diffconsole.modules.compressor import generic_compressor as generic
from diffconsole.modules.compressor.compressor_operator import compress
from diffconsole.modules.equalizer.sections_operator import sections as run_sections
from tests import reference

from .helpers import noise, values

pytest.importorskip("numba", reason="compares the numba kernels with the torch ones")
BLOCK = 2048


def cascade(batch: int = 1) -> tuple[torch.Tensor, np.ndarray]:
    rows = np.array(
        [
            reference.section("high_pass", 44100, 120.0, 0.71),
            reference.section("peak", 44100, 800.0, 4.0, 9.0),
            reference.section("high_shelf", 44100, 6000.0, 0.6, -7.0),
        ]
    )
    coefficients = torch.from_numpy(np.delete(rows, 3, axis=1)).expand(batch, -1, -1)
    return coefficients.clone(), rows


COMPRESSOR = (0.98, 0.9995, -20.0, -0.75, 6.0, 2.0)


def compressor_settings(batch: int = 1) -> list[torch.Tensor]:
    return [values(*[v] * batch) for v in COMPRESSOR]


@pytest.mark.parametrize("samples", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5000])
def test_sections_do_not_feel_their_blocks(kernel, samples):
    coefficients, rows = cascade()
    x = noise(1, 1, samples)
    expected = signal.sosfilt(rows, x.numpy())
    assert reference.error_db(run_sections(x, coefficients), expected) < -155.0


@pytest.mark.parametrize("samples", [1, BLOCK, BLOCK + 1, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_two_implementations_agree(samples, dtype):
    found = {}
    for name in ("cpu", "generic"):
        x = noise(2, 2, samples, seed=1).to(dtype).requires_grad_()
        coefficients = cascade(2)[0].requires_grad_()
        settings = [s.requires_grad_() for s in compressor_settings(2)]
        with kernels.use(name):
            filtered = run_sections(x, coefficients)
            y = compress(filtered, *settings)
        weights = noise(2, 2, samples, seed=2).to(dtype)
        grads = torch.autograd.grad((y * weights).sum(), (x, coefficients, *settings))
        found[name] = (filtered.detach(), y.detach(), *grads)
    names = ["filtered", "compressed", "audio", "coefficients", *(f"setting {i}" for i in range(6))]
    for name, one, other in zip(names, found["cpu"], found["generic"], strict=True):
        if name.startswith("setting"):
            assert torch.allclose(one, other, rtol=1e-4 if dtype == torch.float32 else 1e-7), name
        else:
            # a transform in float32 rounds at −130 dB of the whole; what wraps around is −160 dB
            bar = -110.0 if dtype == torch.float32 else -130.0
            assert reference.error_db(one, other) < bar, name


def test_real_voices_agree(real_voices):
    clip = torch.from_numpy(real_voices[0][1])
    other = torch.from_numpy(real_voices[1][1])
    x = torch.stack((clip, other)).reshape(1, 2, -1)
    outputs = []
    for name in ("cpu", "generic"):
        with kernels.use(name):
            outputs.append(compress(run_sections(x, cascade()[0]), *compressor_settings()))
    assert reference.error_db(*outputs) < -125.0


@pytest.mark.parametrize("attack, release", [(0.3, 0.999), (0.999, 0.3), (0.9, 0.9)])
def test_policy_iteration_finds_the_recursion(attack, release):
    rng = np.random.default_rng(0)
    signals = [
        rng.random(4000),
        np.repeat(rng.random(40), 100),  # plateaus: the level meets the input, ties
        np.where(np.arange(4000) % 2, 1.0, 0.0),
        np.concatenate((np.ones(2000), np.zeros(2000))),
        np.zeros(4000),
        np.geomspace(1e-12, 1.0, 4000),
    ]
    v = torch.from_numpy(np.stack(signals))
    levels, rising = generic.scan_levels(v, values(*[attack] * len(v)), values(*[release] * len(v)))
    for row, level in zip(signals, levels.numpy(), strict=True):
        times = [-1.0 / np.log(a) for a in (attack, release)]
        expected = reference.detect(row, 1000.0, *times)
        assert level == pytest.approx(expected, rel=1e-10, abs=1e-300)
    before = torch.nn.functional.pad(levels[:, :-1], (1, 0))
    clear = (v - before).abs() > 1e-9
    assert torch.equal(rising[clear], (v > before)[clear])


@pytest.mark.parametrize("sweeps", [0, 1, 3])
def test_policy_iteration_has_a_cap(monkeypatch, sweeps):
    """What is not settled after so many sweeps is solved in turn: the same levels."""
    v = torch.from_numpy(np.random.default_rng(1).random((2, 3000)))
    coefficients = values(0.9, 0.5), values(0.999, 0.99)
    expected, _ = generic.scan_levels(v, *coefficients)
    counted = []
    scan = generic._linear_scan
    monkeypatch.setattr(generic, "_linear_scan", lambda *a: counted.append(1) or scan(*a))
    monkeypatch.setattr(generic, "MOST_SWEEPS", sweeps)
    levels, rising = generic.scan_levels(v, *coefficients)
    assert len(counted) == sweeps
    assert levels.numpy() == pytest.approx(expected.numpy(), rel=1e-12)
    before = torch.nn.functional.pad(levels[:, :-1], (1, 0))
    assert torch.equal(rising, v > before)
    start = values(0.7, 0.1)
    half, _ = generic.scan_levels(v[:, :1500], *coefficients, start)
    rest, _ = generic.scan_levels(v[:, 1500:], *coefficients, half[:, -1])
    monkeypatch.setattr(generic, "MOST_SWEEPS", 64)
    whole, _ = generic.scan_levels(v, *coefficients, start)
    both = torch.cat((half, rest), dim=-1)
    assert both.numpy() == pytest.approx(whole.numpy(), rel=1e-10)


def test_layouts_do_not_matter(kernel):
    coefficients, _ = cascade(2)
    x = noise(2, 2, 700)
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    assert torch.equal(run_sections(strided, coefficients), run_sections(x, coefficients))
    settings = compressor_settings(2)
    assert torch.equal(compress(strided, *settings), compress(x, *settings))
    broadcast = noise(1, 1, 700).expand(2, 2, -1)
    whole = run_sections(broadcast, coefficients)
    assert torch.equal(whole, run_sections(broadcast.contiguous(), coefficients))


def test_the_input_is_not_changed(kernel):
    x = noise(1, 2, 700)
    copy = x.clone()
    compress(x, *compressor_settings())
    run_sections(x, cascade()[0])
    assert torch.equal(x, copy)


def test_calls_from_many_threads_give_the_same_samples():
    x, (coefficients, _) = noise(4, 2, 20000), cascade(4)
    expected = compress(run_sections(x, coefficients), *compressor_settings(4))

    def again(_: int) -> torch.Tensor:
        return compress(run_sections(x, coefficients), *compressor_settings(4))

    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(y, expected) for y in pool.map(again, range(8)))


def test_one_thread_gives_the_same_samples():
    x, (coefficients, _) = noise(3, 2, 5000), cascade(3)
    expected = run_sections(x, coefficients)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(run_sections(x, coefficients), expected)
    finally:
        torch.set_num_threads(threads)


def test_silence_after_sound_is_not_slow():
    """States that decay into subnormal numbers cost forty times the time on most processors."""
    sound = noise(1, 1, 300_000)
    fading = sound.clone()
    fading[..., 2000:] = 0.0
    settings = compressor_settings()
    settings[1] = values(0.9)

    def seconds(x: torch.Tensor) -> float:
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            compress(run_sections(x, cascade()[0]), *settings)
            best = min(best, time.perf_counter() - start)
        return best

    with kernels.use("cpu"):
        seconds(sound[..., :10])
        assert seconds(fading) < 6.0 * seconds(sound) + 0.02


def test_a_second_backward_pass_is_refused_not_wrong():
    x = noise(1, 1, 50).requires_grad_()
    with kernels.use("cpu"):
        y = run_sections(x, cascade()[0])
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        first.square().sum().backward()


def test_the_environment_chooses_the_implementation(monkeypatch):
    x = torch.zeros(1, 1, 1)
    monkeypatch.delenv("DIFFCONSOLE_KERNEL", raising=False)
    assert kernels.name_for(x) == "cpu"
    monkeypatch.setenv("DIFFCONSOLE_KERNEL", "generic")
    assert kernels.name_for(x) == "generic"
    with kernels.use("cpu"):
        assert kernels.name_for(x) == "cpu"
    assert kernels.name_for(x) == "generic"


def test_without_numba_the_console_still_runs():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'numba' else find(name, *a)\n"
        "import torch; from diffconsole import Console\n"
        "c = Console(44100); y = c(torch.ones(1, 1, 64), c.defaults(1))\n"
        "print(float(y.abs().sum()) > 0)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "DIFFCONSOLE_KERNEL"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert run.stdout.strip() == "True", run.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_does_not_hang():
    code = (
        "import os, torch; torch.set_num_threads(2)\n"
        "from diffconsole.modules.equalizer.sections_operator import sections\n"
        "x = torch.ones(4, 1, 100); c = torch.tensor([[[1., 0, 0, 0, 0]]] * 4).double()\n"
        "sections(x, c); pid = os.fork()\n"
        "if pid == 0:\n"
        "    ok = torch.equal(sections(x, c), x); os._exit(0 if ok else 3)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.stdout.strip() == "0", run.stderr
