"""The GPU kernels against the torch ones and the reference; without a GPU in the interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import signal

from diffconsole import Console
from diffconsole.kernels import operators as kernels
from diffconsole.modules.compressor.compressor_operator import compress as run_compressor
from diffconsole.modules.equalizer.sections_operator import sections as run_sections
from tests import reference

from .helpers import noise, square_wave, values

pytest.importorskip("triton", reason="the GPU kernels need triton")

from diffconsole.modules.compressor import gpu_compressor, gpu_compressor_gradient  # noqa: E402
from diffconsole.modules.equalizer import gpu_sections  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CHUNK = 16
RATE = 44100
NAMES = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db", "makeup_db")
USUAL = dict(zip(NAMES, (-20.0, 4.0, 1.0, 50.0, 6.0, 2.0), strict=True))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Many chunks in a short signal, since the interpreter takes its time."""
    monkeypatch.setattr(gpu_compressor, "chunk_samples", lambda samples: CHUNK)
    monkeypatch.setattr(gpu_compressor_gradient, "BLOCK", 64)
    with kernels.use("gpu"):
        yield monkeypatch


def coefficient(time_ms: float) -> float:
    return float(np.exp(-1000.0 / (time_ms * RATE)))


def compress(audio: torch.Tensor, *rows: dict[str, float]) -> torch.Tensor:
    """Compress with one set of settings a row."""
    columns = (
        [coefficient(row["attack_ms"]) for row in rows],
        [coefficient(row["release_ms"]) for row in rows],
        [row["threshold_db"] for row in rows],
        [1.0 / row["ratio"] - 1.0 for row in rows],
        [row["knee_db"] for row in rows],
        [row["makeup_db"] for row in rows],
    )
    return run_compressor(audio.to(DEVICE), *(values(*c).to(DEVICE) for c in columns)).cpu()


def worst_error(output: torch.Tensor, audio: torch.Tensor, *rows: dict[str, float]) -> float:
    pairs = zip(output.numpy(), audio.double().numpy(), rows, strict=True)
    return max(reference.error_db(y, reference.compress(x, RATE, row)) for y, x, row in pairs)


def gradients(name: str, audio: torch.Tensor, *rows: tuple[float, ...]) -> list[torch.Tensor]:
    """Output and gradients of sections and compressor, settings as coefficients."""
    x = audio.to(DEVICE).requires_grad_()
    sections = torch.from_numpy(np.delete(cascade(), 3, axis=1)).expand(len(x), -1, -1)
    sections = sections.to(DEVICE).clone().requires_grad_()
    settings = [values(*c).to(DEVICE).requires_grad_() for c in zip(*rows, strict=True)]
    with kernels.use(name):
        y = run_compressor(run_sections(x, sections, 600), *settings)
    weights = noise(*x.shape, seed=9).to(x)
    found = torch.autograd.grad((y * weights).sum(), (x, sections, *settings))
    return [y.detach().cpu(), *(g.cpu() for g in found)]


def cascade() -> np.ndarray:
    kinds = (("high_pass", 400.0, 0.7), ("peak", 900.0, 2.0, 9.0), ("high_shelf", 6e3, 0.6, -7.0))
    return np.array([reference.section(kind, RATE, *rest) for kind, *rest in kinds])


# --- compressor ------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 350])
@pytest.mark.parametrize("channels", [1, 2])
def test_compressor_does_not_feel_its_chunks(samples, channels):
    x = noise(1, channels, samples)
    assert worst_error(compress(x, USUAL), x, USUAL) < -240.0
    x = x.float()
    assert worst_error(compress(x, USUAL), x, USUAL) < -120.0


@pytest.mark.parametrize("samples", [255, 256, 257])
def test_the_chunks_of_real_use(small_chunks, samples):
    small_chunks.setattr(gpu_compressor, "chunk_samples", lambda samples: 256)
    small_chunks.setattr(gpu_compressor, "SWEEPS", 1)
    x = noise(1, 1, samples)
    assert worst_error(compress(x, USUAL), x, USUAL) < -240.0


