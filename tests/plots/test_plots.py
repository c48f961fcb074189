"""Pictures show what the console does, are equal byte for byte, and take any name."""

import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from matplotlib.lines import Line2D

from diffconsole.console import Console
from diffconsole.errors import OutputError, SettingsError
from diffconsole.modules.equalizer.process import equalizer_sections, response
from diffconsole.plots import StripView, draw_presets, plot_presets
from diffconsole.plots.page import shorten
from diffconsole.plots.strip import arrays, value_text
from diffconsole.strip.later import LATER, start_settings
from diffconsole.strip.parameters import BY_KEY, EQ_BANDS, MODULES

RATE = 44100
ODD_NAMES = [
    "<b>$x_1$ & %",
    r"\frac{1}{$0$} ^_ {unclosed $",
    "_starts with an underscore",
    "quotes \"and\" 'so on' </text><script>",
    "two\nlines\tand a tab\x00\x07",
    "ボーカル 🎤 нежный",
    "",
    "W" * 5000,
]


def view(name="a vocal", bypass=(), later=False, **changes):
    """Return the defaults with changes; ``eq__peak_1__gain_db`` stands for the dotted key.

    Modules that came later, whose panels take half the time, are drawn where they are asked for.
    """
    settings = start_settings()
    settings.update({key.replace("__", "."): value for key, value in changes.items()})
    assert settings.keys() == BY_KEY.keys()
    return StripView(name, settings, {*bypass, *(() if later else LATER)})


def lines(figure):
    """Return every line that has an id: id → (x, y)."""
    found = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            if line.get_gid():
                found[line.get_gid()] = tuple(np.asarray(d, float) for d in line.get_data())
    return found


def texts(figure):
    """Return every text of the page and its panels."""
    every = list(figure.texts)
    for axes in figure.axes:
        every += axes.texts
    return [text.get_text() for text in every]


def noise(seconds=1.0, channels=1, level=0.1, rate=RATE):
    rng = np.random.default_rng(3)
    return (level * rng.standard_normal((channels, int(seconds * rate)))).astype(np.float32)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_equal_arguments_give_equal_bytes(tmp_path, ending):
    several = [view("one"), view("two $x$", later=True, compressor__ratio=8.0)]
    for name in ("first", "second"):
        plot_presets(several, tmp_path / f"{name}.{ending}", raw=(noise(), RATE))
    first = (tmp_path / f"first.{ending}").read_bytes()
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert first.startswith(start)
    assert first == (tmp_path / f"second.{ending}").read_bytes()
    assert b"Date" not in first and b"date>" not in first
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"first.{ending}", f"second.{ending}"]


@pytest.mark.slow
def test_equal_bytes_in_another_process_and_with_another_configuration(tmp_path):
    code = (
        "import matplotlib, sys\n"
        "matplotlib.rcParams.update({'font.size': 20, 'svg.hashsalt': 'x', 'axes.grid': True})\n"
        "from diffconsole.strip.later import start_settings\n"
        "from diffconsole.plots import plot_presets\n"
        "plot_presets([('a vocal', start_settings(), ())], sys.argv[1])\n"
        "assert matplotlib.rcParams['font.size'] == 20\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other.svg")], check=True)
    plot_presets([view(later=True)], tmp_path / "here.svg")
    assert (tmp_path / "other.svg").read_bytes() == (tmp_path / "here.svg").read_bytes()


def test_png_is_1600_wide_and_not_blank(tmp_path):
    from matplotlib.image import imread

    plot_presets([view()], tmp_path / "strip.png")
    picture = imread(tmp_path / "strip.png")
    assert picture.shape[1] == 1600
    assert 0.01 < (picture[..., :3].mean(axis=-1) < 0.8).mean() < 0.5


@pytest.mark.parametrize("band", [band for band in EQ_BANDS if band.startswith("peak")])
@pytest.mark.parametrize("q", [0.5, 20.0])
def test_eq_sum_reaches_a_bells_gain_at_its_centre(band, q):
    others = {f"eq.{b}" for b in EQ_BANDS if b != band}
    freq_hz = BY_KEY[f"eq.{band}.freq_hz"].default
    changes = {f"eq__{band}__gain_db": -9.5, f"eq__{band}__q": q}
    drawn = lines(draw_presets([view(bypass=others, **changes)]))
    x, y = drawn["eq.sum.0"]
    assert y[np.flatnonzero(x == freq_hz)] == pytest.approx(-9.5, abs=1e-9)
    assert y.min() == pytest.approx(-9.5, abs=1e-9)
    assert {i for i in drawn if i.startswith("eq.")} == {"eq.sum.0", f"eq.{band}.0"}


