"""The script for pedalboard: run in pedalboard itself, read back, and under hostile names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.errors import ExportError
from diffconsole.export import Strip, export_preset, import_preset
from diffconsole.export.pedalboard import FORMAT, corner_curve
from diffconsole.strip.later import LATER
from diffconsole.strip.parameters import BY_KEY
from diffconsole.strip.preset import factory_presets
from tests import reference
from tests.export.consumers_pedalboard import load, run_in_phase, run_pedalboard, write
from tests.export.helpers import (
    HOSTILE_NAMES,
    Voice,
    carried,
    hostile,
    in_float64,
    needs_module,
    no_file_escaped,
    same,
    take,
)

needs_module("pedalboard")

FIGURES = {figure.part: figure.error_db for figure in FORMAT.figures}
PRESETS = {key: carried(preset, FORMAT) for key, preset in factory_presets().items()}
RATES = (44100, 48000)
VOICE = 1
FULL = {
    "input_gain": {"gain_db": 4.0},
    "eq": {
        "high_pass": {"freq_hz": 90.0, "q": 1.1},
        "low_shelf": {"freq_hz": 180.0, "gain_db": -2.5, "q": 0.5},
        "peak_1": {"freq_hz": 320.0, "gain_db": -3.0, "q": 1.4},
        "peak_2": {"freq_hz": 900.0, "gain_db": 6.0, "q": 2.0, "enabled": False},
        "high_shelf": {"freq_hz": 9000.0, "gain_db": 3.0, "q": 0.9},
        "low_pass": {"freq_hz": 17000.0, "q": 0.6},
    },
    "compressor": {"threshold_db": -27.0, "ratio": 3.0, "knee_db": 0.0, "makeup_db": 4.0},
    "pan": {"position": -0.4},
    "reverb": {"decay_s": 0.6, "wet_db": -12.0, "width": 0.7},
    "output_gain": {"gain_db": -1.5},
}


def without_knee(preset: Preset) -> Preset:
    knees = ("compressor.knee_db", "compressor_2.knee_db")
    settings = {**preset.settings(), **dict.fromkeys(knees, 0.0)}
    return Preset.from_settings(settings, bypass=preset.bypass(), name=preset.name)


def error_db(strip: Strip, voice: Voice) -> float:
    audio = take(voice, strip.sample_rate, strip.channels)
    return reference.error_db(run_in_phase(strip, audio), in_float64(strip, audio))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("name", PRESETS)
def test_factory_presets_are_as_near_as_the_figures_say(
    real_voices: list[Voice], name: str, rate: int
) -> None:
    preset, voice = PRESETS[name], real_voices[VOICE]
    eq = preset.without(["compressor", "compressor_2", "reverb", "output_gain", *LATER])
    assert error_db(Strip(eq, rate), voice) <= FIGURES["EQ"] <= -50.0
    only = preset.without(["eq", "reverb", *LATER])
    unbent = error_db(Strip(without_knee(only), rate), voice)
    assert unbent <= FIGURES["compressor without knee, mono"] <= -65.0
    assert error_db(Strip(only, rate), voice) <= FIGURES["compressor with knee, mono"]
    assert error_db(Strip(preset, rate), voice) <= FIGURES["whole chain, mono"]


@pytest.mark.parametrize("rate", RATES)
def test_sides_that_differ_are_as_near_as_the_figure_says(
    real_voices: list[Voice], rate: int
) -> None:
    sides = [take(real_voices[voice], rate) for voice in (VOICE, 0)]
    audio = np.concatenate(sides)
    for name, preset in PRESETS.items():
        for only in (
            without_knee(preset.without(["eq", "reverb", *LATER])),
            preset.without(["eq", "reverb", *LATER]),
        ):
            strip = Strip(only, rate, 2)
            error = reference.error_db(run_pedalboard(strip, audio), in_float64(strip, audio))
            assert error <= FIGURES["compressor, stereo, another voice on each side"], name


@pytest.mark.parametrize("rate", RATES)
def test_short_releases_are_nearer(real_voices: list[Voice], rate: int) -> None:
    for name, preset in PRESETS.items():
        only = without_knee(preset.without(["eq", "reverb", *LATER]))
        if only.settings()["compressor.release_ms"] < 100.0:
            assert error_db(Strip(only, rate), real_voices[VOICE]) <= -90.0, name


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("band", ["high_pass", "low_pass"])
def test_two_first_order_passes_and_a_bell_are_the_cookbooks(
    real_voices: list[Voice], band: str, rate: int
) -> None:
    corners = {"high_pass": (500.0, 1000.0), "low_pass": (4000.0, 12000.0, 20000.0)}[band]
    for freq_hz in corners:
        for q in (0.3, 0.71, 6.0):
            preset = Preset({"eq": {band: {"freq_hz": freq_hz, "q": q}}})
            assert error_db(Strip(preset, rate), real_voices[VOICE]) <= -80.0, (freq_hz, q)


@pytest.mark.parametrize(
    ("band", "values"),
    [
        ("peak_2", {"freq_hz": 500.0, "gain_db": 12.0, "q": 4.0}),
        ("peak_4", {"freq_hz": 18000.0, "gain_db": -15.0, "q": 0.5}),
        ("high_shelf", {"freq_hz": 16000.0, "gain_db": 15.0, "q": 0.3}),
    ],
)
def test_single_filters_up_to_the_highest(
    real_voices: list[Voice], band: str, values: dict[str, float]
) -> None:
    for rate in RATES:
        strip = Strip(Preset({"eq": {band: values}}), rate)
        assert error_db(strip, real_voices[VOICE]) <= -80.0


@pytest.mark.parametrize("channels", [1, 2])
def test_gains_pan_and_reverb(real_voices: list[Voice], channels: int) -> None:
    preset = Preset(FULL) if channels == 1 else Preset(FULL).without(["compressor"])
    assert error_db(Strip(preset, 48000, channels), real_voices[VOICE]) <= -70.0


def test_sides_that_are_alike_are_compressed_as_ours(real_voices: list[Voice]) -> None:
    strip = Strip(Preset(FULL), 48000, 2)
    audio = np.repeat(take(real_voices[VOICE], 48000), 2, axis=0)
    assert reference.error_db(run_pedalboard(strip, audio), in_float64(strip, audio)) <= -70.0


def test_mono_stays_mono_without_pan_and_reverb(real_voices: list[Voice]) -> None:
    audio = take(real_voices[VOICE], 48000, seconds=0.2)
    assert run_pedalboard(Strip(Preset(FULL).without(["pan", "reverb"])), audio).shape[0] == 1
    assert run_pedalboard(Strip(Preset(FULL).without(["reverb"])), audio).shape[0] == 2


def test_a_strip_without_modules_changes_nothing(real_voices: list[Voice]) -> None:
    audio = take(real_voices[VOICE], 48000, seconds=0.2)
    np.testing.assert_array_equal(run_pedalboard(Strip(Preset()), audio), audio)


def test_nearest_corner_is_nearer_than_leaving_the_knee_out(real_voices: list[Voice]) -> None:
    bars = {6.0: (-41.0, -34.0), 12.0: (-34.0, -29.0), 24.0: (-30.0, -26.0)}
    near: dict[float, list[float]] = {knee_db: [] for knee_db in bars}
    hard: dict[float, list[float]] = {knee_db: [] for knee_db in bars}
    for voice in real_voices:
        audio = take(voice, 48000)[0].astype(np.float64)
        smoothed = reference.detect(np.abs(audio), 48000, 5.0, 140.0)
        level = 20.0 * np.log10(np.maximum(smoothed, 1e-6))

        def played(
            threshold_db: float,
            ratio: float,
            knee_db: float,
            makeup_db: float = 0.0,
            level: np.ndarray = level,
            audio: np.ndarray = audio,
        ) -> np.ndarray:
            curve = reference.curve_db(level, threshold_db, ratio, knee_db)
            return audio * 10.0 ** ((curve - level + makeup_db) / 20.0)  # fmt: skip

        for threshold_db, ratio in ((-25.0, 3.0), (-20.0, 6.0), (-30.0, 2.0)):
            for knee_db in bars:
                wanted = played(threshold_db, ratio, knee_db)
                corner, slope, makeup_db = corner_curve(threshold_db, ratio, knee_db)
                fitted = played(corner, slope, 0.0, makeup_db)
                near[knee_db].append(reference.error_db(fitted, wanted))
                left_out = played(threshold_db, ratio, 0.0)
                hard[knee_db].append(reference.error_db(left_out, wanted))
    for knee_db, (middle_db, worst_db) in bars.items():
        assert np.median(near[knee_db]) <= middle_db
        assert max(near[knee_db]) <= min(worst_db, max(hard[knee_db]) - 3.0)


def test_no_knee_is_no_change() -> None:
    assert corner_curve(-20.0, 4.0, 0.0) == (-20.0, 4.0, 0.0)
    assert corner_curve(-20.0, 1.0, 12.0) == (-20.0, 1.0, 0.0)
    for threshold_db in (-60.0, 0.0):
        corner, ratio, makeup_db = corner_curve(threshold_db, 20.0, 24.0)
        assert abs(corner - threshold_db) <= 12.0 and 1.0 <= ratio <= 20.0 + 1e-9
        assert abs(makeup_db) <= 12.0


def test_command_keeps_rate_level_and_tail(real_voices: list[Voice], tmp_path: Path) -> None:
    loud = 2.0 * take(real_voices[VOICE], 48000, seconds=0.5)
    script = write(Strip(Preset({**FULL, "output_gain": {"gain_db": 20.0}})), tmp_path)
    soundfile.write(tmp_path / "in.wav", loud.T, 48000, subtype="FLOAT")
    command = [sys.executable, str(script), str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
    subprocess.run(command, check=True, capture_output=True)
    played, rate = soundfile.read(tmp_path / "out.wav", always_2d=True)
    tail = load(script).TAIL_S
    assert rate == 48000 and len(played) == loud.shape[1] + round(tail * 48000)
    assert np.abs(played).max() > 1.0
    expected = load(script).process(loud, 48000, tail)
    np.testing.assert_allclose(played.T, expected, atol=1e-6)
    assert subprocess.run(command[:3], capture_output=True, check=False).returncode != 0


def test_command_replaces_a_file_with_y_alone_and_tells_in_one_line(tmp_path: Path) -> None:
    script = write(Strip(Preset({"output_gain": {"gain_db": -6.0}})), tmp_path)
    soundfile.write(tmp_path / "in.wav", np.full((100, 1), 0.5), 48000, subtype="FLOAT")
    (tmp_path / "out.wav").write_bytes(b"mine")

    def run(*words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, str(script), *words], cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stderr

    assert run("in.wav", "out.wav") == (1, "out.wav is there already; -y replaces it\n")
    assert (tmp_path / "out.wav").read_bytes() == b"mine"
    for source, target in (("nope.wav", "new.wav"), ("in.wav", "nowhere/new.wav")):
        code, told = run(source, target)
        assert code == 1 and len(told.splitlines()) == 1
        assert told.startswith(source if source == "nope.wav" else target)
    assert run("in.wav", "out.wav", "-y")[0] == 0
    played, _ = soundfile.read(tmp_path / "out.wav")
    assert played == pytest.approx(0.5 * 10.0**-0.3, rel=1e-6)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_names_stay_text(name: str, tmp_path: Path) -> None:
    strip = Strip(hostile(PRESETS["rap"].without(["reverb"]), name))
    script = write(strip, tmp_path)
    assert script.read_bytes().isascii()
    compile(script.read_bytes(), "strip.py", "exec")
    assert strip.title == load(script).NAME == FORMAT.read(tmp_path).name
    no_file_escaped(tmp_path)


def test_import_gives_the_preset_back(tmp_path: Path) -> None:
    for number, preset in enumerate((Preset(FULL, "warm"), PRESETS["rap"], PRESETS["podcast"])):
        written, _ = export_preset(preset, "pedalboard", tmp_path / str(number))
        back, key = import_preset(tmp_path / str(number), "pedalboard")
        assert key == "pedalboard" and tmp_path / str(number) / "strip.py" in written
        on = tuple(k for k in preset.settings() if BY_KEY[k].module not in preset.bypass())
        same(preset, back, on, tolerance=0.0)
        assert back.bypass() == preset.bypass() and back.name == preset.name


def test_reading_runs_nothing(tmp_path: Path) -> None:
    script = tmp_path / "strip.py"
    script.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nSETTINGS = dict()\n")
    with pytest.raises(ExportError):
        import_preset(tmp_path, "pedalboard")
    script.write_text("NAME = 'no settings'\n")
    with pytest.raises(ExportError, match="SETTINGS"):
        import_preset(tmp_path, "pedalboard")
    for broken in ("SETTINGS = (", "SETTINGS = " + "(" * 5000, "SETTINGS = {'eq': 3}"):
        script.write_text(broken)
        with pytest.raises(ExportError):
            import_preset(tmp_path, "pedalboard")
    script.write_text("# " + "x" * (1 << 20))
    with pytest.raises(ExportError, match="1 MB"):
        import_preset(tmp_path, "pedalboard")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("-" * 20000 + "1", "cannot be read"),
        ("(" * 300, "cannot be read"),
        ("{'eq.peak_1.gain_db': 1 + 1}", "cannot be read"),
        ("3", "is not a dictionary"),
        ("{'eq.peak_1.gain_db': " + "9" * 4000 + "}", "eq.peak_1.gain_db is far beyond any range"),
        ("{'eq.peak_1.gain_db': " + "9" * 400 + "}", "eq.peak_1.gain_db is far beyond any range"),
    ],
    ids=["depth", "brackets", "sum", "no dictionary", "digits", "beyond a float"],
)
def test_settings_that_cannot_be_are_refused_with_a_reason(
    tmp_path: Path, settings: str, told: str
) -> None:
    (tmp_path / "strip.py").write_text(f"SETTINGS = {settings}\n")
    with pytest.raises(ExportError, match=rf"strip\.py: .*{told}") as caught:
        import_preset(tmp_path, "pedalboard")
    assert "()" not in str(caught.value)


def test_what_is_lost_is_said() -> None:
    for channels in (1, 2):
        told = FORMAT.losses(Strip(PRESETS["rap"], channels=channels))
        assert any("knee" in line for line in told)
        assert any("each channel alone" in line for line in told)
        assert not any("left out" in line for line in told)
    assert not FORMAT.losses(Strip(Preset({"eq": {"peak_1": {"gain_db": 2.0}}})))


@pytest.mark.parametrize(
    ("knee_db", "ratio", "bent"), [(0.0, 4.0, 0), (6.0, 1.0, 0), (6.0, 4.0, 1)]
)
def test_the_knee_is_told_of_where_it_is_not_exact(knee_db: float, ratio: float, bent: int) -> None:
    strip = Strip(Preset({"compressor": {"knee_db": knee_db, "ratio": ratio}}))
    assert sum("knee" in line for line in FORMAT.losses(strip)) == bent
    assert any("knee is over 0" in line for line in FORMAT.conditions)
