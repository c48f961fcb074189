"""Cookbook coefficients in one operator: those of dasp-pytorch's biquad, and their gradients."""

from __future__ import annotations

import pytest
import torch
from dasp_pytorch.signal import biquad
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from diffconsole.kernels import operators as kernels
from diffconsole.modules.equalizer.process import (
    FILTER_OF_BAND,
    HIGHEST_FREQUENCY,
    coefficients,
    equalizer_sections,
)
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS

from .helpers import noise

EQ = [p for p in PARAMETERS if p.section.startswith("eq.")]
RATES = (16000, 44100, 192000)
# The high end of a frequency may lie above what a rate has, where its gradient is 0.
BAND_OF_KIND = {FILTER_OF_BAND[band]: band for band in EQ_BANDS}


def expected(kind: str, rate: float, freq_hz: Tensor, q: Tensor, gain_db: Tensor | None) -> Tensor:
    """dasp-pytorch's coefficients in float64."""
    freq_hz = freq_hz.double().clamp(max=HIGHEST_FREQUENCY * rate)
    gain_db = torch.zeros_like(freq_hz) if gain_db is None else gain_db.double()
    b, a = biquad(gain_db, freq_hz, q.double(), rate, kind)
    return torch.cat((b, a[:, 1:]), dim=-1)


def grid(kind: str, dtype: torch.dtype) -> list[Tensor]:
    """Every combination of a band's settings at range ends, near them, and between."""
    own = [p for p in EQ if p.section == f"eq.{BAND_OF_KIND[kind]}"]
    by_name = {p.key.split(".")[-1]: p for p in own}
    places = torch.tensor([0.0, 1e-4, 0.21, 0.5, 0.83, 1.0], dtype=torch.float64)
    columns = [by_name[n].to_physical(places) for n in ("freq_hz", "q", "gain_db") if n in by_name]
    return [c.clone() for c in torch.cartesian_prod(*columns).to(dtype).unbind(dim=-1)]


