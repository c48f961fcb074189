"""Settings along a song."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.errors import AudioError
from diffconsole.model.timeline import predict_timeline
from diffconsole.strip.parameters import BY_KEY

from ..synthetic import RATE, small_model, voice


@pytest.fixture(scope="module")
def model():
    return small_model(3).eval()


def test_each_window_is_heard_by_itself(model):
    song = np.concatenate([voice(5.0, seed) for seed in (1, 2, 3)])
    timeline = predict_timeline(model, song[None], RATE, hop_seconds=5.0)
    np.testing.assert_allclose(timeline.seconds, [2.5, 7.5, 12.5], atol=1e-3)
    whole = model.predict(song[None], RATE)
    assert timeline.whole == whole
    # A window alone, at the loudness that it has in the song, gets what stands in its place.
    (alone,) = predict_timeline(model, song[None, : 5 * RATE], RATE).settings["eq.peak_2.gain_db"]
    assert timeline.settings["eq.peak_2.gain_db"][0] == pytest.approx(alone, abs=1.0)
    key = "compressor.ratio"
    assert (timeline.low[key] < timeline.settings[key]).all()
    assert (timeline.settings[key] < timeline.high[key]).all()
    assert len(set(timeline.settings[key])) == 3


def test_quiet_parts_are_gaps(model):
    song = np.concatenate((voice(5.0), 1e-4 * voice(5.0), voice(5.0, 1)))
    timeline = predict_timeline(model, song[None], RATE, hop_seconds=5.0)
    for values in timeline.settings.values():
        assert list(np.isnan(values)) == [False, True, False]


def test_values_are_in_range_and_follow_the_level(model):
    song = voice(8.0)[None]
    loud, soft = (predict_timeline(model, gain * song, RATE) for gain in (1.0, 0.25))
    for key, values in loud.settings.items():
        assert (values >= BY_KEY[key].low).all()
        assert (values <= BY_KEY[key].high).all()
        off = 20.0 * np.log10(4.0) if key == "input_gain.gain_db" else 0.0
        np.testing.assert_allclose(soft.settings[key] - values, off, atol=2e-2 * BY_KEY[key].high)


@pytest.mark.parametrize("seconds", [0.2, 4.0, 5.0])
def test_a_short_take_is_one_window(model, seconds):
    timeline = predict_timeline(model, voice(seconds)[None], RATE)
    assert timeline.seconds == pytest.approx([seconds / 2.0], abs=1e-3)


def test_long_songs_have_no_more_windows_than_a_picture_has_room_for(model, monkeypatch):
    # Of shorter windows a shorter song has as many.
    monkeypatch.setattr("diffconsole.model.timeline.WINDOW_SECONDS", 1.0)
    song = np.tile(voice(4.0, rate=16000), 60)[None]
    timeline = predict_timeline(model, song, 16000)
    assert 390 <= len(timeline.seconds) <= 400


def test_silence_is_refused(model):
    with pytest.raises(AudioError, match="nothing to predict"):
        predict_timeline(model, np.zeros((1, RATE), np.float32), RATE)


def test_the_former_name_is_the_same() -> None:
    from diffconsole.model import timeline

    assert timeline.predict_course is timeline.predict_timeline
