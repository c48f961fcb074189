"""Gate and de-esser on the page: played, rendered, edited and saved as the package does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.audition import Vocal, write_page
from diffconsole.console.render import render
from diffconsole.strip.preset import find_preset
from tests.reference import error_db
from tests.synthetic import voice

from .browsing import chromium, open_page
from .test_browser import DRY_BAR_DB, LIVE_FROM_SECONDS, downloaded, live

pytestmark = pytest.mark.slow

RATE = 44100
GATE = {"threshold_db": -24.0, "ratio": 4.0, "range_db": 30.0, "hold_ms": 7.3, "release_ms": 40.0}
DEESSER = {"freq_hz": 3500.0, "threshold_db": -30.0, "range_db": 12.0}
DRY = find_preset("dry_controlled").without({"reverb"}).strip
PRESETS = {
    "plain": Preset(DRY),
    "gate": Preset({"gate": GATE}),
    "no hold": Preset({"gate": {**GATE, "hold_ms": 0.0}, "output_gain": {"gain_db": -3.0}}),
    "deesser": Preset({"deesser": DEESSER}),
    "both": Preset({**DRY, "gate": GATE, "deesser": DEESSER}),
}
EDITED = Preset({**DRY, "gate": {**GATE, "range_db": 9.0}, "deesser": DEESSER})


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def vocals() -> dict[int, np.ndarray]:
    """By the number of channels, a voice of whole 16-bit values, as a file has them."""
    found = {}
    for channels in (1, 2):
        raw = np.stack([voice(2.0, seed, RATE) for seed in range(channels)])
        found[channels] = (np.round(raw * 2.0**15) / 2.0**15).astype(np.float32)
    return found


@pytest.fixture(scope="module", params=[1, 2], ids=["mono", "stereo"])
def page(request, context, vocals, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "a.html"
    raw = vocals[request.param]
    write_page(path, [Vocal("take", raw, RATE, list(PRESETS.items()))])
    with open_page(context, path.as_uri()) as opened:
        opened.ready()
        opened.rendered()
        yield opened, raw
        assert opened.words == []


@pytest.mark.parametrize("name", PRESETS)
def test_sounds_as_apply(page, tmp_path, name):
    opened, raw = page
    place = list(PRESETS).index(name) + 1
    opened.run("(i) => audition.session.select(i)", place)
    expected = render(raw, RATE, PRESETS[name]).samples
    if name != "plain":
        assert error_db(render(raw, RATE, PRESETS["plain"]).samples, expected) > -60.0
    path = downloaded(opened, "#download-audio", tmp_path)
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    start = int(LIVE_FROM_SECONDS * RATE)
    wanted = np.repeat(expected, 3 - len(expected), axis=0)[:, start:]
    played = live(opened, place)[:, start : expected.shape[1]]
    errors = error_db(samples.T, expected), error_db(played, wanted[:, : played.shape[1]])
    print(f"{name}: saved {errors[0]:.1f} dB, live {errors[1]:.1f} dB")
    assert max(errors) < DRY_BAR_DB <= -90.0


def test_an_edit_is_rendered_and_saved(page, tmp_path):
    opened, raw = page
    opened.run("(i) => audition.session.select(i)", list(PRESETS).index("both") + 1)
    opened.type('[data-key="gate.range_db"]', "9")
    path = downloaded(opened, "#download-audio", tmp_path)
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    assert error_db(samples.T, render(raw, RATE, EDITED).samples) < DRY_BAR_DB
    saved = json.loads(downloaded(opened, "#download-preset", tmp_path).read_text("utf-8"))
    assert saved["version"] == "1.1"
    assert saved["gate"]["range_db"] == 9.0
    order = [key for key in saved if key in ("gate", "eq", "compressor", "deesser")]
    assert order == ["gate", "eq", "compressor", "deesser"]
    opened.click("#reset")
    opened.run("(i) => audition.session.select(i)", 1)
    plain = json.loads(downloaded(opened, "#download-preset", tmp_path).read_text("utf-8"))
    assert plain["version"] == "1.0" and "gate" not in plain and "deesser" not in plain
