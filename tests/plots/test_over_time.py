"""The picture of settings along a song: what the model said is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from diffconsole.errors import OutputError
from diffconsole.model.timeline import predict_timeline
from diffconsole.plots.over_time import SHOWN, draw_over_time, plot_over_time

from ..commands import call, write_model, write_take
from ..synthetic import RATE, small_model, voice


@pytest.fixture(scope="module")
def song():
    return np.concatenate((voice(6.0), 1e-4 * voice(6.0), voice(6.0, 1)))[None]


@pytest.fixture(scope="module")
def timeline(song):
    return predict_timeline(small_model(3).eval(), song, RATE)


def test_lines_bands_and_the_whole(timeline, song):
    figure = draw_over_time(timeline, (song, RATE), title="a_$song$")
    axes = {a.get_label(): a for a in figure.axes}
    assert set(axes) == {"level", "eq", "eq.scale", *SHOWN}
    for key in SHOWN:
        lines = {line.get_gid(): line for line in axes[key].lines}
        np.testing.assert_allclose(lines[key].get_ydata(), timeline.settings[key])
        assert lines[f"{key}.whole"].get_ydata()[0] == timeline.whole.settings[key]
        low, high = sorted(axes[key].get_ylim())
        assert low <= timeline.whole.settings[key] <= high
        assert axes[key].get_xlim() == (0.0, pytest.approx(18.0))
    assert any("a_$song$" in text.get_text() for text in figure.texts)


def test_the_map_has_gaps_where_the_song_is_quiet(timeline, song):
    figure = draw_over_time(timeline, (song, RATE))
    (axes,) = (a for a in figure.axes if a.get_label() == "eq")
    drawn = np.ma.filled(axes.collections[0].get_array(), np.nan)
    quiet = np.isnan(timeline.settings["eq.peak_1.gain_db"])
    assert quiet.any()
    np.testing.assert_array_equal(np.isnan(drawn).all(axis=0), quiet)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_equal_arguments_give_equal_bytes(timeline, song, tmp_path, ending):
    paths = [tmp_path / f"{n}.{ending}" for n in "ab"]
    for path in paths:
        plot_over_time(timeline, (song, RATE), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        plot_over_time(timeline, (song, RATE), paths[0])


def test_a_single_window(tmp_path):
    take = voice(1.0)[None]
    timeline = predict_timeline(small_model().eval(), take, RATE)
    plot_over_time(timeline, (take, RATE), tmp_path / "a.png")


def test_the_commands(tmp_path):
    take, model = write_take(tmp_path / "take.wav"), write_model(tmp_path / "model")
    out = tmp_path / "a.png"
    result = call("plot", "--over-time", "--raw", take, "--model", model, "-o", out)
    assert result.exit_code == 0
    assert out.stat().st_size > 10000
    (model / "finetune.jsonl").write_text(
        '{"stage": "before", "held_out": 2.0}\n{"stage": "ridge", "strength": 1, "held_out": 1}\n'
    )
    assert call("plot", "--run", model, "-o", tmp_path / "run.svg").exit_code == 0
    for arguments, code, words in (
        (("--over-time", "-o", "x.png"), 2, "--over-time needs --raw"),
        (("-o", "x.png"), 2, "give PRESETs, or --over-time, or --run"),
        (("rap", "--run", model, "-o", "x.png"), 2, "give PRESETs, or"),
        (("rap", "--model", model, "-o", "x.png"), 2, "--model goes with --over-time"),
        (("--run", tmp_path, "-o", tmp_path / "x.png"), 1, "no finetune.jsonl here"),
    ):
        result = call("plot", *arguments)
        assert result.exit_code == code
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1
    (model / "finetune.jsonl").write_text("[1]")
    assert "holds no stages" in call("plot", "--run", model, "-o", tmp_path / "y.png").stderr
    (model / "finetune.jsonl").write_text("{")
    assert "holds no stages" in call("plot", "--run", model, "-o", "y.png").stderr