@pytest.mark.parametrize("rate", [16000, 48000, 192000])
def test_eq_sum_is_the_sum_of_its_bands_and_the_consoles_response(rate):
    gains = {f"eq__{b}__gain_db": 3.0 for b in EQ_BANDS if not b.endswith("pass")}
    drawn = lines(draw_presets([view(**gains)], sample_rate=rate))
    x, y = drawn["eq.sum.0"]
    bands = sum(drawn[f"eq.{band}.0"][1] for band in EQ_BANDS)
    np.testing.assert_allclose(y, bands, atol=1e-9)
    assert x.min() == pytest.approx(20.0)
    assert x.max() == pytest.approx(min(20000.0, rate / 2), rel=1e-3)

    # The same by running an impulse through the console.
    settings = {
        k: torch.tensor([v], dtype=torch.float64) for k, v in view(**gains).settings.items()
    }
    impulse = torch.zeros(1, 1, 1 << 16, dtype=torch.float64)
    impulse[..., 0] = 1.0
    console = Console(rate, bypass={m for m in MODULES if m != "eq"})
    spectrum = torch.fft.rfft(console(impulse, settings))[0, 0].abs().numpy()
    own_hz = np.fft.rfftfreq(1 << 16, 1.0 / rate)
    inside = (x > 200.0) & (x < 0.45 * rate)
    heard_db = 20.0 * np.log10(np.interp(x[inside], own_hz, spectrum))
    np.testing.assert_allclose(y[inside], heard_db, atol=0.02)


def test_high_pass_is_3_db_down_at_its_corner():
    off = {f"eq.{band}" for band in EQ_BANDS if band != "high_pass"}
    changes = {"eq__high_pass__q": 2**-0.5, "eq__high_pass__freq_hz": 120.0}
    x, y = lines(draw_presets([view(bypass=off, **changes)]))["eq.sum.0"]
    assert y[np.flatnonzero(x == 120.0)] == pytest.approx(10 * np.log10(0.5), abs=1e-6)


def test_eq_axis_shows_all_of_the_curve_but_the_cuts():
    gains = {f"eq__{b}__gain_db": 15.0 for b in EQ_BANDS if not b.endswith("pass")}
    figure = draw_presets([view(**gains)])
    low, high = figure.axes[0].get_ylim()
    assert high > lines(figure)["eq.sum.0"][1].max() > 15.0
    assert low == -high
    assert 0.0 in figure.axes[0].get_yticks()


@pytest.mark.parametrize("ratio", [1.0, 4.0, 20.0])
def test_compressor_bends_at_the_threshold_and_ends_by_the_ratio(ratio):
    changes = {"threshold_db": -23.0, "ratio": ratio, "knee_db": 0.0, "makeup_db": 9.0}
    drawn = lines(draw_presets([view(**{f"compressor__{k}": v for k, v in changes.items()})]))
    x, y = drawn["compressor.0"]
    assert y[np.flatnonzero(x == -23.0)] == pytest.approx(-23.0, abs=1e-9)
    np.testing.assert_allclose(y[x <= -23.0], x[x <= -23.0], atol=1e-9)
    assert (x[0], x[-1]) == (-60.0, 0.0)
    assert y[-1] == pytest.approx(-23.0 + 23.0 / ratio, abs=1e-9)
    assert drawn["compressor.threshold.0"] == ([-23.0], pytest.approx([-23.0]))


def test_compressor_knee_is_marked_over_its_width():
    changes = {"compressor__threshold_db": -20.0, "compressor__knee_db": 12.0}
    drawn = lines(draw_presets([view(compressor__ratio=4.0, **changes)]))
    x, _ = drawn["compressor.knee.0"]
    assert (x.min(), x.max()) == (-26.0, -14.0)
    # the middle of a soft knee lies (1 − 1/R)·W/8 below the corner
    assert drawn["compressor.threshold.0"][1] == pytest.approx([-20.0 - 0.75 * 12.0 / 8.0])


