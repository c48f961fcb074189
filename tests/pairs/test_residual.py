"""What a strip leaves of a mix, in levels and words, and its picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal

from diffconsole import Preset
from diffconsole.errors import OutputError
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.pairs.evaluation import level_distance, preset_distance
from diffconsole.pairs.residual import BANDS_HZ, in_words, measure_residual
from diffconsole.plots.match import TERMS, draw_match, plot_match
from diffconsole.strip.later import first_settings, start_settings

from ..plots.test_plots import lines, texts
from ..synthetic import STUDIO, mixed, pair, voice

PRESET = Preset.from_settings({**first_settings(start_settings()), **STUDIO}, name="the studio's")


@pytest.fixture(scope="module")
def studio() -> Pair:
    return pair(1, seconds=2.5)


def filtered(taken: Pair, order: int, edges_hz: object, kind: str, gain: float) -> Pair:
    """The mix with a band of it added again at some gain."""
    sos = scipy.signal.butter(order, edges_hz, kind, fs=PAIR_RATE, output="sos")
    more = gain * scipy.signal.sosfiltfilt(sos, taken.mixed)
    return replace(taken, mixed=(taken.mixed + more).astype(np.float32))


def test_a_strip_that_explains_everything(studio: Pair) -> None:
    found = measure_residual(studio, PRESET)
    assert found.after["total"] < 1e-3
    assert np.abs(found.difference_db).max() < 0.01
    assert in_words(found) == []


def test_levels_are_those_of_the_audio() -> None:
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((1, 2 * PAIR_RATE))).astype(np.float32)
    both = Pair("noise", noise, np.repeat(noise, 2, axis=0), 0.0, 1, 1.0)
    found = measure_residual(both, Preset())
    third = 2.0 ** (1.0 / 6.0)
    width_hz = BANDS_HZ * third - BANDS_HZ / third
    expected = 10.0 * np.log10(0.01 * width_hz / (PAIR_RATE / 2.0))
    assert found.mix_band_db[10:] == pytest.approx(expected[10:], abs=1.0)
    tone = np.sin(2.0 * np.pi * 1000.0 * np.arange(PAIR_RATE) / PAIR_RATE)[None].astype(np.float32)
    found = measure_residual(Pair("tone", tone, np.repeat(tone, 2, 0), 0.0, 1, 1.0), Preset())
    middle = found.mix_level_db[10:-10]
    assert middle == pytest.approx(-3.01, abs=0.05)
    assert int(np.argmax(found.mix_band_db)) == int(np.argmin(np.abs(BANDS_HZ - 1000.0)))


def test_the_terms_are_those_of_the_distances(studio: Pair) -> None:
    dull = Preset({"eq": {"high_shelf": {"gain_db": -6.0}}})
    found = measure_residual(studio, dull)
    assert found.after["total"] == pytest.approx(preset_distance(studio, dull), abs=1e-5)
    assert found.before["total"] == pytest.approx(level_distance(studio), abs=1e-5)


def test_more_energy_in_a_band_is_told(studio: Pair) -> None:
    louder = filtered(studio, 2, (1000.0, 2500.0), "bandpass", 1.0)
    found = measure_residual(louder, PRESET)
    inside = (BANDS_HZ > 1300.0) & (BANDS_HZ < 2000.0)
    assert found.signed_db[inside] == pytest.approx(6.0, abs=1.0)
    assert np.abs(found.signed_db[BANDS_HZ < 300.0]).max() < 1.0
    (line,) = in_words(found)
    assert line.startswith("the mix has ")
    assert "dB more from" in line


def test_echoes_show_in_the_pauses() -> None:
    sung = voice(1.0, 2)
    raw = np.concatenate((sung, np.zeros(int(1.5 * PAIR_RATE), np.float32)))
    mix = mixed(raw, {**STUDIO, "reverb.wet_db": -60.0})
    late = np.pad(mix, ((0, 0), (int(0.9 * PAIR_RATE), 0)))[:, : mix.shape[1]]
    echoed = Pair("echo", raw[None], mix + np.float32(0.01) * late, 0.0, 1, 1.0)
    strip = Preset.from_settings(
        {**first_settings(start_settings()), **STUDIO, "reverb.wet_db": -60.0}
    )
    found = in_words(measure_residual(echoed, strip))
    assert any("pauses are" in line and "louder: a delay" in line for line in found)


def test_width_is_told(studio: Pair) -> None:
    wide = studio.mixed.copy()
    wide[1] = np.roll(wide[1], 800)
    found = in_words(measure_residual(replace(studio, mixed=wide), PRESET))
    assert any("more side signal" in line for line in found)


def test_the_picture_holds_strip_and_residual(studio: Pair) -> None:
    residual = measure_residual(filtered(studio, 2, 4000.0, "highpass", 1.0), PRESET)
    figure = draw_match(PRESET, residual)
    labels = {axes.get_label() for axes in figure.axes}
    assert labels == {
        "eq", "compressor", "decay_by_band", "decay_over_time", "residual_bands",
        "residual_signed", "residual_levels", "residual_map", "residual_scale",
    }  # fmt: skip
    drawn = lines(figure)
    assert np.array_equal(drawn["signed"][1], residual.signed_db)
    assert np.array_equal(drawn["band.mix"][1], residual.mix_band_db)
    assert np.array_equal(drawn["level.difference"][1], residual.error_level_db)
    words = texts(figure)
    assert "the studio's" in words
    assert f"{residual.after['total']:.3f}" in words
    assert set(TERMS.values()) <= set(words)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_the_picture_is_written_whole_and_the_same_again(tmp_path, studio: Pair, ending) -> None:
    for name in ("a", "b"):
        plot_match(studio, PRESET, tmp_path / f"{name}.{ending}", title="a $x$ → ボ")
    first = (tmp_path / f"a.{ending}").read_bytes()
    assert first == (tmp_path / f"b.{ending}").read_bytes()
    assert len(first) < 2_000_000
    with pytest.raises(OutputError, match="exists already"):
        plot_match(studio, PRESET, tmp_path / f"a.{ending}")
    with pytest.raises(OutputError, match="is no picture"):
        plot_match(studio, PRESET, tmp_path / "a.txt")


def test_silence_between_and_short_pairs_can_be_drawn(tmp_path) -> None:
    raw = np.zeros((1, PAIR_RATE), np.float32)
    raw[:, 8000:30000] = voice(1.0)[:22000]
    silent = Pair("short", raw, np.repeat(raw, 2, axis=0), 0.0, 1, 1.0)
    plot_match(silent, Preset(), tmp_path / "short.png")
    assert in_words(measure_residual(silent, Preset())) == []
