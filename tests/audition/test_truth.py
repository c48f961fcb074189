"""What the page plays and saves is what it shows, in Chromium and in Firefox."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.audition import Vocal, write_page
from diffconsole.console.render import render
from diffconsole.strip.preset import find_preset
from tests.reference import error_db
from tests.synthetic import voice

from .browsing import chromium, open_page
from .firefox import firefox, open_in_firefox

pytestmark = pytest.mark.slow

RATE = 44100
SECONDS = 4.0
PREDICTED = {
    "model": "default-1",
    "source": "take.wav",
    "distance": 1.25,
    "uncertainty": {"eq.peak_1.gain_db": [1.0, 2.0], "eq.peak_2.gain_db": [0.0, 1.0]},
}
Open = Callable[[Path], Any]


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def browser(request, tmp_path_factory) -> Iterator[Open]:
    """A function that opens a page's file."""
    profile = tmp_path_factory.mktemp("profile")
    if request.param == "chromium":
        with chromium(profile) as context:
            yield lambda path: open_page(context, path.as_uri())
    else:
        with firefox(profile) as found:
            yield lambda path: open_in_firefox(found, path.as_uri())


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """Two vocals of other lengths and rates; the first with a predicted preset."""
    path = tmp_path_factory.mktemp("page") / "a.html"
    predicted = Preset(find_preset("lead_vocal_pop").strip, "take", PREDICTED)
    also = ("telephone", find_preset("telephone"))
    second = Vocal("second", voice(1.5, 3, 48000)[None], 48000, [also])
    take = voice(SECONDS)[None]
    write_page(path, [Vocal("take.wav", take, RATE, [("take", predicted), also]), second])
    return path


@pytest.fixture
def opened(browser, page_file):
    with browser(page_file) as page:
        page.ready()
        yield page
        assert page.collect() == []


def value_of(page: Any, key: str) -> float:
    return page.run("(key) => audition.session.heard(1).settings[key]", key)


def field_of(key: str) -> str:
    return f'[data-key="{key}"]'


# --- plays -----------------------------------------------------------------------------------

SLOW_DECODE = """() => {
  const { player } = audition;
  const { prototype } = window.OfflineAudioContext;
  const decode = prototype.decodeAudioData;
  let first = true;
  prototype.decodeAudioData = function (bytes) {
    const late = first ? 800 : 0;
    first = false;
    const wait = new Promise((resolve) => setTimeout(resolve, late));
    return decode.call(this, bytes).then(async (found) => (await wait, found));
  };
  window.loads = [];
  const call = player.call;
  player.call = function (name, values, transfer) {
    if (name === "load") window.loads.push(values[0][0].length);
    return call.call(this, name, values, transfer);
  };
}"""


def test_a_decode_that_ends_late_is_dropped(opened):
    opened.run(SLOW_DECODE)
    opened.choose("#vocal", "1")
    opened.choose("#vocal", "0")
    opened.wait("window.loads.length > 0")
    opened.ready()
    time.sleep(1.0)
    assert opened.run("window.loads") == [round(SECONDS * RATE)]
    opened.rendered()
    assert opened.run("audition.session.sampleRate") == RATE
    opened.run("document.activeElement.blur()")
    opened.press("Space")
    opened.wait("audition.report().playing && audition.report().peak > 0")
    assert opened.run("audition.player.context.sampleRate") == RATE


LATE_REPORTS = """() => {
  const { port } = audition.player.node;
  const now = port.onmessage;
  port.onmessage = (event) => setTimeout(() => now(event), 500);
}"""


def test_play_is_not_cancelled_by_reports_from_before(opened):
    opened.press("Space")
    opened.wait("audition.report().playing")
    opened.run(LATE_REPORTS)
    opened.press("Space")
    time.sleep(0.7)
    opened.press("Space")
    for _ in range(8):
        time.sleep(0.1)
        assert opened.run("document.getElementById('play').textContent") == "Pause"
    opened.wait("audition.report().playing")


def test_play_ends_with_the_vocal_and_starts_again(opened):
    opened.run("audition.session.select(0), audition.actions.seek(audition.session.length - 9000)")
    opened.press("Space")
    opened.wait("document.getElementById('play').textContent === 'Play'", 10.0)
    opened.press("Space")
    opened.wait("audition.report().playing && audition.report().position < 40000")
    assert opened.run("document.getElementById('play').textContent") == "Pause"