def test_reverb_panels_show_t60_level_and_pre_delay():
    changes = {"decay_s": 2.0, "low_ratio": 1.5, "high_ratio": 0.25, "wet_db": -14.0}
    changes["pre_delay_ms"] = 40.0
    drawn = lines(draw_presets([view(**{f"reverb__{k}": v for k, v in changes.items()})]))
    t60 = dict(zip(*drawn["t60.0"], strict=True))
    assert t60[1000.0] == pytest.approx(2.0)
    assert t60[63.0] == t60[250.0] == pytest.approx(3.0)
    assert t60[8000.0] == t60[16000.0] == pytest.approx(0.5)
    assert 2.0 < t60[500.0] < 3.0
    for band, seconds in ((250, 3.0), (1000, 2.0), (8000, 0.5)):
        x, y = drawn[f"decay.{band}.0"]
        assert (x[1], y[1]) == (pytest.approx(0.04), -14.0)
        assert (x[2], y[2]) == (pytest.approx(0.04 + seconds), -74.0)


def test_bypassed_modules_say_off_and_draw_nothing():
    figure = draw_presets([view(bypass=MODULES)], raw=(noise(), RATE))
    shown = texts(figure)
    for words in ("EQ off", "Compressor off", "Reverb off"):
        assert words in shown
    # Modules that are not on by default take no room where they are off.
    assert shown.count("off") == len(set(MODULES) - LATER)
    assert "Gate off" not in shown
    assert set(lines(figure)) == {"level.raw", "level.0", "spectrum.raw", "spectrum.0"}
    drawn = lines(figure)
    np.testing.assert_allclose(drawn["level.0"][1], drawn["level.raw"][1], atol=1e-9)


def test_one_preset_that_is_off_among_several_says_so_in_its_colour():
    figure = draw_presets([view("on"), view("quiet", bypass={"compressor"})])
    (panel,) = (axes for axes in figure.axes if axes.get_label() == "compressor")
    (word,) = (text for text in panel.texts if text.get_text() == "off")
    (quiet,) = (
        text for text in figure.texts if text.get_text() == "quiet" and text.get_color() != "black"
    )
    assert word.get_color() == quiet.get_color()
    assert "compressor.0" in lines(figure) and "compressor.1" not in lines(figure)


def test_a_bypassed_band_is_missing_from_the_sum():
    boosted = {"eq__peak_2__gain_db": 12.0}
    _, with_band = lines(draw_presets([view(**boosted)]))["eq.sum.0"]
    drawn = lines(draw_presets([view(bypass={"eq.peak_2"}, **boosted)]))
    assert with_band.max() > 11.0 > 1.0 > drawn["eq.sum.0"][1].max()
    assert "eq.peak_2.0" not in drawn


def test_values_stand_below_with_units():
    shown = texts(draw_presets([view(compressor__ratio=4.5, eq__peak_3__gain_db=-2.25)]))
    for value in ("4.5:1", "−22.0 dBFS", "120 ms", "1.8 s", "90 Hz", "10 kHz", "Q 0.71"):
        assert value in shown
    assert "−2.2 dB" in shown or "−2.3 dB" in shown


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("eq.peak_1.freq_hz", 999.4, "999 Hz"),
        ("eq.peak_1.freq_hz", 999.6, "1 kHz"),
        ("eq.peak_3.freq_hz", 3250.0, "3.25 kHz"),
        ("eq.peak_1.gain_db", -0.01, "0.0 dB"),
        ("eq.peak_1.gain_db", 2.0, "+2.0 dB"),
        ("compressor.makeup_db", 3.0, "+3.0 dB"),
        ("compressor.knee_db", 3.0, "3.0 dB"),
        ("reverb.wet_db", -0.04, "0.0 dB"),
        ("reverb.wet_db", -18.5, "−18.5 dB"),
        ("compressor.ratio", 3.333, "3.33:1"),
        ("compressor.attack_ms", 0.05, "0.05 ms"),
        ("compressor.release_ms", 2000.0, "2000 ms"),
        ("reverb.decay_s", 1.8, "1.8 s"),
        ("pan.position", -0.25, "−0.25"),
        ("pan.position", -0.001, "0.00"),
    ],
)
def test_value_text(key, value, text):
    assert value_text(BY_KEY[key], value) == text


