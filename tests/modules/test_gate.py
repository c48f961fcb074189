"""Gate: points of its static curve, its times, its hold, exactness, gradients, blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diffconsole.kernels.cpu_envelope import follow
from diffconsole.kernels.operators import use
from diffconsole.kernels.threads import loops_on
from diffconsole.modules.call import Call
from diffconsole.modules.gate import cpu_gate
from diffconsole.modules.gate.module import curve, stream
from diffconsole.modules.gate.process import change_db, gate, gate_settings, turned
from diffconsole.modules.gate.row import GATE
from tests.reference import error_db, expand

from .helpers import RATES, assert_finite_with_gradients, noise, square_wave, values

MIDDLE = {
    "threshold_db": -40.0, "ratio": 3.0, "range_db": 20.0,
    "attack_ms": 1.0, "hold_ms": 12.3, "release_ms": 60.0,
}  # fmt: skip
TIMES = ("attack", "hold", "release")


def run(audio: Tensor, rate: float = 44100, **changes: float) -> Tensor:
    return gate(
        audio, rate, **{k: values(*[v] * len(audio)) for k, v in (MIDDLE | changes).items()}
    )


def bursts(samples: int, channels: int = 1, rate: int = 44100) -> Tensor:
    """Words of noise with pauses 45 dB below them."""
    place = torch.arange(samples) / rate
    return noise(1, channels, samples) * torch.where((place * 4.0) % 1.0 < 0.5, 1.0, 0.0056)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_it_is_the_equation(rate, channels):
    audio = bursts(rate // 4, channels, rate)
    want = expand(audio[0].numpy(), rate, MIDDLE)
    assert error_db(run(audio, rate)[0].numpy(), want) <= -250.0
    assert error_db(run(audio.float(), rate)[0].numpy(), want) <= -110.0


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
def test_with_and_without_gradients_it_is_the_same(kernel):
    audio = bursts(9000, 2)
    with use(kernel):
        plain = run(audio)
        tracked = run(audio.requires_grad_())
    assert torch.allclose(plain, tracked, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch, channels", [(1, 1), (1, 2), (3, 1), (11, 2)])
@pytest.mark.parametrize("spoilt", [False, True], ids=["sound", "with NaN"])
def test_segments_side_by_side_have_the_bits_of_one_loop(
    monkeypatch, kind, batch, channels, spoilt
):
    """Digital silence that is longer than a segment, in which no level can be met, included."""
    monkeypatch.setattr(cpu_gate, "SEGMENT", 4096)
    audio = bursts(60000, channels).to(kind).expand(batch, -1, -1).clone()
    audio[:, :, 20000:32000] = 0.0
    if spoilt:
        audio[0, 0, 300] = audio[-1, -1, 45000] = math.nan
    audio *= torch.linspace(0.1, 1.0, batch).to(kind)[:, None, None]
    rows = {key: values(*[value] * batch) for key, value in MIDDLE.items()}
    rows["hold_ms"] = torch.linspace(0.0, 40.0, batch, dtype=torch.float64)
    arrays = {key: value.numpy() for key, value in rows.items()}
    times = np.stack(gate_settings(44100, *[arrays[f"{n}_ms"] for n in TIMES]), axis=-1)
    peaks = np.abs(audio.numpy()).max(axis=1)
    level, _ = follow(peaks, times, np.zeros((batch, 2)))
    curve_settings = [arrays[key] for key in ("threshold_db", "ratio", "range_db")]
    want = turned(audio.numpy(), level, *curve_settings)
    for threads in (1, 2, 5):
        with loops_on(threads):
            found = gate(audio.numpy(), 44100, **arrays)
        assert np.array_equal(found, want, equal_nan=True)


@pytest.mark.parametrize("ratio, range_db", [(1.0, 20.0), (1.0005, 20.0), (4.0, 0.0), (8.0, 60.0)])
def test_blocks_at_rest_have_the_gain_of_the_curve(ratio, range_db):
    """Above the threshold nothing changes a bit; far below it is the range."""
    audio = bursts(40000).float()
    level = audio.abs()[:, 0] * 0.0 + torch.linspace(0.0, 0.5, 40000)
    found = turned(audio, level, values(-20.0), values(ratio), values(range_db))
    assert torch.equal(found[..., 16384:], audio[..., 16384:])
    change = change_db(level.double(), *(values(v)[:, None] for v in (-20.0, ratio, range_db)))
    want = audio.double() * 10.0 ** (change / 20.0)
    assert error_db(found[0].numpy(), want[0].numpy()) <= -120.0


def test_points_of_the_curve():
    sign = torch.where(torch.arange(20000) % 2 == 0, 1.0, -1.0).to(torch.float64)
    for level_db, out_db in ((-30.0, -30.0), (-40.0, -40.0), (-45.0, -55.0), (-70.0, -90.0)):
        steady = (sign * 10.0 ** (level_db / 20.0)).reshape(1, 1, -1)
        found = 20.0 * math.log10(float(run(steady, attack_ms=0.1)[0, 0, -1].abs()))
        assert found == pytest.approx(out_db, abs=1e-6), level_db


def test_it_is_off_at_ratio_one_and_without_a_range():
    audio = bursts(8000)
    for idle in ({"ratio": 1.0}, {"range_db": 0.0}):
        assert torch.equal(run(audio, **idle), audio)


def test_it_stays_open_for_the_hold():
    """After a burst the gain keeps 1 for as long as the level is held, then falls."""
    rate, burst = 48000, 4800
    audio = torch.full((1, 1, 24000), 1e-4, dtype=torch.float64)
    audio[..., :burst] = 0.5

    def opened(hold_ms: float) -> float:
        gain = run(audio, rate, hold_ms=hold_ms)[0, 0, burst:] / 1e-4
        return float((gain > 0.99).sum()) / rate * 1000.0

    assert opened(100.0) - opened(0.0) == pytest.approx(100.0, abs=0.05)


def test_the_louder_channel_opens_both():
    audio = torch.cat((bursts(6000), 0.01 * bursts(6000)), dim=1)
    found = run(audio)
    assert torch.allclose(found[:, 1:] / audio[:, 1:], found[:, :1] / audio[:, :1])


def test_gradients_are_those_of_finite_differences():
    audio = bursts(350, 2) + 1e-3
    names = list(MIDDLE)
    own = [values(MIDDLE[n] if n != "hold_ms" else 1.23).requires_grad_() for n in names]

    def function(x: Tensor, *settings: Tensor) -> Tensor:
        return gate(x, 16000, **dict(zip(names, settings, strict=True)))

    assert torch.autograd.gradcheck(
        function, (audio.clone().requires_grad_(), *own), eps=1e-7, atol=1e-5, rtol=1e-3
    )


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
@pytest.mark.parametrize("audio", [torch.zeros(1, 2, 300).double(), square_wave(300, 2)],
                         ids=["silence", "square"])  # fmt: skip
def test_gradients_are_finite_at_the_ends_of_every_range(kernel, audio):
    ends = []
    middle = {p.name: float(p.to_physical(0.5)) for p in GATE.parameters}
    for p in GATE.parameters:
        ends += [middle | {p.name: p.low}, middle | {p.name: p.high}]
    ends += [{p.name: getattr(p, end) for p in GATE.parameters} for end in ("low", "high")]
    with use(kernel):
        assert_finite_with_gradients(lambda x, *s: gate(x, 44100, *s), ends, audio)


@pytest.mark.parametrize("block", [512, 5000])
def test_in_blocks_it_is_the_same(block):
    audio = bursts(20000, 2)
    call = Call(44100, {k: values(v) for k, v in MIDDLE.items()})
    process = stream(audio[..., :block], call)
    parts = [process(audio[..., n : n + block]) for n in range(0, 20000, block)]
    assert torch.allclose(torch.cat(parts, dim=-1), run(audio), rtol=0, atol=1e-14)


def test_it_compiles_to_one_graph():
    audio = bursts(2000).float()
    own = {k: values(v).requires_grad_() for k, v in MIDDLE.items()}
    compiled = torch.compile(gate, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(audio, 44100, **own), gate(audio, 44100, **own))


def test_its_curve_is_what_it_does():
    found = curve(44100, MIDDLE, ())
    at = {float(x): float(y) for x, y in zip(found.x, found.lines["output"], strict=True)}
    assert at[-30.0] == pytest.approx(-30.0)
    assert at[-45.0] == pytest.approx(-55.0)
    assert at[-70.0] == pytest.approx(-90.0)
