"""The simplest strip that sounds the same: what is left out, what stays, and how far it is."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
import torch

from diffconsole.audio.take import take_of
from diffconsole.cli.common import in_words
from diffconsole.console import Console
from diffconsole.console.arrays import ArrayConsole
from diffconsole.export import formats
from diffconsole.jobs.written import simple_strip, whole_strip
from diffconsole.losses import MixTarget
from diffconsole.model.predictor import Prediction, Predictor
from diffconsole.simplify import SAME, Simplified, bands_of, simplify
from diffconsole.simplify.low_end import below_of, curve_db, low_end_of
from diffconsole.strip.channel_strip import ChannelStrip
from diffconsole.strip.later import LATER, start_settings
from diffconsole.strip.parameters import BY_KEY, DEFAULT_PARAMETERS, EQ_BANDS, PARAMETERS
from diffconsole.strip.preset import Preset

from ..commands import done, write_model, write_take
from ..synthetic import RATE, voice

CROOKED = {
    "input_gain.gain_db": 2.37,
    "eq.high_pass.freq_hz": 63.7,
    "eq.low_shelf.freq_hz": 117.3,
    "eq.low_shelf.gain_db": -0.71,
    "eq.peak_1.freq_hz": 311.3,
    "eq.peak_1.gain_db": -0.93,
    "eq.peak_1.q": 2.94,
    "eq.peak_2.freq_hz": 807.5,
    "eq.peak_2.gain_db": -1.55,
    "eq.peak_2.q": 1.76,
    "eq.peak_3.freq_hz": 2082.2,
    "eq.peak_3.gain_db": -0.63,
    "eq.peak_3.q": 0.78,
    "eq.peak_4.freq_hz": 7125.0,
    "eq.peak_4.gain_db": 1.86,
    "eq.high_shelf.freq_hz": 4360.7,
    "eq.high_shelf.gain_db": 3.06,
    "eq.low_pass.freq_hz": 17474.0,
    "eq.low_pass.q": 1.18,
    "compressor.threshold_db": -22.41,
    "compressor.ratio": 3.2778,
    "compressor.attack_ms": 1.5434,
    "compressor.release_ms": 103.21,
    "compressor.knee_db": 6.225,
    "compressor.makeup_db": 2.626,
    "reverb.pre_delay_ms": 28.36076,
    "reverb.decay_s": 1.2694,
    "reverb.wet_db": -24.637,
    "output_gain.gain_db": 1.982,
}
IDLE = {"compressor.ratio": 1.0, "compressor.makeup_db": 0.0}
OFF = frozenset({"reverb", "eq.low_pass"})
"""Of these no value does nothing."""


def strip(**changes: float) -> dict[str, float]:
    """A strip of which only the high-pass and what is given do anything; ``__`` is a dot."""
    named = {key.replace("__", "."): value for key, value in changes.items()}
    return {**start_settings(), **IDLE, **named}


@functools.cache
def take(seconds: float = 4.0, seed: int = 1) -> np.ndarray:
    return voice(seconds, seed)[None]


def rendered(
    settings: dict[str, float], bypass: frozenset[str], samples: np.ndarray
) -> torch.Tensor:
    tensors = {key: torch.tensor([v], dtype=torch.float64) for key, v in settings.items()}
    # As a preset is rendered: what does nothing is left out.
    off = ChannelStrip(settings, bypass).effective().off
    with torch.inference_mode():
        return Console(RATE)(torch.from_numpy(samples)[None], tensors, off).expand(-1, 2, -1)


def distance(
    full: dict[str, float],
    found: Simplified,
    samples: np.ndarray,
    bypass: frozenset[str] = frozenset(),
) -> float:
    target = MixTarget(rendered(full, bypass, samples), RATE, bounded=True)
    return float(target.distance(rendered(found.settings, found.bypass, samples)))


def on(found: Simplified) -> set[str]:
    return {band for band in EQ_BANDS if f"eq.{band}" not in found.bypass}


def eq_db(found: Simplified, freq_hz: list[float]) -> np.ndarray:
    return curve_db(found.settings, np.array(freq_hz), on(found))


@functools.cache
def simplified() -> Simplified:
    return simplify({**start_settings(), **CROOKED}, take(), RATE)


def test_a_crooked_strip_gets_half_its_bands_and_sounds_the_same():
    full = {**start_settings(), **CROOKED}
    found = simplified()
    assert bands_of(found.bypass) <= 5
    assert {"compressor", "reverb", "eq"}.isdisjoint(found.bypass)
    measured = distance(full, found, take())
    assert 0.0 < measured <= SAME
    assert found.distance == pytest.approx(measured, rel=0.05)


def test_values_are_those_that_are_dialled():
    settings = simplified().settings
    for key in (
        "compressor.ratio",
        "compressor.attack_ms",
        "reverb.low_cut_hz",
        "reverb.high_ratio",
    ):
        assert settings[key] == float(f"{settings[key]:.2g}")
    for key in ("compressor.threshold_db", "compressor.makeup_db"):
        assert settings[key] % 0.5 == 0.0
    assert_no_more_than_four_digits(settings)


def assert_no_more_than_four_digits(settings: dict[str, float]) -> None:
    for parameter in PARAMETERS:
        value = settings[parameter.key]
        assert parameter.low <= value <= parameter.high
        digits = 3 if parameter.name == "q" else 5 if parameter.key == "delay.time_ms" else 4
        assert value == float(f"{value:.{digits}g}")
        if parameter.is_decibel or parameter.key == "reverb.pre_delay_ms":
            assert value == round(value, 2)


def test_where_nothing_can_be_left_out_values_are_of_four_digits_all_the_same():
    # Every band has a sharp peak or dip of its own, at values between those that are dialled.
    rng = np.random.default_rng(3)
    full = start_settings() | {
        p.key: p.clip(float(p.to_physical(p.to_normalised(p.default) + rng.uniform(0.0, 1e-3))))
        for p in DEFAULT_PARAMETERS
    }
    for band, (freq_hz, gain_db) in enumerate(
        ((211.1111, 7.00321), (801.2345, -7.12345), (2345.678, 7.23456), (5678.912, -7.3456)), 1
    ):
        full[f"eq.peak_{band}.freq_hz"] = freq_hz
        full[f"eq.peak_{band}.gain_db"] = gain_db
        full[f"eq.peak_{band}.q"] = 3.98765
    full |= {"eq.low_shelf.gain_db": -5.4321, "eq.high_shelf.gain_db": 8.7654}
    full |= {"reverb.pre_delay_ms": 20.06601, "reverb.wet_db": -36.4321}
    found = simplify(full, take(), RATE)
    assert_no_more_than_four_digits(found.settings)
    assert distance(full, found, take()) <= SAME
    assert len(on(found)) >= 6


def test_the_pre_delay_gets_hundredths_of_a_millisecond_unless_the_return_is_loud():
    for wet_db, most in ((-26.0, 20.07), (-3.0, 20.066)):
        full = {**start_settings(), **CROOKED}
        full |= {"reverb.pre_delay_ms": 20.06601, "reverb.wet_db": wet_db}
        found = simplify(full, take(), RATE)
        assert found.settings["reverb.pre_delay_ms"] == most
        assert distance(full, found, take()) <= SAME


def test_idle_bands_and_modules_are_switched_off_and_only_these():
    full = strip(eq__peak_2__gain_db=5.0, eq__peak_2__q=1.3, eq__peak_4__gain_db=0.02)
    found = simplify(full, take(), RATE, bypass=OFF)
    others = {f"eq.{band}" for band in EQ_BANDS} - {"eq.high_pass", "eq.peak_2"}
    assert found.bypass == others | {"pan", "compressor", "reverb", *LATER}
    for key, value in (("freq_hz", 900.0), ("gain_db", 5.0), ("q", 1.3)):
        assert found.settings[f"eq.peak_2.{key}"] == pytest.approx(value, rel=0.05)
    assert distance(full, found, take(), OFF) <= SAME


def test_two_bells_that_make_one_curve_become_one():
    bells = {
        f"eq__{band}__{name}": value
        for band in ("peak_2", "peak_3")
        for name, value in (("freq_hz", 1500.0), ("gain_db", 2.5), ("q", 0.8))
    }
    found = simplify(strip(**bells), take(), RATE, bypass=OFF)
    (bell,) = on(found) - {"high_pass"}
    assert bell.startswith("peak")
    summed = eq_db(found, [1500.0]) - eq_db(found, [10000.0])
    # What the curve needs on top stands in the input gain.
    gain_db = found.settings["input_gain.gain_db"] + found.settings["output_gain.gain_db"]
    assert summed[0] == pytest.approx(5.0, abs=0.3)
    assert gain_db == pytest.approx(0.0, abs=0.2)


def effort(settings: dict[str, float], bands: set[str]) -> float:
    """Mean square of what the bells, the shelves and the input gain do, each for itself, dB²."""
    freq_hz = np.geomspace(40.0, 16000.0, 100)
    curves_db = [curve_db(settings, freq_hz, [b]) for b in bands if not b.endswith("pass")]
    return float(np.square(curves_db).mean(axis=1).sum()) + settings["input_gain.gain_db"] ** 2


@pytest.mark.parametrize(
    ("changes", "at_most"),
    [
        # A shelf and a bell against it, which a smaller bell and shelf can stand in for.
        (
            {
                "eq__low_shelf__gain_db": 6.0,
                "eq__low_shelf__freq_hz": 300.0,
                "eq__peak_1__gain_db": -6.0,
                "eq__peak_1__freq_hz": 250.0,
                "eq__peak_1__q": 0.5,
                "eq__peak_2__gain_db": 2.0,
            },
            0.8,
        ),
        (
            {
                "eq__high_shelf__gain_db": 7.5,
                "eq__high_shelf__freq_hz": 1050.0,
                "eq__peak_4__gain_db": 5.0,
                "eq__peak_4__freq_hz": 2240.0,
                "eq__peak_2__gain_db": -3.0,
                "eq__peak_1__gain_db": -3.0,
            },
            1.1,
        ),
    ],
)
def test_bands_do_not_work_against_each_other(changes, at_most):
    full = strip(**changes)
    found = simplify(full, take(), RATE, bypass=OFF)
    assert distance(full, found, take(), OFF) <= SAME
    assert bands_of(found.bypass) <= 4
    assert effort(found.settings, on(found)) <= at_most * effort(full, set(EQ_BANDS))


def test_an_audible_module_stays():
    full = strip(reverb__wet_db=-14.0, compressor__ratio=4.0, compressor__threshold_db=-35.0)
    found = simplify(full, take(), RATE)
    assert {"reverb", "compressor"}.isdisjoint(found.bypass)
    assert distance(full, found, take()) <= SAME


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_is_lifted_below_the_voice(seed):
    samples = take(4.0, seed)
    low_end = low_end_of(samples[0], RATE)
    assert low_end is not None
    full = {
        **start_settings(), **CROOKED,
        "eq.low_shelf.gain_db": -3.0, "eq.peak_1.freq_hz": 1.7 * low_end.lowest_hz,
        "eq.peak_1.gain_db": 5.0,
    }  # fmt: skip
    below_hz = below_of(low_end.lowest_hz)
    before_db = curve_db(full, below_hz).max()
    found = simplify(full, samples, RATE)
    assert curve_db(found.settings, below_hz, on(found)).max() <= max(0.1, before_db + 0.05)
    assert "eq.high_pass" not in found.bypass or before_db < 0.0


def test_the_high_pass_stays_where_there_is_rumble_and_goes_where_nothing_is():
    clean = take()[0]
    spectrum = np.fft.rfft(clean)
    spectrum[np.fft.rfftfreq(len(clean), 1.0 / RATE) < 60.0] = 0.0
    clean = np.fft.irfft(spectrum, len(clean)).astype(np.float32)
    rumble = 0.01 * np.sin(2.0 * np.pi * 17.0 * np.arange(len(clean)) / RATE).astype(np.float32)
    full = strip(eq__high_pass__freq_hz=20.0, eq__peak_3__gain_db=4.0)
    assert "high_pass" in on(simplify(full, (clean + rumble)[None], RATE, bypass=OFF))
    assert "high_pass" not in on(simplify(full, clean[None], RATE, bypass=OFF))


def test_the_same_vocal_gives_the_same_strip():
    full = {**start_settings(), **CROOKED}
    assert simplify(full, take().copy(), RATE) == simplified()


def test_one_thread_of_torch_which_is_restored(monkeypatch):
    # Most of its operations are so short that sharing them out takes several times as long.
    before = torch.get_num_threads()
    during = []

    def rendering(self: ArrayConsole, *arguments: object) -> np.ndarray:
        during.append(torch.get_num_threads())
        if len(during) == 2:
            raise RuntimeError("stop")
        return np.full((1, 1, RATE), 0.1, np.float32)

    monkeypatch.setattr(ArrayConsole, "__call__", rendering)
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError, match="stop"):
            simplify({**start_settings(), **CROOKED}, take(), RATE)
        assert during == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_is_off_stays_off():
    full = {**start_settings(), **CROOKED}
    found = simplify(full, take(), RATE, bypass={"reverb", "eq"})
    assert {"reverb", "eq"} <= found.bypass
    for band in EQ_BANDS:
        assert f"eq.{band}" not in found.bypass


@pytest.mark.parametrize("samples", [1, 500, 5000])
def test_very_short_takes(samples):
    found = simplify({**start_settings(), **CROOKED}, take()[:, 1000 : 1000 + samples], RATE)
    assert found.distance <= SAME
    assert all(np.isfinite(value) for value in found.settings.values())


def test_silence_keeps_everything():
    full = {**start_settings(), **CROOKED}
    found = simplify(full, np.zeros((1, RATE), np.float32), RATE)
    assert found.settings == pytest.approx(full, rel=5e-3)
    assert_no_more_than_four_digits(found.settings)
    assert found.bypass <= {"pan", *LATER}


def test_a_longer_take_is_checked_beyond_the_passages():
    samples = take(30.0, 5)
    full = {**start_settings(), **CROOKED}
    found = simplify(full, samples, RATE)
    assert bands_of(found.bypass) < len(EQ_BANDS)
    assert distance(full, found, samples) <= SAME


def test_intervals_move_with_their_settings():
    settings = {**start_settings(), **CROOKED}
    around = {
        p.key: tuple(
            p.clip(p.to_physical(p.to_normalised(settings[p.key]) + d)) for d in (-0.05, 0.05)
        )
        for p in PARAMETERS
    }
    prediction = Prediction(settings, around)
    found = simple_strip(prediction, take_of(take(), RATE))
    assert found.simplified == {
        "distance": round(simplified().distance, 4),
        "eq_bands": bands_of(simplified().bypass),
        "eq_bands_predicted": 8,
    }
    for key, (low, high) in found.uncertainty.items():
        parameter = BY_KEY[key]
        assert parameter.low <= low <= found.settings[key] <= high <= parameter.high
    assert whole_strip(prediction).settings == settings
    assert whole_strip(prediction).uncertainty == around


def test_a_bypassed_eq_leaves_no_gain_behind():
    prediction = Prediction({**start_settings(), **CROOKED}, {})
    with_eq = simple_strip(prediction, take_of(take(), RATE))
    without = simple_strip(prediction, take_of(take(), RATE), ["eq"])
    assert with_eq.simplified["eq_bands_predicted"] == 8
    assert without.simplified["eq_bands"] == without.simplified["eq_bands_predicted"] == 0
    gains = [
        strip["input_gain.gain_db"] - strip["compressor.threshold_db"]
        for strip in (prediction.settings, without.settings)
    ]
    assert gains[1] == pytest.approx(gains[0], abs=0.3)
    # To the result of the predicted strip with its EQ bypassed.
    found = Simplified(without.settings, without.bypass, 0.0)
    measured = distance(prediction.settings, found, take(), frozenset({"eq"}))
    assert without.simplified["distance"] == pytest.approx(measured, rel=0.05)
    assert measured <= SAME


@pytest.mark.parametrize("switch", ["input_gain", "output_gain"])
def test_a_bypassed_gain_takes_nothing_up(switch):
    full = {**start_settings(), **CROOKED}
    found = simplify(full, take(), RATE, bypass=[switch])
    assert switch in found.bypass
    assert bands_of(found.bypass) < len(EQ_BANDS)
    assert distance(full, found, take(), frozenset({switch})) <= SAME


def test_without_the_input_gain_curves_of_another_level_are_no_longer_alike():
    """What is too far away for its level rules out no curve that has the level itself."""
    sound = np.clip(20.0 * voice(0.6, 4), -0.05, 0.05).astype(np.float32)[None]
    settings = Predictor.load().predict(sound, RATE).settings
    found = simplify(settings, sound, RATE, bypass=["input_gain"])
    assert bands_of(found.bypass) < len(EQ_BANDS) - 1


@pytest.mark.parametrize(
    ("options", "states_distance"),
    [((), True), (("--bypass", "eq"), True), (("--amount", "0.5", "--bypass", "eq.peak_4"), False)],
)
def test_the_provenance_states_what_holds_of_the_written_strip(tmp_path, options, states_distance):
    raw, model = write_take(tmp_path / "take.wav"), write_model(tmp_path / "model")
    done("process", raw, "-o", tmp_path / "out", "--model", model, *options)
    written = Preset.read(tmp_path / "out" / "take.preset.json")
    simplified = written.provenance["simplified"]
    assert simplified["eq_bands"] == bands_of(written.bypass())
    assert simplified["eq_bands"] <= simplified["eq_bands_predicted"]
    assert ("distance" in simplified) == states_distance
    if not states_distance:
        assert_no_more_than_four_digits({**written.settings(), "reverb.pre_delay_ms": 20.0})


def test_the_line_that_is_printed_names_the_bands_that_are_on():
    changes = {"eq.high_pass.freq_hz": 69.0, "eq.peak_4.freq_hz": 6500.0, "eq.peak_4.gain_db": 2.0}
    off = {f"eq.{band}" for band in EQ_BANDS} - {"eq.high_pass", "eq.peak_4", "eq.high_shelf"}
    settings = {**start_settings(), **changes, "eq.high_shelf.gain_db": -1.5}
    words = in_words(Preset.from_settings(settings, bypass=off))
    assert "high-pass 69 Hz, bell +2.0 dB at 6.5 kHz, high shelf -1.5 dB at 10 kHz, comp" in words
    assert "bell" not in in_words(Preset.from_settings(settings, bypass={*off, "eq"}))


def test_full_keeps_all_that_was_predicted(tmp_path):
    raw, model = write_take(tmp_path / "take.wav"), write_model(tmp_path / "model")
    done("predict", raw, "-o", tmp_path / "simple.json", "--model", model)
    done("predict", raw, "-o", tmp_path / "full.json", "--model", model, "--full")
    done("process", raw, "-o", tmp_path / "out", "--model", model, "--full")
    simple, full = (Preset.read(tmp_path / f"{name}.json") for name in ("simple", "full"))
    written = Preset.read(tmp_path / "out" / "take.preset.json")
    assert full.bypass() == LATER, "the model does not know them"
    assert "simplified" not in full.provenance
    assert written.settings() == full.settings()
    assert simple.bypass()
    assert simple.provenance["simplified"]["distance"] <= SAME
    assert simple.provenance["simplified"]["eq_bands"] == bands_of(simple.bypass())
    text = json.dumps(simple.to_dict())
    assert Preset.from_json(text) == simple


def test_what_is_off_goes_through_every_consumer(tmp_path):
    raw, model = write_take(tmp_path / "take.wav"), write_model(tmp_path / "model")
    done("process", raw, "-o", tmp_path / "out", "--model", model, "--amount", "0.7")
    written = tmp_path / "out" / "take.preset.json"
    off = Preset.read(written).bypass() - {"pan"}
    assert off
    done("apply", raw, written, "-o", tmp_path / "again.wav")
    assert (tmp_path / "again.wav").read_bytes() == (
        tmp_path / "out" / "take.processed.wav"
    ).read_bytes()
    done("plot", written, "--raw", raw, "-o", tmp_path / "strip.svg")
    done("audition", raw, written, "-o", tmp_path / "page.html")
    for key, form in formats().items():
        if key == "ir" and "reverb" in off:
            continue
        target = tmp_path / f"exported_{key}{form.ending or ''}"
        done("export", written, "--to", key, "-o", target)
        assert target.exists()
    sheet = (tmp_path / "exported_csv.csv").read_text(encoding="utf-8").splitlines()
    for switch in off:
        (line,) = [row for row in sheet if row.endswith(f",{switch}")]
        assert ",off," in line