def test_gain_reduction_is_the_static_curve_for_a_steady_tone():
    time = np.arange(2 * RATE) / RATE
    square = (0.1 * np.sign(np.sin(2.0 * np.pi * 100.0 * time + 0.1))).astype(np.float32)[None]
    # a square wave's level stands still: −20 dBFS + 6 dB of input gain, 14 dB over at 4:1
    changes = {"threshold_db": -28.0, "ratio": 4.0, "knee_db": 0.0, "makeup_db": 12.0}
    strip = view(
        bypass={"eq", "reverb", "pan"},
        input_gain__gain_db=6.0,
        **{f"compressor__{k}": v for k, v in changes.items()},
    )
    drawn = lines(draw_presets([strip], raw=(square, RATE)))
    _, reduction = drawn["gain_reduction.0"]
    assert reduction[-10:] == pytest.approx(-14.0 * 0.75, abs=0.01)
    assert drawn["level.raw"][1][-1] == pytest.approx(-20.0, abs=0.01)
    assert drawn["level.0"][1][-1] == pytest.approx(-20.0 + 6.0 - 10.5 + 12.0, abs=0.01)


def test_levels_run_over_the_time_of_the_file():
    loud_then_soft = noise(2.0)
    loud_then_soft[:, RATE:] *= 0.1
    x, y = lines(draw_presets([view()], raw=(loud_then_soft, RATE)))["level.raw"]
    assert x[-1] == pytest.approx(2.0, abs=0.03)
    assert y[x < 0.95] == pytest.approx(-20.0, abs=0.5)
    assert y[x > 1.05] == pytest.approx(-40.0, abs=0.5)


def test_spectra_show_the_eq_and_the_level_of_a_tone():
    time = np.arange(3 * RATE) / RATE
    tone = (0.5 * np.sin(2.0 * np.pi * 1000.0 * time)).astype(np.float32)[None]
    drawn = lines(draw_presets([view(bypass={"compressor", "reverb", "pan"})], raw=(tone, RATE)))
    assert drawn["spectrum.raw"][1].max() == pytest.approx(-9.03, abs=0.1)

    off = {"compressor", "reverb", "pan"} | {f"eq.{b}" for b in EQ_BANDS if b != "high_shelf"}
    strip = view(bypass=off, eq__high_shelf__gain_db=8.0, eq__high_shelf__freq_hz=1000.0)
    drawn = lines(draw_presets([strip], raw=(noise(6.0), RATE)))
    x, after = drawn["spectrum.0"]
    change = after - drawn["spectrum.raw"][1]
    sections = equalizer_sections(RATE, arrays(strip), strip.bypass)
    wanted = 20 * np.log10(np.abs(response(sections, RATE, x)[0, 0]))
    np.testing.assert_allclose(change[x > 100], wanted[x > 100], atol=0.25)


def test_given_processed_audio_is_what_is_drawn_tail_included():
    raw, processed = noise(1.0), noise(1.5, channels=2, level=0.01)
    drawn = lines(draw_presets([view()], raw=(raw, RATE), processed=processed))
    x, y = drawn["level.0"]
    assert x[-1] == pytest.approx(1.5, abs=0.03)
    assert y == pytest.approx(-40.0, abs=0.5)
    again = lines(draw_presets([view(), view("b")], raw=(raw, RATE), processed=processed))
    np.testing.assert_array_equal(again["level.0"][1], y)
    assert again["level.1"][1].max() > -35.0