def test_pause_holds_while_the_device_still_opens(opened):
    opened.run("(audition.actions.toggle(), audition.actions.toggle())")
    opened.wait("audition.player.node")
    time.sleep(0.6)
    assert not opened.run("audition.report().playing")
    assert opened.run("document.getElementById('play').textContent") == "Play"


def test_a_missing_device_is_reported(opened):
    opened.run(
        "() => { window.AudioContext.prototype.resume ="
        " () => Promise.reject(new Error('no device')); }"
    )
    opened.press("Space")
    opened.wait("document.getElementById('status').textContent.includes('no device')")
    assert opened.run("document.getElementById('play').textContent") == "Play"


def test_the_prediction_is_played_first_and_an_edit_is_selected(opened):
    assert opened.run("audition.session.selected") == 1
    opened.press("1")
    assert opened.run("audition.session.selected") == 0
    opened.type(field_of("eq.peak_1.gain_db"), "6")
    assert opened.run("audition.session.selected") == 1
    opened.wait("document.querySelectorAll('.version')[1].ariaChecked === 'true'")
    calls = opened.run(
        "() => { const calls = []; const { player, session } = audition; const { call } = player;"
        " player.call = (...all) => calls.push(all); session.select(0); session.shown.amount = 0.9;"
        " session.changed(); player.call = call; return calls.map(([n, v]) => [n, v[0]]); }"
    )
    assert ["select", 1] in calls and ["setLive", 1] in calls


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [0, 1])
def test_numbers_are_read_as_people_write_them(opened, group):
    typed = [
        ("eq.peak_3.freq_hz", "2k", 2000.0), ("eq.peak_1.gain_db", "1,5", 1.5),
        ("compressor.threshold_db", "−18 dB", -18.0), ("compressor.attack_ms", "3 ms", 3.0),
        ("compressor.release_ms", "0.2 s", 200.0), ("compressor.ratio", "2:1", 2.0),
        ("eq.high_shelf.freq_hz", "7,5 kHz", 7500.0), ("reverb.width", "80 %", 0.8),
        ("eq.peak_2.freq_hz", "1,500", 1500.0), ("eq.peak_3.freq_hz", "2k5", 2500.0),
        ("eq.low_pass.freq_hz", "12 000", 12000.0), ("eq.peak_2.gain_db", "+2.25", 2.25),
    ]  # fmt: skip
    for key, text, expected in typed[6 * group : 6 * group + 6]:
        opened.type(field_of(key), text)
        assert value_of(opened, key) == pytest.approx(expected), text
        assert note_of(opened, key) == ""


def note_of(page: Any, key: str) -> str:
    return page.run(
        "(s) => { const id = document.querySelector(s).getAttribute('aria-describedby');"
        " return document.getElementById(id)?.innerText ?? ''; }",
        field_of(key),
    )


@pytest.mark.parametrize(
    ("key", "text", "held", "value"),
    [
        ("eq.low_pass.freq_hz", "50k", "Held at 20000 Hz", 20000.0),
        ("compressor.ratio", "∞:1", "Held at 20.00:1", 20.0),
    ],
)
def test_a_value_held_at_an_end_is_said(opened, key, text, held, value):
    opened.type(field_of(key), text)
    assert note_of(opened, key).startswith(held)
    assert value_of(opened, key) == value
    opened.type(field_of(key), str(value / 2))
    assert note_of(opened, key) == ""


def test_what_is_no_value_is_refused_and_said(opened):
    for key, text in (
        ("eq.peak_1.gain_db", "abc"), ("compressor.attack_ms", "3 Hz"),
        ("eq.peak_1.freq_hz", "1.2.3"), ("compressor.ratio", "4:0"),
    ):  # fmt: skip
        before = value_of(opened, key)
        shown = opened.run("(s) => document.querySelector(s).value", field_of(key))
        opened.type(field_of(key), text)
        assert value_of(opened, key) == before
        assert f"“{text}” cannot be read" in note_of(opened, key)
        state = opened.run(
            "(s) => { const e = document.querySelector(s); return [e.value, e.ariaInvalid]; }",
            field_of(key),
        )
        assert state == [shown, "true"]
    assert not opened.run("audition.session.shown.edited")


def test_the_amount_is_read_and_held_too(opened):
    opened.type("#amount-number", "87,5 %")
    assert opened.run("audition.session.shown.amount") == 0.875
    opened.type("#amount-number", "300")
    assert opened.run("audition.session.shown.amount") == 1.5
    assert "Held at 150 %" in opened.run("document.getElementById('amount-note').innerText")
    opened.type("#amount-number", "much")
    assert opened.run("audition.session.shown.amount") == 1.5
    assert "cannot be read" in opened.run("document.getElementById('amount-note').innerText")


