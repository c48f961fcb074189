"""Modules of one file on the page: played, rendered, edited and saved as the package does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal
import soundfile

from tests.reference import decibels, error_db
from tests.toy import run_with

from .browsing import floats, open_page
from .test_browser import DRY_BAR_DB, LIVE_FROM_SECONDS, downloaded, live

RATE = 44100
TOYS = {"tilt": "eq", "echo": "pan"}
EDITED_DB = -7.5

PAGES = """
import numpy as np
from diffconsole import Preset
from diffconsole.audition import Vocal, write_page
from diffconsole.audition.bundle import bundle
from diffconsole.console.render import render
from diffconsole.strip.preset import find_preset
from tests.synthetic import voice
folder = Path(arguments[0])
rate, edited_db = 44100, -7.5
tilt, echo = {"freq_hz": 700.0, "gain_db": 8.0}, {"delay_ms": 90.0, "level_db": -9.0}
base = find_preset("folk_natural").strip
dry = find_preset("dry_controlled").without({"reverb"}).strip
presets = {
    "plain": Preset(base, "plain"),
    "tilted": Preset({**dry, "tilt": tilt}, "tilted"),
    "alone": Preset({"tilt": tilt}, "alone"),
    "echoing": Preset({"echo": echo, "output_gain": {"gain_db": -3.0}}, "echoing"),
    "all": Preset({**base, "tilt": tilt, "echo": echo}, "all"),
}
edited = Preset({**dry, "tilt": {**tilt, "gain_db": edited_db}})
for channels in (1, 2):
    raw = np.stack([voice(2.0, seed, rate) for seed in range(channels)])
    raw = (np.round(raw * 2.0**15) / 2.0**15).astype(np.float32)
    write_page(folder / f"{channels}.html", [Vocal("take", raw, rate, list(presets.items()))])
    for name, preset in (*presets.items(), ("edited", edited)):
        np.save(folder / f"{channels} {name}.npy", render(raw, rate, preset).samples)
(folder / "console.js").write_text(bundle("console.js"), "utf-8")
half = presets["tilted"].at_amount(0.5).settings()
print(json.dumps([list(presets), half["tilt.gain_db"], half["tilt.freq_hz"]]))
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A folder with pages and what their presets render to; the presets' names; a tilt halved."""
    folder = tmp_path_factory.mktemp("toys")
    return folder, *run_with(TOYS, PAGES, folder)


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 2])
def test_sounds_as_apply(context, pages, tmp_path, channels):
    folder, names, *_ = pages
    with open_page(context, (folder / f"{channels}.html").as_uri()) as page:
        page.ready()
        page.rendered()
        for i, name in enumerate(names, start=1):
            page.run("(i) => audition.session.select(i)", i)
            expected = np.load(folder / f"{channels} {name}.npy")
            samples, _ = soundfile.read(
                downloaded(page, "#download-audio", tmp_path), dtype="float32", always_2d=True
            )
            assert samples.T.shape == expected.shape, name
            start = int(LIVE_FROM_SECONDS * RATE)
            wanted = np.repeat(expected, 3 - len(expected), axis=0)[:, start:]
            played = live(page, i)[:, start : expected.shape[1]]
            errors = (
                error_db(samples.T, expected),
                error_db(played, wanted[:, : played.shape[1]]),
            )
            print(f"{name}: saved {errors[0]:.1f} dB, live {errors[1]:.1f} dB")
            assert max(errors) < DRY_BAR_DB, name
        assert page.words == []


@pytest.mark.slow
def test_it_has_a_panel_at_its_place(context, pages):
    folder, names, *_ = pages
    with open_page(context, (folder / "1.html").as_uri()) as page:
        page.ready()
        titles = page.run("[...document.querySelectorAll('.module > h3')].map(e => e.textContent)")
        assert titles == [
            "Gate", "EQ", "Tilt", "Compressor", "Compressor 2", "De-esser", "Saturation", "Echo",
            "Delay", "Reverb", "Levels",
        ]  # fmt: skip
        page.run("(i) => audition.session.select(i)", names.index("tilted") + 1)
        keys = page.run(
            "[...document.querySelector('[aria-labelledby=tilt-title]')"
            ".querySelectorAll('[data-key]')].map(e => [e.dataset.key, e.ariaLabel])"
        )
        assert keys == [
            ["tilt.freq_hz", "Tilt Frequency hertz"], ["tilt.gain_db", "Tilt Gain decibels"]
        ]  # fmt: skip
        count = (
            "() => { const canvas = document.getElementById('tilt-curve');"
            " const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width,"
            " canvas.height); const at = Array.from({ length: data.length / 4 }, (_, i) =>"
            " data[4 * i] < 60 && data[4 * i + 2] > 120 && data[4 * i + 3] > 200);"
            " return at.filter(Boolean).length; }"
        )
        page.run("() => new Promise((resolve) => setTimeout(resolve, 300))")
        assert page.run(count) > 100, "the curve is drawn in the page's blue"
        page.click('[data-switch="tilt"]')
        page.run("() => new Promise((resolve) => setTimeout(resolve, 300))")
        assert page.run(count) == 0
        assert page.run("audition.session.heard(2).off.has('tilt')")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert [word for word in page.words if "getImageData" not in word] == []