@pytest.mark.parametrize("samples", [1, 2, 100])
@pytest.mark.parametrize("channels", [1, 2])
def test_silence_and_very_short_audio(samples, channels):
    silence = np.zeros((channels, samples), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = lines(draw_presets([view()], raw=(silence, RATE)))
    assert np.isfinite(drawn["level.0"][1]).all() and np.isfinite(drawn["spectrum.0"][1]).all()
    assert np.isnan(drawn["gain_reduction.0"][1]).all()


def test_several_presets_overlay_in_their_own_colours():
    names = [f"preset {i}" for i in range(9)]
    figure = draw_presets([view(name, compressor__ratio=1.0 + i) for i, name in enumerate(names)])
    curves = [
        line
        for axes in figure.axes
        if axes.get_label() == "compressor"
        for line in axes.get_lines()
        if (line.get_gid() or "").rpartition(".")[0] == "compressor"
    ]
    assert len(curves) == 9
    assert len({(line.get_color(), line.get_linestyle()) for line in curves}) == 9
    shown = texts(figure)
    assert all(shown.count(name) == 2 for name in names)
    legend = [artist for artist in figure.artists + figure.lines if isinstance(artist, Line2D)]
    assert [line.get_color() for line in legend] == [line.get_color() for line in curves]


def test_texts_stay_on_the_page_and_apart():
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    first = view("W" * 300, later=True, compressor__threshold_db=-60.0)
    strips = [first, view("M" * 300, later=True), view("c", later=True)]
    figure = draw_presets(strips, raw=(noise(), RATE), title="Q" * 500)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.texts]
    boxes += [axes.get_tightbbox(renderer) for axes in figure.axes]
    page = figure.bbox
    for box in boxes:
        assert box.x0 >= page.x0 and box.y0 >= page.y0
        assert box.x1 <= page.x1 and box.y1 <= page.y1
    for i, one in enumerate(boxes):
        for other in boxes[i + 1 :]:
            wide = min(one.x1, other.x1) - max(one.x0, other.x0)
            high = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert wide < 1.0 or high < 1.0


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_odd_names_are_drawn_without_errors_or_warnings(tmp_path, ending):
    path = tmp_path / f"odd.{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_presets([view(name) for name in ODD_NAMES], path, title=ODD_NAMES[0])
    assert path.stat().st_size > 10000
    if ending == "svg":
        ElementTree.parse(path)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_literal(name):
    figure = draw_presets([view(name)])
    (title,) = (text for text in figure.texts if text.get_fontsize() == 11.0)
    assert title.get_text() == shorten(name, 7.65, 11.0, bold=True)
    assert not title.get_parse_math()


def test_shorten_keeps_what_fits():
    assert shorten("<b>$x_1$ & %", 3.0) == "<b>$x_1$ & %"
    assert shorten("two\n lines\x00", 3.0) == "two lines"
    assert shorten("", 3.0) == "unnamed"
    short, shorter = shorten("word " * 50, 3.0), shorten("word " * 50, 1.5)
    assert short.endswith("…") and "word word word".startswith(shorter[:8])
    assert 1.7 < len(short) / len(shorter) < 2.4


def test_other_endings_are_refused_with_the_three(tmp_path):
    for name in ("strip.jpg", "strip", "strip.png.txt"):
        with pytest.raises(OutputError, match=r"\.png, \.svg or \.pdf") as refused:
            plot_presets([view()], tmp_path / name)
        assert name in str(refused.value)
    assert not list(tmp_path.iterdir())
    plot_presets([view()], tmp_path / "STRIP.PNG")
    assert (tmp_path / "STRIP.PNG").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_overwritten_without_force(tmp_path):
    path = tmp_path / "strip.svg"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        plot_presets([view()], path)
    assert path.read_text() == "mine"
    plot_presets([view()], path, force=True)
    assert "<svg" in path.read_text()


def test_wrong_use_is_named():
    with pytest.raises(SettingsError, match="no preset"):
        draw_presets([])
    with pytest.raises(SettingsError, match=r"'eq\.peak_9'"):
        draw_presets([view(bypass={"eq.peak_9"})])
    missing = view("thin")
    del missing.settings["reverb.decay_s"]
    with pytest.raises(SettingsError, match=r"'thin'.*'reverb\.decay_s' is missing"):
        draw_presets([missing])
    with pytest.raises(SettingsError, match=r"compressor\.ratio is nan"):
        draw_presets([view(compressor__ratio=float("nan"))])
    with pytest.raises(SettingsError, match="sample rate"):
        draw_presets([view()], raw=(noise(), 8000))
    with pytest.raises(SettingsError, match=r"\(batch, 1 or 2 channels"):
        draw_presets([view()], raw=(np.zeros((3, 100), np.float32), RATE))
