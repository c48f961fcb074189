"""Two compressors and dry signal beside them on the page: played, rendered, metered, saved."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole import Preset
from diffconsole.strip.parameters import MODULES, default_settings
from diffconsole.strip.preset import find_preset
from tests.reference import error_db

from .browsing import in_modules
from .test_browser import DRY_BAR_DB

pytestmark = pytest.mark.slow

FIRST = {"threshold_db": -30.0, "ratio": 6.0, "makeup_db": 5.0, "attack_ms": 1.0}
SECOND = {"threshold_db": -28.0, "ratio": 3.0, "knee_db": 4.0}
DRY = find_preset("dry_controlled").without({"reverb"}).strip
PRESETS = {
    "plain": Preset(DRY),
    "second": Preset({"compressor_2": SECOND, "output_gain": {"gain_db": -3.0}}),
    "in series": Preset({**DRY, "compressor": FIRST, "compressor_2": SECOND}),
    "parallel": Preset({"compressor": {**FIRST, "mix": 35.0}}),
    "both parallel": Preset({
        **DRY, "compressor": {**FIRST, "mix": 62.5}, "compressor_2": {**SECOND, "mix": 20.0},
        "output_gain": {"gain_db": 1.5},
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_sounds_as_apply(module_page, tmp_path, name):
    module_page.select(name)
    expected = module_page.render(PRESETS[name])
    if name != "plain":
        assert error_db(module_page.render(PRESETS["plain"]), expected) > -60.0
    assert module_page.worst_error_db(name, tmp_path) < DRY_BAR_DB <= -90.0


def test_an_edit_is_rendered_and_saved(module_page, tmp_path):
    module_page.select("in series")
    module_page.opened.type('[data-key="compressor.mix"]', "50")
    module_page.opened.type('[data-key="compressor_2.mix"]', "80 %")
    strip = PRESETS["in series"].strip
    mixes = {"compressor": 50.0, "compressor_2": 80.0}
    edited = Preset({**strip, **{key: {**strip[key], "mix": mix} for key, mix in mixes.items()}})
    samples = module_page.saved_audio(tmp_path)
    assert error_db(samples, module_page.render(edited)) < DRY_BAR_DB
    saved = module_page.saved_preset(tmp_path)
    assert saved["version"] == "1.2"
    assert {key: saved[key]["mix"] for key in mixes} == mixes
    order = [key for key in saved if key in ("eq", "compressor", "compressor_2", "output_gain")]
    assert order[:3] == ["eq", "compressor", "compressor_2"]
    module_page.opened.click("#reset")
    module_page.select("plain")
    plain = module_page.saved_preset(tmp_path)
    assert plain["version"] == "1.0" and "mix" not in plain["compressor"]
    assert "compressor_2" not in plain


METERS = """
({ Console, consoleTarget }, [x, settings, off]) => {
  const strip = new Console(44100, 1, x.length);
  strip.setTarget(consoleTarget(settings, new Set(off)), true);
  const out = [new Float64Array(x.length), new Float64Array(x.length)];
  for (let turn = 0; turn < 2; turn++) {
    strip.trace = [];
    strip.process([Float32Array.from(x)], out);
  }
  const meters = Object.entries(strip.meters);
  const lowest = Object.fromEntries(meters.map(([key, meter]) => [key, meter.lowest]));
  return { lowest, trace: Math.min(...strip.trace), last: out[0][x.length - 1] };
}"""


@pytest.mark.parametrize("mixes", [(100.0, 100.0), (40.0, 100.0), (40.0, 70.0)])
def test_each_compressor_has_its_meter(context, mixes):
    """A steady level: what each turns down, and the whole as the sum of both."""
    x = 0.5 * np.where(np.arange(44100) % 2 == 0, 1.0, -1.0)
    given = {
        "threshold_db": -26.0,
        "ratio": 4.0,
        "attack_ms": 1.0,
        "release_ms": 20.0,
        "knee_db": 0.0,
        "makeup_db": 6.0,
    }
    settings = default_settings()
    for key, mix in zip(("compressor", "compressor_2"), mixes, strict=True):
        settings |= {f"{key}.{name}": value for name, value in {**given, "mix": mix}.items()}
    off = [module for module in MODULES if not module.startswith("compressor")]
    tab = context.new_page()
    found = in_modules(tab, "console.js", METERS, [x.tolist(), settings, off])
    tab.close()
    level, wanted = 0.5, {}
    for key, mix in zip(("compressor", "compressor_2"), mixes, strict=True):
        over_db = 20.0 * np.log10(level) + 26.0
        share, wet = mix / 100.0, 10.0 ** ((6.0 - 0.75 * over_db) / 20.0)
        gain, rest = 1.0 - share + share * wet, 1.0 - share + share * 10.0 ** (6.0 / 20.0)
        wanted[key], level = 20.0 * np.log10(gain / rest), level * gain
    assert abs(found["last"]) == pytest.approx(level, rel=1e-3)
    assert found["lowest"] == pytest.approx(wanted, abs=0.05)
    assert found["trace"] == pytest.approx(sum(wanted.values()), abs=0.1)


def test_each_panel_has_its_readout(module_page):
    """What the mixer reports of a compressor is shown in the panel of that one alone."""
    module_page.select("second")
    reductions = module_page.opened.run(
        """async () => {
          const shown = (key) => parseFloat(
            document.getElementById(`${key}-reduction`).textContent.replace("−", "-"));
          document.getElementById("play").click();
          const least = { compressor: 0, compressor_2: 0 };
          for (let i = 0; i < 60; i++) {
            await new Promise((done) => setTimeout(done, 25));
            for (const key in least) least[key] = Math.min(least[key], shown(key));
          }
          document.getElementById("play").click();
          return least;
        }"""
    )
    assert reductions["compressor"] == 0.0
    assert reductions["compressor_2"] < -1.0