# --- loudness --------------------------------------------------------------------------------

NO_RENDER = """() => {
  const { renderer } = audition.session;
  const run = renderer.run;
  renderer.run = function (message, progress) {
    return message.type === "render" ? new Promise(() => {}) : run.call(this, message, progress);
  };
}"""


def test_loudness_follows_an_edit_of_gains_at_once(opened):
    before = opened.run("audition.session.gainDb(audition.session.versions[1])")
    target = opened.run("audition.session.targetLufs")
    found = opened.run(
        "() => { const { session } = audition; session.shown.strip.output_gain ??= {};"
        " Object.assign(session.shown.strip.output_gain, { enabled: true, gain_db:"
        " (session.shown.strip.output_gain.gain_db ?? 0) + 10 }); session.changed();"
        " return [session.gainDb(session.versions[1]), session.targetLufs]; }"
    )
    assert found[0] - before == pytest.approx(found[1] - target - 10.0, abs=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"eq.high_shelf.gain_db": 15.0, "eq.low_shelf.gain_db": 15.0},
        {"compressor.threshold_db": -2.0},
        {"input_gain.gain_db": 18.0, "reverb.wet_db": 0.0},
    ],
)
def test_loudness_follows_any_edit_before_the_whole_is_rendered(opened, changes):
    """Within a second, though no render of the whole ends."""
    opened.rendered()
    opened.run(NO_RENDER)
    opened.run("audition.actions.seek(audition.session.sampleRate)")
    for key, value in changes.items():
        opened.run(
            "([key, value]) => { const { session, page } = audition;"
            " const parts = key.split('.'); const name = parts.pop();"
            " const place = parts.reduce((inner, part) => inner[part] ??= {}, session.shown.strip);"
            " place.enabled = true; place[name] = value; session.changed(); }",
            [key, value],
        )
    start = time.monotonic()
    opened.wait("audition.session.versions[1].guessing === false", 20.0)
    print(f"estimated after {time.monotonic() - start:.2f} s")
    strip = opened.run("audition.session.heard(1).strip")
    samples = render(voice(SECONDS)[None], RATE, Preset(strip)).samples
    pair = np.repeat(samples, 3 - len(samples), axis=0)
    expected = pyloudnorm.Meter(RATE).integrated_loudness(pair.T)
    version = opened.run("(({ loudness, peak }) => [loudness, peak])(audition.session.versions[1])")
    assert version[0] == pytest.approx(expected, abs=1.0)
    assert 20.0 * np.log10(version[1] / np.abs(samples).max()) == pytest.approx(0.0, abs=4.0)
    opened.wait("document.querySelectorAll('.version')[1].innerText.includes('≈')")


def test_estimates_end_in_what_the_whole_measures(opened):
    for gain_db in (-6, -3, 0, 3, 6):
        opened.run(
            "(gain) => { const { session } = audition; session.shown.strip.eq.low_shelf ="
            " { enabled: true, gain_db: gain }; session.changed(); }",
            gain_db,
        )
        time.sleep(0.15)
    opened.wait("!audition.session.versions[1].isEstimate", 30.0)
    strip, loudness = opened.run(
        "[audition.session.heard(1).strip, audition.session.versions[1].loudness]"
    )
    samples = render(voice(SECONDS)[None], RATE, Preset(strip)).samples
    pair = np.repeat(samples, 3 - len(samples), axis=0)
    expected = pyloudnorm.Meter(RATE).integrated_loudness(pair.T)
    assert loudness == pytest.approx(expected, abs=0.1)


# --- saves -----------------------------------------------------------------------------------

CATCH = """() => {
  window.saved = [];
  window.URL.createObjectURL = (blob) => { window.saved.push({ blob }); return "data:,"; };
  window.HTMLAnchorElement.prototype.click = function () {
    window.saved.at(-1).name = this.download;
  };
}"""


@contextmanager
def saving(page: Any) -> Iterator[list[tuple[str, str]]]:
    """Names and texts of what is saved within."""
    found: list[tuple[str, str]] = []
    page.run(CATCH)
    yield found
    texts = "async () => Promise.all(saved.map(async (s) => [s.name, await s.blob.text()]))"
    found += [tuple(one) for one in page.run(texts)]


