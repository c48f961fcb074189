"""The chain: order, bypass, channel rule, every rate and shape, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole import Console
from diffconsole.console import (
    compressor,
    deesser,
    delay,
    equalizer,
    gain,
    gate,
    pan,
    reverb,
    saturation,
)
from diffconsole.errors import SettingsError
from diffconsole.strip.parameters import (
    DEFAULT_PARAMETERS,
    EQ_BANDS,
    MODULES,
    PARAMETERS,
    SWITCHES,
)
from tests import reference

from ..modules.helpers import (
    RATES,
    assert_finite_with_gradients,
    check_gradients,
    full_range_ends,
    noise,
    square_wave,
    values,
)

KEYS = [p.key for p in PARAMETERS]
LATER = ("gate", "compressor_2", "deesser", "saturation", "delay")
ALL_BUT_DRY = {"pan", "delay", "reverb"}


def random_settings(seed: int, batch: int = 1, margin: float = 0.1) -> dict[str, torch.Tensor]:
    """Draw the settings of version 1.0 first, so that they are the same whatever came later."""
    generator = np.random.default_rng(seed)
    settings = {}
    for first in (True, False):
        row = [p for p in PARAMETERS if (p in DEFAULT_PARAMETERS) == first]
        units = torch.from_numpy(generator.uniform(margin, 1 - margin, (batch, len(row))))
        settings |= {p.key: p.to_physical(units[:, i]) for i, p in enumerate(row)}
    return settings


def plain(settings: dict[str, torch.Tensor], item: int = 0) -> dict[str, float]:
    return {key: float(value[item]) for key, value in settings.items()}


def every_default() -> dict[str, torch.Tensor]:
    """Every module on, at the table's defaults."""
    return {p.key: torch.tensor([p.default]) for p in PARAMETERS}


def part(settings: dict[str, torch.Tensor], module: str) -> dict[str, torch.Tensor]:
    return {k.split(".", 1)[1]: v for k, v in settings.items() if k.startswith(f"{module}.")}


@pytest.mark.parametrize("channels", [1, 2])
def test_order_of_the_chain(kernel, channels):
    x, s = noise(2, channels, 3000), random_settings(0, batch=2)
    y = gate(gain(x, s["input_gain.gain_db"]), 44100, **part(s, "gate"))
    y = compressor(equalizer(y, 44100, s), 44100, **part(s, "compressor"))
    y = compressor(y, 44100, **part(s, "compressor_2"))
    y = deesser(y, 44100, **part(s, "deesser"))
    y = saturation(y, 44100, **part(s, "saturation"))
    own = part(s, "delay")
    sent = 10.0 ** (own.pop("reverb_send_db") / 20.0)[:, None, None]
    echoes = delay(y, 44100, **own)
    room = y.mean(dim=1, keepdim=True) + sent * echoes.mean(dim=1, keepdim=True)
    y = pan(y, s["pan.position"]) + echoes + reverb(room, 44100, **part(s, "reverb"))
    y = gain(y, s["output_gain.gain_db"])
    assert torch.allclose(Console(44100)(x, s), y, rtol=1e-9, atol=1e-9)


def test_order_matters_where_it_should():
    """The compressor hears the EQ, and the input gain drives it."""
    x, s = noise(1, 1, 3000), Console(44100).defaults(1)
    s["compressor.threshold_db"] = torch.tensor([-40.0])
    console = Console(44100, bypass=ALL_BUT_DRY)
    louder = console(x, s | {"input_gain.gain_db": torch.tensor([12.0])})
    after = console(x, s | {"output_gain.gain_db": torch.tensor([12.0])})
    assert louder.square().sum() < 0.5 * after.square().sum()


@pytest.mark.parametrize("kind", ["random", "defaults", "every"])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_dry_strip_against_the_reference_on_real_voices(kernel, real_voices, kind, rate):
    import soxr

    console = Console(rate, bypass=ALL_BUT_DRY)
    pair = [soxr.resample(samples[:96000], fs, rate) for _, samples, fs in real_voices[:2]]
    stereo = np.stack([x[: min(map(len, pair))] for x in pair])
    settings = {
        "random": lambda: random_settings(2),
        "defaults": lambda: console.defaults(1),
        "every": every_default,
    }[kind]()
    settings["input_gain.gain_db"] = values(6.0)
    y = console(torch.from_numpy(stereo)[None].float(), settings)
    expected = reference.strip(stereo.astype(np.float32), rate, plain(settings))
    assert reference.error_db(y[0], expected) < -110.0