def assert_near(found: Tensor, wanted: Tensor, relative: float) -> None:
    """Equal within a share of each value, or of a millionth of the largest, where all cancels."""
    allowed = relative * torch.maximum(wanted.abs(), 1e-6 * wanted.abs().max())
    assert bool(((found - wanted).abs() <= allowed).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("kind", list(BAND_OF_KIND))
def test_each_kind_is_that_of_dasp(kind, rate, dtype):
    found, wanted = [], []
    for function, results in ((coefficients, found), (expected, wanted)):
        settings = [s.requires_grad_() for s in grid(kind, dtype)]
        freq_hz, q, *gain_db = settings
        rows = function(kind, rate, freq_hz, q, gain_db[0] if gain_db else None)
        weights = noise(*rows.shape)
        results += [rows.detach(), *torch.autograd.grad((rows * weights).sum(), settings)]
    assert torch.allclose(found[0], wanted[0], rtol=1e-10, atol=1e-14)
    for one, other in zip(found[1:], wanted[1:], strict=True):
        assert one.dtype == dtype
        assert_near(one, other, 1e-6)
        assert other.abs().max() > 0.0


def strip_settings(batch: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    unit = torch.rand((len(EQ), batch), generator=generator, dtype=torch.float64)
    unit[:, :2] = torch.tensor([0.0, 1.0])
    return {p.key: p.to_physical(u).to(dtype) for p, u in zip(EQ, unit, strict=True)}


@pytest.mark.parametrize("bypass", [(), ("eq.high_pass",), ("eq.peak_2", "eq.low_pass")])
@pytest.mark.parametrize("with_gain", [False, True])
def test_the_whole_cascade_is_that_of_the_generic_one(bypass, with_gain):
    results = []
    for name in ("cpu", "generic"):
        settings = {k: v.requires_grad_() for k, v in strip_settings(9, torch.float32).items()}
        gain_db = torch.linspace(-48.0, 48.0, 9, dtype=torch.float64, requires_grad=True)
        leaves = [v for k, v in settings.items() if k.rsplit(".", 1)[0] not in bypass]
        leaves += [gain_db] if with_gain else []
        with kernels.use(name):
            rows = equalizer_sections(48000, settings, bypass, gain_db if with_gain else None)
        weights = noise(*rows.shape)
        results.append([rows.detach(), *torch.autograd.grad((rows * weights).sum(), leaves)])
    # Sines and powers are the C library's here and torch's there; their last bits differ.
    assert torch.allclose(results[0][0], results[1][0], rtol=1e-10, atol=1e-14)
    for one, other in zip(results[0][1:], results[1][1:], strict=True):
        assert_near(one, other, 1e-6)


def test_the_gain_is_that_of_the_first_section():
    settings = strip_settings(4)
    gain_db = torch.tensor([-6.0, 0.0, 6.0, 48.0], dtype=torch.float64)
    plain = equalizer_sections(44100, settings)
    found = equalizer_sections(44100, settings, (), gain_db)
    factor = (10.0 ** (gain_db / 20.0)).unsqueeze(-1)
    assert torch.allclose(found[:, 0, :3], factor * plain[:, 0, :3], rtol=1e-15, atol=0.0)
    assert torch.equal(found[:, 0, 3:], plain[:, 0, 3:])
    assert torch.equal(found[:, 1:], plain[:, 1:])


def test_first_and_second_derivatives():
    keys = [f"eq.{band}.{name}" for band in ("high_pass", "low_shelf", "peak_3", "high_shelf")
            for name in ("freq_hz", "q", "gain_db") if f"eq.{band}.{name}" in BY_KEY]  # fmt: skip
    bypass = ["eq.peak_1", "eq.peak_2", "eq.peak_4", "eq.low_pass"]
    unit = [torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True) for _ in keys]

    def run(*places: Tensor) -> Tensor:
        settings = {k: BY_KEY[k].to_physical(u) for k, u in zip(keys, places, strict=True)}
        return equalizer_sections(48000, settings, bypass, places[0])

    assert torch.autograd.gradcheck(run, unit, eps=1e-6, atol=1e-7, rtol=1e-5)
    assert torch.autograd.gradgradcheck(run, unit, eps=1e-6, atol=1e-6, rtol=1e-4)


def test_above_the_highest_frequency_nothing_changes():
    freq = torch.tensor([7839.0, 7840.0, 7841.0], dtype=torch.float64, requires_grad=True)
    q = torch.full((3,), 0.8, dtype=torch.float64)
    rows = coefficients("peaking", 16000, freq, q, torch.full_like(q, 6.0))
    (gradient,) = torch.autograd.grad(rows.sum(), freq)
    assert gradient[0] != 0.0 and gradient[1] != 0.0 and gradient[2] == 0.0


def test_mixed_types_and_no_items():
    settings = strip_settings(3, torch.float32)
    exact = {key: value.double() for key, value in settings.items()}
    mixed = {k: exact[k] if i % 2 else v for i, (k, v) in enumerate(settings.items())}
    assert torch.equal(equalizer_sections(48000, mixed), equalizer_sections(48000, exact))
    none = {key: value[:0] for key, value in settings.items()}
    assert equalizer_sections(48000, none).shape == (0, len(EQ_BANDS), 5)


def test_pretended_tensors_pass():
    """Shapes alone, as torch's compiler and planners run them, and a device without values."""
    with FakeTensorMode() as mode:
        settings = {k: mode.from_tensor(v).requires_grad_() for k, v in strip_settings(3).items()}
        rows = equalizer_sections(48000, settings)
        gradients = torch.autograd.grad(rows.sum(), list(settings.values()))
    meta = {key: value.to("meta") for key, value in strip_settings(3).items()}
    for found in (rows, equalizer_sections(48000, meta)):
        assert found.shape == (3, len(EQ_BANDS), 5) and found.dtype == torch.float64
    assert all(gradient.shape == (3,) for gradient in gradients)


def test_a_step_makes_few_nodes_of_the_graph():
    """The point of the operator: a graph of hundreds of nodes costs more than the filter."""
    settings = {key: value.requires_grad_() for key, value in strip_settings(2).items()}
    seen, waiting = set(), [equalizer_sections(48000, settings).grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    # One for each setting, and a few between.
    assert len(seen) <= len(settings) + 8


@pytest.mark.parametrize("kind", ["high_pass", "low_pass"])
def test_a_cut_has_no_gain(kind: str) -> None:
    settings = [torch.tensor([v], dtype=torch.float64) for v in (1000.0, 1.3, -7.5)]
    assert torch.equal(
        coefficients(kind, 48000, *settings), coefficients(kind, 48000, *settings[:2])
    )
