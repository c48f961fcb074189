"""Delay: where its echoes lie, how loud and on which side; exactness, gradients."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.signal import sosfilt
from torch import Tensor

from diffconsole.console import Console
from diffconsole.console.streaming import StreamingConsole
from diffconsole.errors import SettingsError
from diffconsole.kernels.operators import use
from diffconsole.modules.call import Call
from diffconsole.modules.delay.module import curve, stream
from diffconsole.modules.delay.process import delay, delay_response, level_of, tail_samples
from diffconsole.modules.delay.row import DELAY
from diffconsole.modules.delay.words import in_beats, sentence
from diffconsole.strip.chain import CHAIN
from diffconsole.strip.channel_strip import ChannelStrip
from diffconsole.strip.checks import check_module
from diffconsole.strip.parameters import default_settings
from tests.reference import echo, error_db, section

from .helpers import RATES, assert_finite_with_gradients, impulse, noise, square_wave, values

OPEN = {
    "time_ms": 50.0, "feedback": 0.5, "low_cut_hz": 150.0, "high_cut_hz": 7000.0,
    "width": 0.3, "wet_db": -12.0,
}  # fmt: skip

OWN = [p for p in DELAY.parameters if p.name in OPEN]
RANGES = {p.name: (p.low, p.high) for p in OWN}


def run(audio: Tensor, rate: float = 44100, **changes: float) -> Tensor:
    own = {k: values(*[v] * len(audio)) for k, v in (OPEN | changes).items()}
    return delay(audio, rate, **own)


def expected(x: np.ndarray, rate: int, samples: int, own: dict[str, float]) -> np.ndarray:
    """Echo after echo in the time domain, of a whole number of samples."""
    cuts = [
        section("high_pass", rate, own["low_cut_hz"], 0.71),
        section("low_pass", rate, own["high_cut_hz"], 0.71),
    ]
    angle = math.pi / 4 * (1.0 - own["width"])
    sides = np.sqrt(2.0) * np.array([math.cos(angle), math.sin(angle)])
    result, echo, level = np.zeros((2, len(x))), x, 10.0 ** (own["wet_db"] / 20.0)
    for k in range(60):
        for cut in cuts:
            echo = sosfilt([cut], echo)
        echo = np.concatenate((np.zeros(samples), echo))[: len(x)]
        result += (
            level * own["feedback"] ** k * np.outer(sides if k % 2 == 0 else sides[::-1], echo)
        )
    return result


@pytest.mark.parametrize("rate", RATES)
def test_it_is_echo_after_echo(rate):
    samples = round(0.05 * rate)
    own = OPEN | {"time_ms": 1000.0 * samples / rate, "feedback": 0.4}
    audio = noise(1, 2, rate // 2)
    want = expected(audio[0].mean(dim=0).numpy(), rate, samples, own)
    assert error_db(run(audio, rate, **own)[0].numpy(), want) <= -180.0


@pytest.mark.parametrize("width", [0.0, 0.7])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", RATES)
def test_it_is_a_delay_line_with_feedback(rate, channels, width):
    """Between samples, at most feedback, by loop and by response, in both precisions."""
    own = OPEN | {"time_ms": 21.337, "feedback": 0.9, "low_cut_hz": 20.0, "width": width}
    audio = noise(1, channels, rate // 5)
    want = echo(audio[0].mean(dim=0).numpy(), rate, own)
    assert error_db(run(audio, rate, **own)[0].numpy(), want) <= -180.0
    assert error_db(run(audio.float(), rate, **own)[0].numpy(), want) <= -125.0
    with use("generic"):
        assert error_db(run(audio, rate, **own)[0].numpy(), want) <= -120.0
        assert error_db(run(audio.float(), rate, **own)[0].numpy(), want) <= -120.0


def test_items_of_a_batch_have_their_own_settings():
    audio = noise(3, 1, 9000)
    rows = [
        OPEN, OPEN | {"time_ms": 133.3, "width": 0.0}, OPEN | {"feedback": 0.9, "time_ms": 20.0},
    ]  # fmt: skip
    together = {name: values(*(row[name] for row in rows)) for name in OPEN}
    for kernel in ("cpu", "generic"):
        with use(kernel):
            found = delay(audio, 44100, **together)
            for i, row in enumerate(rows):
                alone = run(audio[i : i + 1], **row)[0]
                assert error_db(found[i].numpy(), alone.numpy()) <= -120.0


def test_the_longest_echoes_need_no_more_memory_than_the_audio():
    """At most feedback the response would be over three minutes long."""
    own = OPEN | {"time_ms": 1500.0, "feedback": 0.9}
    assert delay_response(16000, *(values(own[n]) for n in list(OPEN)[:5])).shape[-1] > 3000000
    audio = noise(1, 1, 16000 * 4)
    with use("generic"):
        found = run(audio, 16000, **own)
    assert error_db(found.numpy(), run(audio, 16000, **own).numpy()) <= -120.0


def test_echoes_fall_by_the_feedback_and_change_sides():
    wide = run(impulse(44100), width=1.0, low_cut_hz=20.0, high_cut_hz=20000.0)[0]
    step = 2205
    energy = [(wide[:, k * step - 200 : k * step + 800] ** 2).sum(dim=-1) for k in (1, 2, 3)]
    assert float(energy[0][1]) < 1e-5 * float(energy[0][0])
    assert float(energy[1][0]) < 1e-5 * float(energy[1][1])
    assert 10 * math.log10(float(energy[1][1] / energy[0][0])) == pytest.approx(-6.02, abs=0.5)
    middle = run(impulse(44100), width=0.0)[0]
    assert torch.allclose(middle[0], middle[1], atol=1e-14)


@pytest.mark.parametrize("width", [0.0, 0.4, 1.0])
def test_an_echo_has_its_level_at_every_width(width):
    response = delay_response(44100, *(values(v) for v in (300.0, 0.0, 20.0, 20000.0, width)))
    assert float((response**2).sum()) == pytest.approx(2.0, rel=0.15)


def test_a_stereo_input_sends_the_mean_of_its_channels():
    audio = noise(1, 2, 20000)
    mean = audio.mean(dim=1, keepdim=True)
    assert torch.allclose(run(audio), run(mean), atol=1e-12)


def test_a_fraction_of_a_sample_moves_it_by_a_fraction():
    own = {k: values(OPEN[k]) for k in ("feedback", "low_cut_hz", "high_cut_hz", "width")}
    one, other = (delay_response(44100, values(ms), **own)[0, 0] for ms in (50.0, 50.01))
    spectrum = [torch.fft.rfft(h[2000:3200].double(), 8192)[400] for h in (one, other)]
    turned = float((spectrum[1] / spectrum[0]).angle())
    assert turned == pytest.approx(-2 * math.pi * 400 / 8192 * 0.441, rel=2e-2)


def test_it_has_faded_when_its_tail_ends():
    for feedback in (0.0, 0.46, 0.85):
        count = tail_samples(44100, 120.0, feedback)
        found = run(impulse(count + 30000), time_ms=120.0, feedback=feedback, wet_db=0.0)
        assert float(found[..., count:].abs().max()) <= 1.1e-3


def test_the_low_end_of_its_level_is_none():
    audio = noise(1, 1, 5000)
    for kernel in ("cpu", "generic"):
        with use(kernel):
            assert not run(audio, wet_db=-60.0).any()
            assert run(audio, wet_db=-59.9).any()
    low = values(-60.0).requires_grad_()
    level_of(low).backward()
    assert float(low.grad) == pytest.approx(1e-3 * math.log(10.0) / 20.0), "a search can leave it"
    off = ChannelStrip({**default_settings(), "delay.wet_db": -60.0}).effective()
    assert not off.on("delay")


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
@pytest.mark.parametrize("width", [0.0, 0.3])
@pytest.mark.parametrize("channels", [1, 2])
def test_it_adds_its_echoes_to_a_dry_signal(channels, width, kernel):
    audio, dry = noise(2, 1, 9000), noise(2, channels, 9000, seed=3)
    own = {k: values(v, v) for k, v in (OPEN | {"width": width}).items()}
    gain_db = values(3.0, -5.0)
    with use(kernel):
        wet = delay(audio, 44100, **own) * (10.0 ** (gain_db / 20.0))[:, None, None]
        found = delay(audio, 44100, **own, gain_db=gain_db, dry=dry)
        assert error_db((found - dry).numpy(), wet.numpy()) <= -200.0
        dry.requires_grad_()
        delay(audio, 44100, **own, gain_db=gain_db, dry=dry).sum().backward()
        assert (dry.grad == 3.0 - channels).all(), "one channel lies on both sides"


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
@pytest.mark.parametrize("block", [512, 5000])
def test_in_blocks_it_is_the_same(kernel, block):
    audio = noise(1, 2, 20000)
    call = Call(44100, {k: values(v) for k, v in OPEN.items()} | {"reverb_send_db": values(0.0)})
    with use(kernel):
        process = stream(audio[..., :block], call)
        parts = [process(audio[..., n : n + block]) for n in range(0, 20000, block)]
        assert error_db(torch.cat(parts, dim=-1).numpy(), run(audio).numpy()) <= -120.0


def test_it_compiles_to_one_graph():
    audio = noise(1, 1, 2000).float()
    own = {k: values(v).requires_grad_() for k, v in OPEN.items()}
    compiled = torch.compile(delay, fullgraph=True, backend="aot_eager")
    found = compiled(audio, 16000, **own, seconds=0.2)
    torch.testing.assert_close(found, delay(audio, 16000, **own, seconds=0.2))


# --- into the reverb -----------------------------------------------------------------------------


def strip_settings(**changes: float) -> dict[str, Tensor]:
    found = {key: values(value) for key, value in default_settings().items()}
    found |= {f"delay.{name}": values(value) for name, value in (OPEN | changes).items()}
    return found | {"reverb.decay_s": values(0.3)}


SENDS = Console(16000, bypass={m.key for m in CHAIN} - {"delay", "reverb", "output_gain"})


@pytest.mark.parametrize("channels", [1, 2])
def test_the_echoes_go_into_the_reverb(channels):
    audio = noise(1, channels, 8000)
    plain, sent = (
        SENDS(audio, strip_settings(reverb_send_db=db) | {"output_gain.gain_db": values(3.0)})
        for db in (-60.0, -6.0)
    )
    room = Console(16000, bypass={m.key for m in CHAIN} - {"reverb", "output_gain"})
    echoes = run(audio, 16000).mean(dim=1, keepdim=True)
    alone = strip_settings() | {"output_gain.gain_db": values(3.0)}
    more = room(echoes, alone) - echoes * 10.0 ** (3.0 / 20.0)
    assert error_db((sent - plain).numpy(), (10.0 ** (-6.0 / 20.0) * more).numpy()) <= -200.0
    without = SENDS(audio, alone | {"delay.reverb_send_db": values(-6.0)}, bypass={"reverb"})
    assert torch.equal(
        without, SENDS(audio, alone | {"delay.reverb_send_db": values(-60.0)}, bypass={"reverb"})
    )


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
def test_the_console_lets_it_add_its_echoes_to_what_is_panned(kernel):
    audio, gain_db = noise(1, 1, 8000), values(4.0)
    own = {k: v for k, v in strip_settings().items() if k.startswith("delay")}
    extra = {"pan.position": values(0.5), "output_gain.gain_db": gain_db}
    with use(kernel):
        on = Console(16000, bypass={m.key for m in CHAIN} - {"pan", "delay", "output_gain"})
        found = on(audio, own | extra)
        dry = Console(16000, bypass=on.bypass | {"delay"})(audio, extra)
        echoes = run(audio, 16000) * 10.0 ** (4.0 / 20.0)
        assert error_db((found - dry).numpy(), echoes.numpy()) <= -200.0
        stream = StreamingConsole(16000, bypass=on.bypass)
        parts = [stream(audio[..., n : n + 1024], own | extra) for n in range(0, 8000, 1024)]
        assert error_db(torch.cat(parts, dim=-1).numpy(), found.numpy()) <= -120.0


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_what_one_item_sends_on_changes_nothing_of_the_others(kind):
    audio, rows = noise(3, 1, 6000).to(kind), (-60.0, -6.0, -60.0)
    shared = strip_settings() | {"output_gain.gain_db": values(3.0)}
    together = {key: value.repeat(3) for key, value in shared.items()}
    found = SENDS(audio, together | {"delay.reverb_send_db": values(*rows)})
    for i, level_db in enumerate(rows):
        alone = SENDS(audio[i : i + 1], shared | {"delay.reverb_send_db": values(level_db)})
        assert torch.equal(found[i], alone[0])


@pytest.mark.parametrize("kernel", ["cpu", "generic"])
def test_a_level_that_is_no_number_is_sent_on(kernel):
    settings = {key: value.repeat(2) for key, value in strip_settings().items()}
    settings["delay.reverb_send_db"] = values(-60.0, math.nan)
    with use(kernel):
        found = SENDS(noise(2, 1, 6000), settings)
    assert torch.isfinite(found[0]).all() and found[1].isnan().any()


def test_what_is_sent_on_has_gradients_from_end_to_end():
    audio = noise(2, 1, 6000)
    both = {
        key: value.repeat(2).requires_grad_()
        for key, value in strip_settings(reverb_send_db=-60.0).items()
    }
    with torch.no_grad():
        both["delay.reverb_send_db"][1] = -10.0
    SENDS(audio, both).square().sum().backward()
    found = both["delay.reverb_send_db"].grad
    assert torch.isfinite(found).all() and (found != 0.0).all()


def test_a_row_that_sends_on_names_its_setting_and_is_a_send():
    others = [module for module in CHAIN if module.key != "delay"]
    check_module(DELAY, others)
    for changes in ({"feeds": "level_db"}, {"place": "insert"}):
        with pytest.raises(SettingsError, match="feeds is"):
            check_module(dataclasses.replace(DELAY, **changes), others)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [None, 0.3], ids=["loop", "response"])
def test_gradients_are_those_of_finite_differences(seconds):
    audio = noise(2, 1, 150)
    names = list(OPEN)
    # Shorter than its range, so that there are several echoes in a few samples.
    numbers = {**OPEN, "time_ms": 2.35, "width": 0.6}
    own = [values(numbers[n], numbers[n] * 0.95).requires_grad_() for n in names]

    def function(x: Tensor, *settings: Tensor) -> Tensor:
        return delay(x, 16000, **dict(zip(names, settings, strict=True)), seconds=seconds)

    assert torch.autograd.gradcheck(
        function, (audio.clone().requires_grad_(), *own), eps=1e-5, atol=1e-6, rtol=1e-3
    )


def test_loop_and_response_have_the_same_gradients_in_single_precision():
    audio = noise(2, 2, 9000).float()
    weights = noise(2, 2, 9000).float()
    found = []
    for kernel in ("cpu", "generic"):
        names = list(OPEN)
        own = [values(OPEN[n], OPEN[n] * 0.9).requires_grad_() for n in names]
        x = audio.clone().requires_grad_()
        with use(kernel):
            y = delay(x, 16000, **dict(zip(names, own, strict=True)))
            found.append((y.detach(), *torch.autograd.grad((y * weights).sum(), (x, *own))))
    for loop, response in zip(*found, strict=True):
        assert error_db(loop.numpy(), response.numpy()) <= -80.0
    with use("cpu"), torch.no_grad():
        plain = delay(audio, 16000, **{n: v.detach() for n, v in zip(names, own, strict=True)})
    torch.testing.assert_close(found[0][0], plain, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("seconds", [None, 1.0], ids=["loop", "response"])
@pytest.mark.parametrize("audio", [torch.zeros(1, 2, 2500).double(), square_wave(2500, 2)],
                         ids=["silence", "square"])  # fmt: skip
def test_gradients_are_finite_at_the_ends_of_every_range(audio, seconds):
    middle = {name: (low + high) / 2 for name, (low, high) in RANGES.items()}
    ends = [middle | {name: end} for name, pair in RANGES.items() for end in pair]
    ends += [{name: pair[end] for name, pair in RANGES.items()} for end in (0, 1)]
    assert_finite_with_gradients(lambda x, *s: delay(x, 16000, *s, seconds=seconds), ends, audio)


# --- words and plots -----------------------------------------------------------------------------


def test_its_curve_has_a_peak_at_every_echo():
    found = curve(44100, OPEN | {"time_ms": 100.0, "width": 0.0, "reverb_send_db": -60.0}, ())
    for k in range(1, 5):
        at = int(np.argmin(np.abs(found.x - 0.1 * k)))
        level = -12.0 + 20.0 * math.log10(0.5) * (k - 1)
        assert found.lines["left"][at] == pytest.approx(level, abs=1e-6)
        assert found.lines["right"][at] == pytest.approx(level, abs=1e-6)
    assert (np.diff(found.x) > 0.0).all()
    once = curve(44100, OPEN | {"feedback": 0.0, "width": 1.0}, ())
    assert (once.lines["left"] > -60.0).sum() == 1
    assert not (once.lines["right"] > -60.0).any()


@pytest.mark.parametrize(
    ("time_ms", "bpm", "said"),
    [
        (306.0, 147.0, "306 ms = 1/8 dotted at 147 BPM"),
        (500.0, 120.0, "500 ms = 1/4 at 120 BPM"),
        (166.7, 120.0, "167 ms = 1/8 triplet at 120 BPM"),
        (306.0, 120.0, ""),
        (306.0, 0.0, ""),
    ],
)
def test_a_time_is_a_note_value_where_one_fits(time_ms, bpm, said):
    assert in_beats(time_ms, bpm) == said


def test_it_says_what_it_does():
    own = {p.name: p.default for p in DELAY.parameters}
    assert sentence(own, ()) == [
        "echoes every 306 ms at −24 dB, each 46 % of the one before, a little wide"
    ]
    own |= {"feedback": 0.0, "width": 0.0, "reverb_send_db": -6.0}
    assert sentence(own, ()) == ["an echo after 306 ms at −24 dB, and at −6 dB into the reverb"]
