"""The page's modules by themselves, in a browser: transforms, convolution, mixer, loudness."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import torch

from diffconsole import Preset
from diffconsole.console import impulse_response
from diffconsole.modules.equalizer.process import coefficients
from diffconsole.modules.reverb.noise import band_weights, white_noise
from diffconsole.strip.amount import RULES, at_amount
from diffconsole.strip.parameter import Parameter
from diffconsole.strip.parameters import BY_KEY, PARAMETERS, SWITCHES, default_settings
from diffconsole.strip.preset import factory_presets
from tests.reference import decibels, error_db
from tests.synthetic import voice

from .browsing import chromium, floats, in_modules

pytestmark = pytest.mark.slow
RATE = 48000


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as context:
        yield context.new_page()


@pytest.mark.parametrize("length", [2, 4, 8, 64, 2048, 12, 96, 3072])
def test_transform_is_numpys(tab, length):
    rng = np.random.default_rng(length)
    x = rng.normal(size=length) + 1j * rng.normal(size=length)
    found = in_modules(
        tab,
        "fft.js",
        "({ Fourier }, [re, im]) => { const f = new Fourier(re.length);"
        " const [a, b] = [Float64Array.from(re), Float64Array.from(im)]; f.forward(a, b);"
        " const spectrum = [[...a], [...b]]; f.inverse(a, b);"
        " return [...spectrum, [...a], [...b]]; }",
        [x.real.tolist(), x.imag.tolist()],
    )
    re, im, back_re, back_im = map(floats, found)
    assert re + 1j * im == pytest.approx(np.fft.fft(x), abs=1e-12 * length)
    assert (back_re + 1j * back_im) / length == pytest.approx(x, abs=1e-13)


def test_noise_and_bands_are_those_of_the_console(tab):
    noise = in_modules(
        tab, "../modules/reverb/noise.js", "({ whiteNoise }) => [...whiteNoise(200, 1)]"
    )
    assert floats(noise) == pytest.approx(white_noise(200, 1), abs=1e-15)
    freqs = np.geomspace(20.0, 24000.0, 60)
    weights = in_modules(
        tab,
        "../modules/reverb/noise.js",
        "({ bandWeight, BAND_CENTRES_HZ: c }, f) => c.map((_, b) => f.map((hz) =>"
        " hz <= (c[b - 1] ?? 0) || hz >= (c[b + 1] ?? Infinity) ? 0 : bandWeight(b, hz)))",
        freqs.tolist(),
    )
    assert floats(weights) == pytest.approx(band_weights(freqs), abs=1e-12)


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
@pytest.mark.parametrize(
    "changes", [{}, {"width": 0.3, "low_ratio": 2.0}, {"pre_delay_ms": 0.0, "decay_s": 0.1}]
)
def test_impulse_response_is_that_of_the_console(tab, rate, changes):
    defaults = default_settings()
    names = [k.split(".")[1] for k in defaults if k.startswith("reverb.")]
    room = {n: defaults[f"reverb.{n}"] for n in names} | {"decay_s": 0.5} | changes
    found = in_modules(
        tab,
        "../modules/reverb/reverb.js",
        "({ impulseResponse }, [fs, room]) => { const h = impulseResponse(fs, room);"
        " return [[...h.left], [...h.right]]; }",
        [rate, room],
    )
    tensors = {n: torch.tensor([v], dtype=torch.float64) for n, v in room.items() if n != "wet_db"}
    expected = impulse_response(rate, **tensors, dtype=torch.float64)[0].numpy()
    assert floats(found).shape == expected.shape
    assert error_db(floats(found), expected) < -110.0


@pytest.mark.parametrize("blocks", [[128, 1024, 8192], [4096], [128]])
@pytest.mark.parametrize("taps", [50, 3000, 40000])
def test_partitioned_convolution_has_no_latency_and_no_error(tab, blocks, taps):
    rng = np.random.default_rng(taps)
    x, h = rng.normal(size=49152), rng.normal(size=(2, taps))
    found = in_modules(
        tab,
        "../modules/reverb/convolver.js",
        """({ Convolver, partition }, [x, [l, r], blocks]) => {
          const response = { left: Float64Array.from(l), right: Float64Array.from(r) };
          const pieces = partition(response, blocks);
          const [c, b] = [new Convolver(pieces), blocks[0]];
          const out = [new Float64Array(x.length), new Float64Array(x.length)];
          for (let n = 0; n < x.length; n += b) {
            const parts = out.map((o) => o.subarray(n, n + b));
            c.process(Float64Array.from(x.slice(n, n + b)), ...parts);
          }
          return out.map((o) => [...o]);
        }""",
        [x.tolist(), h.tolist(), blocks],
    )
    expected = scipy.signal.oaconvolve(x[None], h, axes=1)[:, : len(x)]
    assert error_db(floats(found), expected) < -240.0


@pytest.mark.parametrize("freq_hz", [30.0, 1000.0, 15000.0, 30000.0])
def test_coefficients_are_those_of_the_console(tab, freq_hz):
    kinds = {"high_pass": "high_pass", "low_pass": "low_pass", "low_shelf": "low_shelf",
             "high_shelf": "high_shelf", "peak_2": "peaking"}  # fmt: skip
    for band, kind in kinds.items():
        found = in_modules(
            tab,
            "../modules/equalizer/equalizer.js",
            "(m, [b, f]) => [...m.coefficients(b, 48000, f, -7.5, 1.3)]",
            [band, freq_hz],
        )
        settings = (torch.tensor([v], dtype=torch.float64) for v in (freq_hz, 1.3, -7.5))
        assert floats(found) == pytest.approx(coefficients(kind, 48000, *settings)[0].numpy(), 1e-9)


def test_loudness_is_pyloudnorms(tab):
    for seconds in (0.2, 1.0, 3.3):
        pair = np.stack([voice(seconds, 1, RATE), 0.5 * voice(seconds, 2, RATE)])
        found = in_modules(
            tab,
            "loudness.js",
            "(m, c) => m.integratedLoudness(c.map((x) => Float32Array.from(x)), 48000)",
            pair.tolist(),
        )
        shortest = np.tile(pair, (1, 2 if seconds < 0.4 else 1))
        expected = pyloudnorm.Meter(RATE).integrated_loudness(shortest.T)
        assert found == pytest.approx(expected, abs=0.02)


AMOUNTS = """({ atAmount, bypassOf, settingsOf }, [strips, amounts, table, switches]) =>
  strips.map((strip, i) => {
    const scaled = atAmount(strip, amounts[i], table, switches);
    return [settingsOf(scaled, table), [...bypassOf(scaled, switches)].sort()];
  })"""


def test_amounts_are_those_of_the_package(tab):
    rng = np.random.default_rng(4)
    presets = list(factory_presets().values())
    for _ in range(200):
        drawn = {p.key: float(p.to_physical(rng.random())) for p in PARAMETERS}
        off = [name for name in SWITCHES if rng.random() < 0.2]
        presets.append(Preset.from_settings(drawn, bypass=off))
    presets = [Preset.from_json(preset.to_json()) for preset in presets for _ in range(2)]
    amounts = rng.uniform(0.0, 1.5, len(presets))
    amounts[::9], amounts[1::9], amounts[2::9] = 1.5, 0.0, 0.02
    table = [{"key": p.key, **asdict(p)} for p in PARAMETERS]
    strips = [preset.strip for preset in presets]
    found = in_modules(tab, "preset.js", AMOUNTS, [strips, amounts.tolist(), table, SWITCHES])
    for preset, amount, (settings, off) in zip(presets, amounts, found, strict=True):
        expected = preset.at_amount(float(amount))
        assert off == sorted(expected.bypass())
        rounded = Preset.from_json(expected.to_json()).settings()
        assert settings == pytest.approx(rounded, rel=1e-4, abs=1.1e-3)


def test_every_rule_of_the_amount_is_that_of_the_package(tab):
    rng = np.random.default_rng(7)
    rows, expected = [], []
    for rule, function in RULES.items():
        table = Parameter("toy", "freq_hz", "Hz", 20.0, 2000.0, "log", 200.0, "", amount=rule)
        for value in rng.uniform(table.low, table.high, 20):
            amount = rng.uniform(0.01, 1.5)
            rows.append([{"key": table.key, **asdict(table)}, value, amount])
            expected.append(table.clip(function(table, value, amount)))
    function = "({ scaled }, rows) => rows.map(([p, v, a]) => scaled(p, v, a))"
    found = in_modules(tab, "preset.js", function, rows)
    assert floats(found) == pytest.approx(expected, rel=1e-12)


def test_a_level_follows_the_gain_that_the_table_names(tab):
    gain = Parameter("pad", "gain_db", "dB", -24.0, 24.0, "linear", 0.0, "", amount="gain")
    level = Parameter(
        "gate", "floor_db", "dBFS", -90.0, 0.0, "linear", -50.0, "", follows="pad.gain_db"
    )
    table = {p.key: p for p in (gain, level)}
    settings = {"pad.gain_db": 8.0, "gate.floor_db": -40.0}
    rows = [{"key": p.key, **asdict(p)} for p in (gain, level)]
    for off in (set(), {"pad"}):
        strip = {
            "pad": {"enabled": "pad" not in off, "gain_db": 8.0}, "gate": {"floor_db": -40.0}
        }  # fmt: skip
        argument = [[strip], [0.5], rows, ["pad", "gate"]]
        ((found, _),) = in_modules(tab, "preset.js", AMOUNTS, argument)
        assert found == pytest.approx(at_amount(settings, off, 0.5, table))


def test_rounding_is_that_of_the_table(tab):
    rng = np.random.default_rng(8)
    kinds = [
        Parameter("toy", "a", unit, 1.0, 3000.0, "log", 20.0, "", decimals=decimals)
        for unit in ("dB", "dBFS", "Hz", "") for decimals in (None, 0, 2, 5)
    ]  # fmt: skip
    rows = [[{"key": p.key, **asdict(p)}, v] for p in kinds for v in rng.uniform(1.0, 3000.0, 10)]
    function = "({ rounded }, rows) => rows.map(([p, v]) => rounded(p, v))"
    found = in_modules(tab, "preset.js", function, rows)
    expected = [p.rounded(v) for (_, v), p in zip(rows, np.repeat(kinds, 10), strict=True)]
    assert floats(found) == pytest.approx(expected, rel=1e-12)


FILE = """({ presetFile }, [strip, table, switches]) => {
  const format = { format: "f", schema: "s" };
  return presetFile(strip, { name: "", provenance: {} }, { format, table, switches });
}"""


def test_a_file_states_the_lowest_version_that_holds_it(tab):
    """A later parameter at its default is left out, so that older readers take the file."""
    later = replace(BY_KEY["reverb.width"], since=3)
    table = [{"key": p.key, **asdict(later if p.key == later.key else p)} for p in PARAMETERS]
    for width, version in ((later.default, "1.0"), (0.25, "1.3")):
        strip = {"reverb": {"decay_s": 1.0, "width": width}}
        written = json.loads(in_modules(tab, "preset.js", FILE, [strip, table, SWITCHES]))
        assert written["version"] == version
        assert written["reverb"].get("width", later.default) == width
        assert ("width" in written["reverb"]) == (version != "1.0")


MIX = """({ Mixer }, [x, steps, blocks]) => {
  const mixer = new Mixer(48000, 128);
  const raw = [Float32Array.from(x)];
  mixer.load(raw, 2, x.length);
  mixer.setBuffer(0, raw);
  mixer.setBuffer(1, [raw[0].map((v) => -0.5 * v)]);
  mixer.play(true);
  const [left, right] = [new Float32Array(128 * blocks), new Float32Array(128 * blocks)];
  for (let k = 0; k < blocks; k++) {
    for (const [at, name, ...values] of steps) if (at === k) mixer[name](...values);
    mixer.process(left.subarray(128 * k, 128 * k + 128), right.subarray(128 * k, 128 * k + 128));
  }
  return [[...left], mixer.report().position];
}"""


def mixed(tab, x: np.ndarray, steps: list, blocks: int) -> tuple[np.ndarray, float]:
    left, position = in_modules(tab, "mixer.js", MIX, [x.tolist(), steps, blocks])
    return floats(left), position


def test_versions_switch_in_time_to_the_sample(tab):
    x = np.random.default_rng(0).normal(0.0, 0.2, 48000)
    left, _ = mixed(tab, x, [[60, "select", 1]], 200)
    settled, switched = slice(2000, 60 * 128), slice(60 * 128 + 1000, 200 * 128)
    assert error_db(left[settled], x[settled]) < -130.0
    assert error_db(left[switched], -0.5 * x[switched]) < -130.0


@pytest.mark.parametrize(
    "step",
    [
        ["select", 1], ["seek", 20011], ["play", False], ["setLevels", [0.1, 1.0]],
        ["setLoop", [9000, 9611]],
    ],
)  # fmt: skip
def test_nothing_clicks(tab, step):
    """A click shows above 4 kHz, where a tone of 220 Hz and its fades have nothing."""
    x = 0.5 * np.sin(2.0 * np.pi * 220.0 * np.arange(48000) / RATE)
    left, _ = mixed(tab, x, [[60, *step]], 200)
    high = scipy.signal.sosfilt(scipy.signal.butter(8, 4000, "high", fs=RATE, output="sos"), left)
    loudest = decibels(np.max(high[2000:] ** 2) / 0.25)
    cut = left.copy()
    cut[60 * 128 :] *= -0.5  # what switching without a fade would do
    sharp = scipy.signal.sosfilt(scipy.signal.butter(8, 4000, "high", fs=RATE, output="sos"), cut)
    assert loudest < -60.0 < decibels(np.max(sharp[2000:] ** 2) / 0.25)


def test_a_loop_stays_within(tab):
    x = np.arange(48000) / 48000.0
    left, position = mixed(tab, x, [[0, "setLoop", [10000, 14000]]], 300)
    assert 10000 <= position < 14000
    assert left[2000:].min() >= x[10000] - 1e-6
    # At a jump the sound before it fades out beyond the loop's end, for 8 ms.
    assert left[2000:].max() <= x[14000 + 400]


LIVE = """({ Console, consoleTarget }, [x, before, after]) => {
  const strip = new Console(48000, 1, 128);
  const target = ([settings, off]) => consoleTarget(settings, new Set(off));
  strip.setTarget(target(before), true);
  const out = [new Float64Array(128), new Float64Array(128)];
  const left = [];
  for (let n = 0; n < x.length; n += 128) {
    if (n === 128 * 100) strip.setTarget(target(after), false);
    strip.process([Float32Array.from(x.slice(n, n + 128))], out);
    left.push(...out[0]);
  }
  return left;
}"""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input_gain.gain_db", -24.0), ("eq.low_shelf.gain_db", 15.0), ("eq.peak_1.freq_hz", 900.0),
        ("compressor.threshold_db", -50.0), ("compressor.makeup_db", 20.0), ("pan.position", 1.0),
        ("output_gain.gain_db", -40.0), ("off", ["reverb", "compressor", "eq"]),
        ("gate.threshold_db", -10.0), ("gate.hold_ms", 0.0), ("deesser.freq_hz", 12000.0),
        ("deesser.threshold_db", -40.0), ("off", ["reverb", "gate", "compressor_2", "deesser"]),
        ("compressor.mix", 20.0), ("compressor_2.threshold_db", -60.0), ("compressor_2.mix", 0.0),
        ("saturation.drive_db", 20.0), ("saturation.bias", -0.8), ("saturation.mix", 0.0),
        ("off", ["reverb", "saturation"]),
    ],
)  # fmt: skip
def test_edits_do_not_click(tab, key, value):
    x = 0.05 * np.sin(2.0 * np.pi * 220.0 * np.arange(128 * 300) / RATE)
    settings = default_settings() | {"eq.peak_1.gain_db": 9.0, "eq.peak_1.q": 2.0}
    before = [settings, ["reverb"]]
    after = [settings, value] if key == "off" else [settings | {key: value}, ["reverb"]]
    left = floats(in_modules(tab, "console.js", LIVE, [x.tolist(), before, after]))
    high = scipy.signal.sosfilt(scipy.signal.butter(8, 6000, "high", fs=RATE, output="sos"), left)
    steady = np.max(np.abs(left[6000:]))
    assert decibels((np.max(np.abs(high[6000:])) / steady) ** 2) < -50.0