SHAPES = {
    "noise": lambda rng: rng.normal(0.0, 0.3, 300),
    "plateaus": lambda rng: np.repeat(rng.random(10), 30),
    "alternating": lambda rng: np.where(np.arange(300) % 2, 1.0, 0.0),
    "sound, then silence": lambda rng: np.concatenate((rng.random(100), np.zeros(200))),
    "zeros": lambda rng: np.zeros(300),
    "rising from nothing": lambda rng: np.geomspace(1e-12, 1.0, 300),
    "square": lambda rng: square_wave(300).numpy()[0, 0],
}


@pytest.mark.parametrize("attack_ms, release_ms", [(0.05, 2000.0), (150.0, 3.0), (2.0, 2.0)])
@pytest.mark.parametrize("rows_alone", [False, True], ids=["sweeps", "one program a row"])
def test_every_shape_of_level(small_chunks, attack_ms, release_ms, rows_alone):
    small_chunks.setattr(gpu_compressor, "ROWS_THAT_FILL", 1 if rows_alone else 100)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(np.stack([make(rng) for make in SHAPES.values()]))[:, None]
    own = USUAL | {"attack_ms": attack_ms, "release_ms": release_ms, "threshold_db": -40.0}
    y = compress(x, *[own] * len(x))
    assert torch.isfinite(y).all()
    for name, one, row in zip(SHAPES, y, x, strict=True):
        expected = reference.compress(row.numpy(), RATE, own)
        error = np.abs(one.numpy() - expected).max()
        assert error <= 1e-12 * max(np.abs(expected).max(), 1e-300), name


def test_a_row_that_settles_late_is_finished(small_chunks):
    """One sweep settles no row; programs that finish rows see a few chunks at a time."""
    rows = [
        USUAL | {"attack_ms": 0.05, "release_ms": 2000.0},
        USUAL,
        USUAL | {"attack_ms": 100.0, "release_ms": 5.0},
        USUAL | {"ratio": 1.0},
    ]
    x = noise(4, 2, 800) * torch.linspace(1.0, 0.01, 800)
    small_chunks.setattr(gpu_compressor, "SWEEPS", 1)
    small_chunks.setattr(gpu_compressor, "MOST_LANES", 32)
    late = compress(x, *rows)
    assert worst_error(late, x, *rows) < -240.0
    small_chunks.setattr(gpu_compressor, "SWEEPS", 12)
    assert reference.error_db(compress(x, *rows), late) < -240.0


def test_settled_rows_are_left_alone(small_chunks):
    """After enough sweeps nothing moves, and the programs that finish rows have no work."""
    small_chunks.setattr(gpu_compressor, "SWEEPS", 20)
    settle = gpu_compressor._settle
    seen = []

    class Watched:
        def __getitem__(self, grid):
            def launch(*arguments, **named):
                seen.append(arguments[3].clone())
                settle[grid](*arguments, **named)

            return launch

    small_chunks.setattr(gpu_compressor, "_settle", Watched())
    x = noise(1, 1, 800)
    compress(x, USUAL)
    assert seen and not seen[0].any()


def test_settings_of_a_row_are_its_own():
    rows = [USUAL, USUAL | {"knee_db": 0.0, "threshold_db": -30.0}, USUAL | {"ratio": 20.0}]
    x = noise(3, 1, 300)
    y = compress(x, *rows)
    for i, row in enumerate(rows):
        assert torch.equal(y[i : i + 1], compress(x[i : i + 1], row))