def test_an_edited_preset_says_so_and_claims_nothing_else(opened):
    with saving(opened) as files:
        opened.click("#download-preset")
        opened.type(field_of("eq.peak_1.gain_db"), "-4")
        opened.click('[data-switch="eq.low_pass"]')
        opened.click("#download-preset")
        opened.click("#reset")
        opened.click("#download-preset")
        opened.type("#amount-number", "50")
        opened.click("#download-preset")
    (name, plain), (edited_name, edited_text), (_, reset), (_, half_text) = files
    assert name == "take take.preset.json" and edited_name == "take take edited.preset.json"
    original = Preset.from_json(plain)
    assert (original.name, original.provenance) == ("take", PREDICTED)
    assert reset == plain
    edited = Preset.from_json(edited_text)
    assert edited.name == "take (edited)"
    changed = ["eq.peak_1.gain_db", "eq.low_pass"]
    assert edited.provenance["edited"] == {"from": "take", "changed": changed}
    assert edited.provenance["uncertainty"] == {"eq.peak_2.gain_db": [0.0, 1.0]}
    claims = {k: v for k, v in PREDICTED.items() if k != "uncertainty"}
    assert edited.provenance["original"] == claims
    assert not {"model", "source", "distance"} & set(edited.provenance)
    half = json.loads(half_text)["provenance"]
    assert half["edited"]["amount"] == 0.5
    assert half["edited"]["from"] == "take"
    assert "eq.peak_1.gain_db" not in half.get("uncertainty", {})


def test_saved_audio_is_that_of_apply_through_the_saved_preset(opened):
    opened.run(CATCH)
    opened.type(field_of("reverb.decay_s"), "350 ms")
    opened.click("#download-preset")
    opened.click("#download-audio")
    # What is chosen meanwhile has no part in it.
    opened.run("audition.session.select(2)")
    opened.wait("window.saved.length === 2 && window.saved[1].name", 60.0)
    assert opened.run("window.saved[1].name") == "take take edited.wav"
    preset = Preset.from_json(opened.run("async () => window.saved[0].blob.text()"))
    content = opened.run(
        "async () => new Promise((resolve) => { const reader = new FileReader();"
        " reader.onload = () => resolve(reader.result.split(',')[1]);"
        " reader.readAsDataURL(window.saved[1].blob); })"
    )
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(content)), always_2d=True)
    expected = render(voice(SECONDS)[None], RATE, preset).samples
    assert rate == RATE and samples.T.shape == expected.shape
    assert error_db(samples.T, expected) < -90.0


# --- faults ----------------------------------------------------------------------------------

BREAK_ROOMS = """(times) => {
  const { worker } = audition.session.renderer;
  const post = worker.postMessage;
  window.broken = times;
  worker.postMessage = function (message, ...rest) {
    if (message.type === "room" && window.broken-- > 0) message = { ...message, room: null };
    return post.call(this, message, ...rest);
  };
  window.rooms = [];
  const call = audition.player.call;
  audition.player.call = function (name, values, transfer) {
    if (name === "setRoom") window.rooms.push(values[0]);
    return call.call(this, name, values, transfer);
  };
}"""


@pytest.mark.parametrize("times", [1, 100])
def test_reverb_edits_live_on_after_a_room_that_failed(opened, times):
    opened.rendered()
    opened.run(BREAK_ROOMS, times)
    opened.type(field_of("reverb.decay_s"), "0.7")
    if times > 1:
        opened.wait("document.getElementById('status').textContent.includes('reverb')", 10.0)
        assert opened.run("window.rooms") == []
        opened.run("() => { window.broken = 0; }")
        opened.type(field_of("reverb.decay_s"), "0.8")
    opened.wait("window.rooms.length > 0", 10.0)
    opened.rendered()
    opened.wait("!document.getElementById('status').textContent.includes('reverb')", 10.0)


def test_a_worker_that_breaks_down_is_started_again(opened):
    opened.rendered()
    opened.run(
        "() => { const { renderer } = audition.session; window.old = renderer.worker;"
        " renderer.worker.postMessage = function () {"
        " setTimeout(() => this.onerror(new ErrorEvent('error', { message: 'out of memory' }))); };"
        " }"
    )
    opened.type(field_of("reverb.decay_s"), "0.7")
    opened.wait("audition.session.renderer.worker !== window.old", 10.0)
    opened.wait("JSON.parse(audition.session.rooms.get('1 reverb').made).decay_s === 0.7", 10.0)
    opened.wait("!audition.session.versions[1].isEstimate", 20.0)