# --- bypass and channels -------------------------------------------------------------------------


def test_everything_bypassed_is_bit_identical():
    for channels in (1, 2):
        x = noise(1, channels, 1000).float()
        assert torch.equal(Console(48000, bypass=MODULES)(x, {}), x)
        assert torch.equal(Console(48000)(x, {}, bypass=MODULES), x)


@pytest.mark.parametrize("module", MODULES)
def test_a_bypassed_module_does_nothing_and_needs_no_settings(module):
    """One module on: the result is its function's, to the bit."""
    # Quiet enough for the gate to turn it down.
    x = noise(1, 2, 1500, level=0.03).float()
    s = random_settings(3) | {"gate.threshold_db": values(-10.0), "delay.time_ms": values(21.0)}
    on = Console(44100)(x, s, bypass=set(MODULES) - {module})
    alone = {
        "input_gain": lambda: gain(x, s["input_gain.gain_db"]),
        "gate": lambda: gate(x, 44100, **part(s, "gate")),
        "eq": lambda: equalizer(x, 44100, s),
        "compressor": lambda: compressor(x, 44100, **part(s, "compressor")),
        "compressor_2": lambda: compressor(x, 44100, **part(s, "compressor_2")),
        "deesser": lambda: deesser(x, 44100, **part(s, "deesser")),
        "saturation": lambda: saturation(x, 44100, **part(s, "saturation")),
        "pan": lambda: pan(x, s["pan.position"]),
        "delay": lambda: (
            x
            + delay(
                x, 44100, **{k: v for k, v in part(s, "delay").items() if k != "reverb_send_db"}
            )
        ),
        "reverb": lambda: x + reverb(x, 44100, **part(s, "reverb")),
        "output_gain": lambda: gain(x, s["output_gain.gain_db"]),
    }[module]()
    assert torch.equal(on, alone)
    assert not torch.equal(on, x)
    rest = {k: v for k, v in s.items() if not k.startswith(f"{module}.")}
    off = Console(44100, bypass=[module])
    assert torch.equal(off(x, rest), off(x, s))


def test_a_module_of_a_later_version_is_off_where_nothing_is_said_of_it():
    """Code written for version 1.0 keeps its sound, to the bit."""
    x, s = noise(1, 1, 3000).float(), Console(44100).defaults(1)
    assert set(s) == {p.key for p in DEFAULT_PARAMETERS}
    assert {key.split(".")[0] for key in s} == set(MODULES) - set(LATER)
    console = Console(44100)
    first = console(x, s)
    assert torch.equal(first, console(x, every_default(), bypass=LATER))
    for module in LATER:
        own = {k: v for k, v in every_default().items() if k.startswith(f"{module}.")}
        assert torch.equal(console(x, s | own, bypass={module}), first)
        on, value = {
            "gate": ("gate.threshold_db", -10.0), "deesser": ("deesser.threshold_db", -40.0),
            "compressor_2": ("compressor_2.threshold_db", -60.0), "delay": ("delay.time_ms", 21.0),
            "saturation": ("saturation.drive_db", 20.0),
        }[module]  # fmt: skip
        active = own | {on: torch.tensor([value])}
        assert not torch.allclose(console(x, s | active), first, atol=1e-3)


@pytest.mark.parametrize("band", EQ_BANDS)
def test_bands_are_bypassed_one_by_one(band):
    x, s = noise(1, 1, 1000), random_settings(4)
    console = Console(44100, bypass=set(MODULES) - {"eq"})
    off = console(x, s, bypass={f"eq.{band}"})
    assert torch.equal(off, equalizer(x, 44100, s, {f"eq.{band}"}))
    assert not torch.allclose(off, console(x, s))


def test_all_bands_off_is_the_eq_off():
    x = noise(1, 1, 1000)
    bands = {f"eq.{band}" for band in EQ_BANDS}
    console = Console(44100, bypass=(set(MODULES) - {"eq"}) | bands)
    assert torch.equal(console(x, {}), x)