def test_real_voices(small_chunks, real_voices):
    small_chunks.setattr(gpu_compressor, "chunk_samples", lambda samples: 256)
    small_chunks.setattr(gpu_compressor, "LANES", 128)
    x = torch.from_numpy(
        np.stack([clip[RATE // 2 : RATE // 2 + 12000] for _, clip, _ in real_voices[:3]])
    )
    x = x[:, None]
    rows = [
        USUAL | {"threshold_db": -45.0},
        USUAL | {"threshold_db": -50.0, "attack_ms": 0.05, "release_ms": 2000.0},
        USUAL | {"threshold_db": -40.0, "attack_ms": 50.0, "release_ms": 10.0},
    ]
    assert worst_error(compress(x, *rows), x, *rows) < -120.0
    assert worst_error(compress(x.double(), *rows), x, *rows) < -230.0


# --- equalizer -------------------------------------------------------------------------------


@pytest.mark.parametrize("freq_hz", [16.0, 30.0])
@pytest.mark.parametrize("q", [0.71, 6.0])
def test_low_frequencies_in_single_precision(freq_hz, q):
    row = reference.section("high_pass", RATE, freq_hz, q)
    x = torch.from_numpy(np.cumsum(noise(1, 2, 20000).numpy(), axis=-1)).float() / 20.0
    section = torch.from_numpy(np.delete(row, 3))[None, None].to(DEVICE)
    y = run_sections(x.to(DEVICE), section).cpu()
    expected = signal.sosfilt(row[None], x.double().numpy())
    assert reference.error_db(y, expected) < -110.0


@pytest.mark.parametrize("sections", [1, 3, 8, gpu_sections.MOST_SECTIONS + 1])
def test_any_number_of_sections(sections):
    rows = np.concatenate([cascade()] * 6)[:sections]
    x = noise(2, 2, 500)
    given = torch.from_numpy(np.delete(rows, 3, axis=1)).expand(2, -1, -1).to(DEVICE)
    y = run_sections(x.to(DEVICE), given, 4000).cpu()
    assert reference.error_db(y, signal.sosfilt(rows, x.numpy())) < -150.0


def test_a_section_that_lets_nothing_through_has_gradients():
    """Where one section's response is 0 the others' gradients are 0, and its own is not."""
    x = noise(1, 1, 64).to(DEVICE)
    given = torch.from_numpy(np.delete(cascade(), 3, axis=1))[None].clone()
    given[0, 1, :3] = 0.0
    found = {}
    for name in ("gpu", "generic"):
        own = given.to(DEVICE).requires_grad_()
        with kernels.use(name):
            y = run_sections(x, own, 3000)
        (found[name],) = torch.autograd.grad((y * noise(1, 1, 64, seed=3).to(DEVICE)).sum(), own)
    assert torch.isfinite(found["gpu"]).all()
    assert found["gpu"][0, 1, 0] != 0.0
    assert torch.allclose(found["gpu"], found["generic"], rtol=1e-9, atol=1e-12)


# --- both ------------------------------------------------------------------------------------

ROWS = [
    (0.98, 0.9995, -20.0, -0.75, 6.0, 2.0),
    (0.999, 0.9, -30.0, -0.9, 0.0, 0.0),
]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels, samples", [(1, 1), (2, 65), (1, 200), (2, 200)])
def test_the_gpu_kernels_agree_with_the_torch_ones(kind, channels, samples):
    x = noise(2, channels, samples, seed=1).to(kind)
    pairs = zip(gradients("gpu", x, *ROWS), gradients("generic", x, *ROWS), strict=True)
    for i, (one, other) in enumerate(pairs):
        # A setting's gradient is a sum in which much cancels.
        single = -110.0 if i < 3 else -90.0
        bar = single if kind == torch.float32 else -220.0
        if other.abs().max() > 0.0:
            assert reference.error_db(one, other) < bar, i
        else:
            assert torch.equal(one, other), i


def test_the_same_input_gives_the_same_bits():
    x = noise(2, 2, 90).float()
    for one, other in zip(gradients("gpu", x, *ROWS), gradients("gpu", x, *ROWS), strict=True):
        assert torch.equal(one, other)


def test_strided_input_and_gradient():
    x = noise(2, 2, 90)
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    for one, other in zip(
        gradients("gpu", strided, *ROWS), gradients("gpu", x, *ROWS), strict=True
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("channels", [1, 2])
def test_compressor_gradients_are_those_of_finite_differences(small_chunks, channels):
    small_chunks.setattr(gpu_compressor, "chunk_samples", lambda samples: 2)
    small_chunks.setattr(gpu_compressor, "ROWS_THAT_FILL", 0)
    x = noise(1, channels, 5, seed=4).to(DEVICE).requires_grad_()
    settings = [values(v).to(DEVICE).requires_grad_() for v in (0.6, 0.9, -25.0, -0.7, 6.0, 1.0)]
    assert torch.autograd.gradcheck(run_compressor, (x, *settings), eps=1e-6, atol=1e-6)


def test_section_gradients_are_those_of_finite_differences(small_chunks):
    small_chunks.setattr(gpu_sections, "BINS_OF_GRADIENT", 16)
    small_chunks.setattr(gpu_sections, "STEPS_OF_GRADIENT", 2)
    x = noise(1, 2, 6).to(DEVICE).requires_grad_()
    given = torch.tensor([[[0.9, -0.3, 0.2, -0.5, 0.3], [0.5, 0.2, 0.1, 0.4, 0.2]]])
    given = given.double().to(DEVICE).requires_grad_()

    def run(audio: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
        return run_sections(audio, coefficients, 90)

    assert torch.autograd.gradcheck(run, (x, given), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_silence_and_a_full_scale_square_have_finite_gradients(kind):
    x = torch.cat((torch.zeros(1, 2, 200), square_wave(200, 2))).to(kind)
    found = gradients("gpu", x, (0.9, 0.9999, -60.0, -0.95, 0.0, 24.0), ROWS[0])
    assert all(torch.isfinite(tensor).all() for tensor in found)


# --- compiler, graphs ------------------------------------------------------------------------


def test_every_kernel_compiles_for_a_gpu(tmp_path):
    """The interpreter takes what the compiler refuses; the compiler needs no GPU."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.modules.gpu_compiler"],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [
        "_apply", "_correct", "_filter", "_filter_back", "_gather_peaks", "_join_blocks",
        "_prepare", "_scan_blocks", "_settle", "_sweep", "_write_gradients", "_write_levels",
    ]  # fmt: skip


@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device here")
def test_a_training_step_is_captured_in_a_cuda_graph():
    console = Console(RATE, reverb_seconds=2.0)
    x = noise(2, 1, RATE).float().cuda()
    unit = torch.full_like(console.normalize(console.defaults(2)), 0.45, device="cuda")
    unit.requires_grad_()

    def step() -> torch.Tensor:
        y = console(x, console.denormalize(unit))
        (gradient,) = torch.autograd.grad(y.square().mean(), unit)
        return gradient

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            expected = step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(captured, expected)


def test_cuda_tensors_get_the_gpu_kernels(monkeypatch):
    monkeypatch.delenv("DIFFCONSOLE_KERNEL", raising=False)
    with kernels.use(""):
        fake = torch.empty(1, device="meta")
        assert kernels.name_for(fake) == "generic"
        assert kernels.name_for(torch.empty(1)) == "cpu"
        monkeypatch.setattr(kernels, "_COMPILED", {"meta": ("gpu", "triton")})
        assert kernels.name_for(fake) == "gpu"


def test_the_whole_console_runs():
    console = Console(44100, reverb_seconds=0.2)
    dials = {k: v.requires_grad_() for k, v in console.defaults(2).items()}
    x = noise(2, 1, 800)
    found = {}
    for name in ("gpu", "generic"):
        with kernels.use(name):
            y = console(x, dials)
            found[name] = (y.detach(), *torch.autograd.grad(y.square().sum(), dials.values()))
    assert reference.error_db(found["gpu"][0], found["generic"][0]) < -200.0
    for one, other in zip(found["gpu"][1:], found["generic"][1:], strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-9)
