"""A module that no plot was drawn for: its values, and the curve that it brings along."""

from __future__ import annotations

import numpy as np
import pytest

from ..new_module import run_each_with_tilt

PRESETS = """
import numpy as np
from diffconsole.plots import StripView, draw_presets
from diffconsole.strip.later import LATER
from diffconsole.strip.preset import factory_presets

def view(name, preset, gain_db):
    settings = {**preset.settings(), "tilt.freq_hz": 800.0, "tilt.gain_db": gain_db or 0.0}
    off = preset.bypass() - {"tilt"} if gain_db else preset.bypass()
    return StripView(name, settings, off)

def facts(figure):
    panels = [axes for axes in figure.axes if axes.get_label() == "tilt"]
    lines = {l.get_gid(): [l.get_xdata().tolist(), l.get_ydata().tolist()]
             for axes in panels for l in axes.get_lines() if l.get_gid()}
    places = [axes.get_position().bounds for axes in figure.axes]
    return {
        "panels": len(panels), "lines": lines, "axes": len(figure.axes), "places": places,
        "notes": [text.get_text() for axes in panels for text in axes.texts],
        "texts": [text.get_text() for text in figure.texts],
        "height": figure.get_size_inches()[1],
    }

presets = [(key, preset.without(LATER)) for key, preset in factory_presets().items()]
gains = (3.0, 0.0, -6.0, 1.0, 2.0, 4.0)
views = [view(name, preset, gain) for (name, preset), gain in zip(presets, gains)]
"""
DRAW = """
print(json.dumps({
    "one": facts(draw_presets(views[:1])), "off": facts(draw_presets(views[1:2])),
    "three": facts(draw_presets(views[:3])), "six": facts(draw_presets(views)),
}))
"""
WITHOUT_CURVE = """
import tilt.module
del tilt.module.curve
print(json.dumps(facts(draw_presets(views[:1]))))
"""
RENDERED = """
from diffconsole.plots.signals import measure

settings = {**views[0].settings, "compressor.threshold_db": -40.0, "tilt.freq_hz": 5000.0,
            "tilt.gain_db": -12.0}
off = set(views[0].bypass) | {"eq", "input_gain"}
raw = 0.3 * np.random.default_rng(0).standard_normal((1, 16000)).astype(np.float32)
high = np.diff(raw, n=6, axis=-1) / 16
both = [StripView("", settings, off - {"tilt"}), StripView("", settings, off | {"tilt"})]
print(json.dumps([float(np.nanmean(r)) for r in measure(both, high, 48000).gain_reductions]))
"""
MATCH = """
from diffconsole.pairs.residual import measure_residual
from diffconsole.plots.match import draw_match
from diffconsole.strip.preset import Preset
from tests.synthetic import pair

settings = {**views[0].settings, "tilt.gain_db": 3.0}
preset = Preset.from_settings(settings, bypass=set(views[0].bypass) - {"tilt"}, name="x")
print(json.dumps(facts(draw_match(preset, measure_residual(pair(1, seconds=2.5), preset)))))
"""
OVER_TIME = """
import numpy as np
from diffconsole.model.timeline import predict_timeline
from diffconsole.plots.over_time import draw_over_time
from tests.synthetic import RATE, small_model, voice

song = np.concatenate((voice(6.0), voice(6.0, 1)))[None]
timeline = predict_timeline(small_model(3).eval(), song, RATE)
labels = []
for spread in (0.5, 0.0):
    for key in ("tilt.freq_hz", "tilt.gain_db"):
        timeline.whole.settings[key] = 1.0
        timeline.settings[key] = np.ones_like(timeline.seconds)
        timeline.low[key] = timeline.settings[key] - spread
        timeline.high[key] = timeline.settings[key] + spread
    figure = draw_over_time(timeline, (song, RATE))
    labels.append({axes.get_label(): axes.get_title(loc="left") for axes in figure.axes})
print(json.dumps(labels))
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    scripts = {
        "draw": DRAW, "without_curve": WITHOUT_CURVE, "rendered": RENDERED, "match": MATCH,
        "over_time": OVER_TIME,
    }  # fmt: skip
    return run_each_with_tilt(tmp_path_factory.mktemp("tilt"), PRESETS, scripts)


@pytest.fixture(scope="module")
def drawn(printed):
    return printed["draw"]


def shelf_db(freq_hz, pivot_hz, gain_db, rate=48000):
    high = 10.0 ** (gain_db / 40.0)
    s = 1j * np.tan(np.pi * np.asarray(freq_hz) / rate) / np.tan(np.pi * pivot_hz / rate)
    return 20.0 * np.log10(np.abs((1.0 / high + s) / (1.0 + s / high)))


def test_it_has_a_panel_with_its_curve(drawn):
    assert drawn["one"]["panels"] == 1
    x, y = drawn["one"]["lines"]["tilt.0"]
    np.testing.assert_allclose(y, shelf_db(x, 800.0, 3.0), atol=1e-9)


def test_presets_lie_over_each_other_or_below_each_other(drawn):
    assert drawn["three"]["panels"] == 1
    assert set(drawn["three"]["lines"]) == {"tilt.0", "tilt.2"}
    assert drawn["three"]["notes"] == ["off"]
    assert drawn["six"]["panels"] == 6
    assert set(drawn["six"]["lines"]) == {f"tilt.{n}" for n in (0, 2, 3, 4, 5)}
    for picture in drawn.values():
        for left, bottom, width, height in picture["places"]:
            assert 0.0 < left < left + width < 1.0
            assert 0.0 < bottom < bottom + height < 1.0


def test_off_is_said(drawn):
    # Among others that have it on; alone, a module that is not on by default takes no room.
    assert drawn["three"]["notes"] == ["off"]
    places = [n for n, text in enumerate(drawn["three"]["texts"]) if text == "Tilt"]
    assert [drawn["three"]["texts"][n + 1] == "off" for n in places] == [False, True, False]
    assert (drawn["off"]["panels"], drawn["off"]["notes"], drawn["off"]["lines"]) == (0, [], {})
    assert "Tilt" not in drawn["off"]["texts"]
    assert drawn["off"]["height"] < drawn["one"]["height"] - 2.0


def test_its_values_stand_below_the_others(drawn):
    texts = drawn["one"]["texts"]
    start = texts.index("Tilt")
    assert texts[start : start + 5] == ["Tilt", "Frequency", "800 Hz", "Gain", "+3.0 dB"]


def test_without_a_curve_the_values_stand_alone(drawn, printed):
    alone = printed["without_curve"]
    assert (alone["panels"], alone["axes"]) == (0, drawn["one"]["axes"] - 1)
    assert "Tilt" in alone["texts"]
    assert alone["height"] < drawn["one"]["height"] - 2.0


def test_the_gain_reduction_is_that_of_the_tilted_signal(printed):
    tilted_db, straight_db = printed["rendered"]
    # The tilt takes up to 6 dB from the highs before the compressor, which then does less.
    assert tilted_db > straight_db + 1.0


def test_the_settings_over_time_have_its_lines_if_they_are_predicted(printed):
    predicted, unknown = printed["over_time"]
    assert (predicted["tilt.freq_hz"], predicted["tilt.gain_db"]) == ("Tilt frequency", "Tilt gain")
    assert set(predicted) - set(unknown) == {"tilt.freq_hz", "tilt.gain_db"}


def test_the_picture_of_a_match_has_its_panel_and_values(printed):
    found = printed["match"]
    assert found["panels"] == 1
    assert set(found["lines"]) == {"tilt.0"}
    assert "+3.0 dB" in found["texts"]
    # No panel lies on another.
    boxes = found["places"]
    for i, (left, bottom, width, height) in enumerate(boxes):
        for x, y, w, h in boxes[i + 1 :]:
            apart = x >= left + width or left >= x + w or y >= bottom + height or bottom >= y + h
            assert apart