@pytest.mark.parametrize("off", [set(), {"pan"}, {"reverb"}, {"pan", "reverb"}])
@pytest.mark.parametrize("channels", [1, 2])
def test_two_channels_unless_pan_and_reverb_are_both_bypassed(off, channels):
    console = Console(44100, bypass=off)
    y = console(torch.zeros(3, channels, 40), console.defaults(3))
    assert y.shape == (3, channels if len(off) == 2 else 2, 40)


def test_the_shape_never_depends_on_values():
    console = Console(44100)
    s = console.defaults(1) | {"reverb.wet_db": torch.tensor([-60.0])}
    assert console(torch.zeros(1, 1, 40), s).shape == (1, 2, 40)


def test_pan_moves_the_dry_signal_alone():
    x, s = noise(1, 1, 4000), random_settings(5)
    console = Console(44100)
    left = console(x, s | {"pan.position": values(-1.0)})
    centre = console(x, s | {"pan.position": values(0.0)})
    dry = Console(44100, bypass={"delay", "reverb"})(x, s | {"pan.position": values(0.0)})
    # to the left: +3 dB of dry there, none on the right; the return stays where it is
    change = left - centre
    assert reference.error_db(change[:, 0], (np.sqrt(2) - 1) * dry[:, 0]) < -200.0
    assert reference.error_db(change[:, 1], -dry[:, 1]) < -200.0


# --- sizes, types, batches -----------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [1, 999])
def test_any_rate_channels_and_length(kernel, rate, channels, samples):
    console = Console(rate)
    x = noise(1, channels, samples)
    s = {k: v.double() for k, v in every_default().items()} | {"reverb.decay_s": values(0.1)}
    y = console(x, s)
    assert y.shape == (1, 2, samples)
    dry = Console(rate, bypass=ALL_BUT_DRY)(x, s)
    assert reference.error_db(dry[0], reference.strip(x[0].numpy(), rate, plain(s))) < -140.0
    single = console(x.float(), s)
    assert single.dtype == torch.float32
    assert reference.error_db(single, y) < -105.0


def test_length_does_not_change_what_comes_before():
    x, s = noise(1, 1, 6000).float(), random_settings(6)
    console = Console(44100)
    assert reference.error_db(console(x, s)[..., :2500], console(x[..., :2500], s)) < -120.0


def test_the_same_twice():
    x, s = noise(2, 2, 3000).float(), random_settings(7, batch=2)
    assert torch.equal(Console(44100)(x, s), Console(44100)(x, s))
    again = Console(44100, reverb_seed=1)(x, s)
    assert not torch.allclose(again, Console(44100)(x, s), atol=1e-4)


def test_items_alone_or_in_a_batch(kernel):
    x, s = noise(3, 1, 9000), random_settings(8, batch=3)
    console = Console(44100)
    together, dry = console(x, s), Console(44100, bypass={"reverb"})(x, s)
    for i in range(3):
        alone = {k: v[i : i + 1] for k, v in s.items()}
        assert reference.error_db(together[i], console(x[i : i + 1], alone)[0]) < -80.0
        found = Console(44100, bypass={"reverb"})(x[i : i + 1], alone)[0]
        assert reference.error_db(dry[i], found) < -130.0


def test_normalised_settings_there_and_back():
    console = Console(44100)
    units = torch.rand(4, len(KEYS), dtype=torch.float64)
    assert torch.allclose(console.normalize(console.denormalize(units)), units, atol=1e-12)
    first = torch.rand(4, len(DEFAULT_PARAMETERS), dtype=torch.float64)
    assert torch.allclose(console.normalize(console.denormalize(first)), first, atol=1e-12)
    assert set(console.denormalize(first)) == set(console.defaults(1))
    for key, value in console.defaults(2).items():
        assert value.shape == (2,)
        assert float(value[0]) == pytest.approx(next(p.default for p in PARAMETERS if p.key == key))


# --- gradients -----------------------------------------------------------------------------------


def test_gradcheck_of_the_whole_chain(kernel):
    console = Console(16000, reverb_seconds=0.02)

    def run(x: torch.Tensor, *settings: torch.Tensor) -> torch.Tensor:
        return console(x, dict(zip(KEYS, settings, strict=True)))

    check_gradients(run, KEYS, noise(1, 1, 8, level=0.1), 0.45)