@pytest.mark.slow
def test_an_edit_is_rendered_and_saved(context, pages, tmp_path):
    folder, names, half_db, freq_hz = pages
    with open_page(context, (folder / "1.html").as_uri()) as page:
        page.ready()
        page.rendered()
        page.run("(i) => audition.session.select(i)", names.index("tilted") + 1)
        page.type('[data-key="tilt.gain_db"]', str(EDITED_DB))
        path = downloaded(page, "#download-audio", tmp_path)
        samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
        assert error_db(samples.T, np.load(folder / "1 edited.npy")) < DRY_BAR_DB
        saved = json.loads(downloaded(page, "#download-preset", tmp_path).read_text("utf-8"))
        assert saved["version"] == "1.3"
        assert saved["tilt"]["gain_db"] == EDITED_DB
        assert list(saved).index("eq") < list(saved).index("tilt") < list(saved).index("compressor")
        page.click("#reset")
        page.type("#amount-number", "50")
        halved = json.loads(downloaded(page, "#download-preset", tmp_path).read_text("utf-8"))
        assert halved["tilt"] == {"freq_hz": freq_hz, "gain_db": half_db}
        for name, version in (("plain", "1.0"), ("echoing", "1.4"), ("all", "1.4")):
            page.run("(i) => audition.session.select(i)", names.index(name) + 1)
            text = downloaded(page, "#download-preset", tmp_path).read_text("utf-8")
            assert json.loads(text)["version"] == version
        assert page.words == []


TOGGLED = """async ([x, settings, off]) => {
  const { Console, consoleTarget } = entry;
  const strip = new Console(48000, 1, 128);
  const target = (names) => consoleTarget(settings, new Set(names));
  const [on, without] = [target(off), target([...off, "tilt", "echo"])];
  strip.setTarget(on, true);
  const out = [new Float64Array(128), new Float64Array(128)];
  const left = [];
  for (let n = 0; n < x.length; n += 128) {
    if (n === 128 * 100) strip.setTarget(without, false);
    if (n === 128 * 200) strip.setTarget(on, false);
    strip.process([Float32Array.from(x.slice(n, n + 128))], out);
    left.push(...out[0]);
  }
  return left;
}"""


@pytest.mark.slow
def test_its_switch_does_not_click_and_off_is_off(context, pages):
    folder, *_ = pages
    text = (folder / "console.js").read_text("utf-8")
    tab = context.new_page()
    x = 0.05 * np.sin(2.0 * np.pi * 220.0 * np.arange(128 * 300) / 48000)
    settings = {"tilt.freq_hz": 300.0, "tilt.gain_db": 12.0}
    settings |= {"echo.delay_ms": 20.0, "echo.level_db": 0.0}
    off = ["input_gain", "gate", "eq", "compressor", "compressor_2", "deesser", "saturation"]
    off += ["pan", "delay", "reverb", "output_gain"]
    argument = [x.tolist(), settings, off]
    left = floats(
        tab.evaluate(f"async (a) => {{ {text}\nreturn await ({TOGGLED})(a); }}", argument)
    )
    tab.close()
    assert error_db(left[6000:12800], x[6000:12800]) > -10.0, "both change the sound"
    between = slice(128 * 170, 128 * 200)
    assert np.array_equal(left[between], x.astype(np.float32)[between])
    high = scipy.signal.sosfilt(scipy.signal.butter(8, 6000, "high", fs=48000, output="sos"), left)
    steady = np.abs(left[6000:12800]).max()
    assert decibels((np.abs(high[6000:]).max() / steady) ** 2) < -50.0


SILENT = """
from dataclasses import replace
from tests.toy.tilt import TILT
insert(replace(TILT, key="silent", title="Silent", script="", parameters=tuple(
    replace(p, section="silent") for p in TILT.parameters)), after="eq")
import numpy as np
from diffconsole import Preset
from diffconsole.audition import Vocal, write_page
raw = np.full((1, 22050), 0.1, np.float32)
presets = [("with", Preset({"silent": {}})), ("without", Preset({"output_gain": {}}))]
page = write_page(Path(arguments[0]) / "a.html", [Vocal("a", raw, 44100, presets)])
print(json.dumps(page.notices))
"""


def test_a_module_without_javascript_is_said(tmp_path):
    assert run_with({}, SILENT, tmp_path) == [
        "with: the page cannot run the Silent, which has no JavaScript; it plays this preset "
        "without it"
    ]