@pytest.mark.parametrize("sound", ["silence", "square"])
def test_finite_at_every_end(kernel, sound):
    console = Console(44100, reverb_seconds=0.01)
    audio = torch.zeros(1, 1, 400) if sound == "silence" else square_wave(400, 2)

    def run(x: torch.Tensor, *settings: torch.Tensor) -> torch.Tensor:
        return console(x, dict(zip(KEYS, settings, strict=True)))

    ends = list(full_range_ends(KEYS))
    # the generic kernel transforms seconds of ringing for each item
    assert_finite_with_gradients(run, ends if kernel == "cpu" else ends[:2], audio.float())


def test_finite_at_extremes_of_the_rate():
    for rate in (16000, 192000):
        console = Console(rate, reverb_seconds=0.05)
        for end in (0.0, 1.0):
            units = torch.full((1, len(KEYS)), end, dtype=torch.float64, requires_grad=True)
            x = square_wave(300).float().requires_grad_()
            console(x, console.denormalize(units)).square().mean().backward()
            assert units.grad is not None
            assert torch.isfinite(units.grad).all()


def test_silence_in_silence_out(kernel):
    y = Console(44100)(torch.zeros(1, 2, 500), every_default())
    assert float(y.abs().max()) == 0.0


def test_gradients_reach_settings_through_inference_made_caches():
    console = Console(44100)
    x = noise(1, 1, 100).float()
    with torch.inference_mode():
        console(x, console.defaults(1))
    s = {k: v.requires_grad_() for k, v in console.defaults(1).items()}
    console(x, s).square().sum().backward()
    assert s["reverb.decay_s"].grad is not None


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 15999, 192001, 384000])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(SettingsError, match=f"{rate:g} Hz.*16000 to 192000"):
        Console(rate)


def test_unknown_bypass_is_refused_with_the_names():
    with pytest.raises(SettingsError, match="'chorus'.*compressor"):
        Console(44100, bypass={"chorus"})
    with pytest.raises(SettingsError, match="did you mean 'eq.low_pass'"):
        Console(44100)(torch.zeros(1, 1, 4), {}, bypass={"low_pass"})
    assert Console(44100, bypass="reverb").bypass == {"reverb"}
    assert Console(44100, bypass=SWITCHES).bypass == set(SWITCHES)


def test_wrong_settings_are_refused_by_name():
    console, x = Console(44100), torch.zeros(2, 1, 40)
    s = console.defaults(2)
    with pytest.raises(SettingsError, match=r"'eq.peak_9.freq_hz'"):
        console(x, s | {"eq.peak_9.freq_hz": torch.zeros(2)})
    with pytest.raises(SettingsError, match=r"'reverb.width' has shape \(3,\).*\(2,\)"):
        console(x, s | {"reverb.width": torch.zeros(3)})
    with pytest.raises(SettingsError, match=r"'compressor.ratio' is missing; bypass 'compressor'"):
        console(x, {k: v for k, v in s.items() if k != "compressor.ratio"})
    with pytest.raises(SettingsError, match=r"'gate.ratio' is missing; bypass 'gate'"):
        console(x, s | {"gate.threshold_db": torch.zeros(2)})
    with pytest.raises(SettingsError, match=rf"\(2, 7\).*\(batch, 39 or {len(PARAMETERS)}\)"):
        console.denormalize(torch.zeros(2, 7))
    with pytest.raises(SettingsError, match=r"'gate.ratio' is missing"):
        console.normalize(s | {"gate.threshold_db": torch.zeros(2)})
    with pytest.raises(SettingsError, match=r"'compressor.ratio' is missing"):
        console.normalize({k: v for k, v in s.items() if k != "compressor.ratio"})


def test_wrong_audio_is_refused():
    console = Console(44100)
    for audio in (torch.zeros(40), torch.zeros(1, 3, 40), torch.zeros(1, 1, 0)):
        with pytest.raises(SettingsError, match="batch, 1 or 2 channels, samples"):
            console(audio, console.defaults(1))


def test_it_is_shown_with_what_it_was_made_with():
    assert repr(Console(48000)) == "Console(48000)"
    shown = repr(Console(44100.0, bypass={"reverb", "eq.low_pass"}, reverb_seconds=0.5))
    assert shown == "Console(44100, bypass={'eq.low_pass', 'reverb'}, reverb_seconds=0.5)"
    assert repr(Console(44100, reverb_seconds={"reverb": 0.5})).endswith("={'reverb': 0.5})")
