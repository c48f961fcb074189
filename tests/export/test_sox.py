"""The EQ, gains and pan in SoX's effects: against float64, within full scale, and read back."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole import Preset
from diffconsole.errors import ExportError
from diffconsole.export import Strip, find_format, import_preset
from diffconsole.strip.parameters import BY_KEY, MODULES, PARAMETERS
from diffconsole.strip.preset import factory_presets
from tests.reference import error_db

from .consumers_ffmpeg import run_sox
from .helpers import HOSTILE_NAMES, Voice, hostile, in_float64, needs, no_file_escaped, same, take

SOX = find_format("sox")
FIGURES = {figure.part: figure.error_db for figure in SOX.figures}
KEPT = ("input_gain", "eq", "pan", "output_gain")


@pytest.fixture
def sox() -> str:
    return needs(shutil.which("sox"), "sox")


def without_rest(preset: Preset, kept: tuple[str, ...] = KEPT) -> Preset:
    return preset.without([module for module in MODULES if module not in kept])


def within_full_scale(strip: Strip, audio: np.ndarray) -> np.ndarray:
    """The audio, turned down where the strip would bring it above full scale."""
    peak = np.abs(in_float64(strip, audio)).max()
    return audio * np.float32(min(1.0, 0.9 / peak))


def random_preset(seed: int, sections: tuple[str, ...] = ("eq", "pan")) -> Preset:
    random = np.random.default_rng(seed)
    return Preset.from_settings(
        {
            p.key: float(p.to_physical(random.random()))
            for p in PARAMETERS
            if p.section.split(".")[0] in sections
        }
    )


@pytest.mark.parametrize(("part", "kept"), [("EQ", ("eq",)), ("EQ, gains and pan", KEPT)])
@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (44100, 2), (48000, 1), (48000, 2)])
def test_the_factory_presets_are_within_their_figure(
    real_voices: list[Voice], sox: str, rate: int, channels: int, part: str, kept: tuple[str, ...]
) -> None:
    errors = {}
    for key, preset in factory_presets().items():
        strip = Strip(without_rest(preset, kept), rate, channels)
        audio = within_full_scale(strip, take(real_voices[1], rate, channels))
        errors[key] = error_db(run_sox(strip, audio), in_float64(strip, audio))
    assert max(errors.values()) <= FIGURES[part] <= -100.0, errors


@pytest.mark.parametrize("seed", range(12))
def test_every_corner_of_the_eq_and_the_pan_carries_over(
    real_voices: list[Voice], sox: str, seed: int
) -> None:
    rate, channels = (16000, 44100, 48000, 96000)[seed % 4], 1 + seed % 2
    strip = Strip(random_preset(seed), rate, channels)
    audio = within_full_scale(strip, take(real_voices[seed % 5], rate, channels, 1.5))
    # Soft results too: the grid of a 32-bit file would be what is measured.
    output = run_sox(strip, audio, bits=64)
    assert output.shape == (2, audio.shape[1])
    assert error_db(output, in_float64(strip, audio)) < -100.0


def test_a_full_scale_square_wave_does_not_clip_between_the_effects(sox: str) -> None:
    # Each bell overshoots far above full scale; what comes out of the chain is well below it.
    bell = {"freq_hz": 900.0, "gain_db": 15.0, "q": 8.0}
    cut = {"freq_hz": 900.0, "gain_db": -15.0, "q": 8.0}
    eq = {"peak_1": bell, "peak_2": {**bell, "q": 3.0}, "peak_3": cut, "peak_4": cut}
    for name, low in (("peak_1", 60.0), ("peak_4", 2000.0)):
        eq[name] = {**eq[name], "freq_hz": max(eq[name]["freq_hz"], low)}
    strip = Strip(Preset({"eq": eq, "output_gain": {"gain_db": -24.0}}), 44100)
    period = 49  # 900 Hz at 44.1 kHz
    square = np.where(np.arange(44100) % period < period // 2, 1.0, -1.0)[None].astype(np.float32)
    expected = in_float64(strip, square)
    assert np.abs(expected).max() < 1.0
    assert error_db(run_sox(strip, square), expected) < -100.0


def test_a_mono_file_stays_mono_and_what_is_off_does_nothing(
    real_voices: list[Voice], sox: str
) -> None:
    bands = {"peak_1": {"gain_db": 12.0, "enabled": False}}
    off = Preset({"eq": bands, "pan": {"position": 0.7, "enabled": False}, "input_gain": {}})
    audio = take(real_voices[0], 48000, 1, 1.0)
    output = run_sox(Strip(off), audio)
    assert output.shape == audio.shape
    # SoX's own grid for 32-bit float files: 24 bits of full scale.
    assert np.abs(output - audio).max() <= 2.0**-23


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_breaks_out_of_the_command(
    real_voices: list[Voice], sox: str, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "a b" / 'it\'s `$HOME` "quoted"'
    folder.mkdir(parents=True)
    preset = hostile(Preset({"eq": {"peak_2": {"gain_db": 6.0}}}), name)
    strip = Strip(preset, 44100)
    audio = take(real_voices[0], 44100, 1, 0.3)
    assert error_db(run_sox(strip, audio, folder), in_float64(strip, audio)) < -90.0
    no_file_escaped(folder)
    back, _ = import_preset(folder / "strip.sh")
    assert back.name == strip.title


def test_a_name_that_ends_with_a_backslash_does_not_join_lines(sox: str) -> None:
    strip = Strip(Preset({}, "ends with \\"))
    silence = np.zeros((1, 100), np.float32)
    assert run_sox(strip, silence).shape == (1, 100)


def test_the_command_does_not_replace_a_file_nor_run_one(sox: str, tmp_path: Path) -> None:
    (tmp_path / "s.sh").write_bytes(SOX.write(Strip(Preset({})))[""])
    (tmp_path / "there.wav").write_bytes(b"mine")
    for arguments in (("x.wav", "there.wav"), ("|touch broken-out", "new.wav"), ("x.wav",)):
        done = subprocess.run(["sh", "s.sh", *arguments], cwd=tmp_path, capture_output=True)
        assert done.returncode != 0
    assert (tmp_path / "there.wav").read_bytes() == b"mine"
    assert not (tmp_path / "broken-out").exists()
    soundfile.write(tmp_path / "x.wav", np.full((100, 1), 0.5), 48000, subtype="FLOAT")
    command = ["sh", "s.sh", "x.wav", "there.wav"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (
        refused.returncode == 1 and "there.wav is there already; -y replaces it" in refused.stderr
    )
    subprocess.run([*command, "-y"], cwd=tmp_path, check=True)
    assert soundfile.read(tmp_path / "there.wav")[0] == pytest.approx(0.5)


@pytest.mark.parametrize(("made_for", "given"), [(1, 2), (2, 1), (2, 6)])
def test_a_pan_for_other_channels_is_refused(
    sox: str, tmp_path: Path, made_for: int, given: int
) -> None:
    strip = Strip(Preset({"pan": {"position": 0.5}}), channels=made_for)
    (tmp_path / "s.sh").write_bytes(SOX.write(strip)[""])
    soundfile.write(tmp_path / "x.wav", np.zeros((100, given)), 48000)
    done = subprocess.run(
        ["sh", "s.sh", "x.wav", "y.wav"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and not (tmp_path / "y.wav").exists()
    assert f"has {given} channels" in done.stderr and len(done.stderr.splitlines()) == 1
    assert f"--channels {3 - made_for}" in done.stderr


@pytest.mark.parametrize("seed", range(20))
def test_it_reads_back_what_it_wrote(tmp_path: Path, seed: int) -> None:
    written = random_preset(seed)
    path = tmp_path / "strip.sh"
    path.write_bytes(SOX.write(Strip(written, 96000, 1 + seed % 2))[""])
    back, key = import_preset(path)
    assert key == "sox"
    same(written, back, tuple(entry.key for entry in SOX.mapped))
    assert back.bypass() == written.bypass()


@pytest.mark.parametrize("band", ["peak_1", "peak_4"])
def test_a_lone_bell_comes_back_as_the_one_it_was(tmp_path: Path, band: str) -> None:
    # The effects do not say which of the four bells they are.
    path = tmp_path / "strip.sh"
    path.write_bytes(SOX.write(Strip(Preset({"eq": {band: {"gain_db": 3.0}}})))[""])
    assert f"eq.{band}" not in import_preset(path)[0].bypass()


@pytest.mark.parametrize("position", [-1.0, -0.999, -1e-4, 0.3, 1.0])
def test_the_pan_comes_back(tmp_path: Path, position: float) -> None:
    path = tmp_path / "strip.sh"
    path.write_bytes(SOX.write(Strip(Preset({"pan": {"position": position}})))[""])
    back = import_preset(path)[0].settings()["pan.position"]
    assert back == pytest.approx(position, abs=1e-6)


@pytest.mark.parametrize("gains", [(3.0, -5.0), (48.0, 24.0), (-48.0, -48.0), (40.0, 0.0)])
def test_the_sum_of_the_gains_comes_back(tmp_path: Path, gains: tuple[float, float]) -> None:
    before, after = gains
    preset = Preset({"input_gain": {"gain_db": before}, "output_gain": {"gain_db": after}})
    path = tmp_path / "strip.sh"
    path.write_bytes(SOX.write(Strip(preset))[""])
    back = import_preset(path)[0].settings()
    total = back["input_gain.gain_db"] + back["output_gain.gain_db"]
    assert total == pytest.approx(before + after, abs=1e-6)


def test_an_edited_number_comes_back_and_a_broken_file_is_refused(tmp_path: Path) -> None:
    text = SOX.write(Strip(Preset({"eq": {"peak_3": {"gain_db": 2.0}}})))[""].decode()
    path = tmp_path / "strip.sh"
    path.write_text(text.replace("equalizer 3000 1q 2", "equalizer 2500 1q 2"))
    assert import_preset(path)[0].settings()["eq.peak_3.freq_hz"] == 2500.0
    for broken in ("", "#!/bin/sh\necho\n", text.replace("equalizer", "bass"), text + "  reverb\n",
                   text.replace("1q", "wide"), text.replace("peak_3", "peak_9"),
                   text.replace("1q 2", "1q 99")):  # fmt: skip
        path.write_text(broken)
        with pytest.raises(ExportError, match=r"strip\.sh"):
            import_preset(path)
    last = text.rstrip().splitlines()[-1]
    for broken, words in (("  gain", "'gain' with 0 numbers instead of 1; give them all"),
                         ("  gain loud", "'gain loud' holds a word that is no number"),
                         ("  remix 1v-2 1v1", "left volume of 'remix' is -2; give 0 to"),
                         ("  remix 1v1", "'remix' with 1 numbers instead of 2")):  # fmt: skip
        path.write_text(text.replace(last, broken))
        with pytest.raises(ExportError, match=rf"strip\.sh: .*{words}"):
            import_preset(path)
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ExportError, match="1 MB"):
        import_preset(path)


def test_what_does_not_carry_over_is_said() -> None:
    preset = factory_presets()["dream_wash"]
    words = " ".join(SOX.losses(Strip(preset)))
    assert "delay" in words and "reverb" in words and "full scale" in words
    assert "compressor" not in words
    assert "reverb" not in " ".join(SOX.losses(Strip(without_rest(preset))))
    panned = Preset({"pan": {"position": 0.5}})
    assert "stereo files alone" in " ".join(SOX.losses(Strip(panned, channels=2)))
    assert {entry.key for entry in SOX.mapped} | {*SOX.lost} <= {*BY_KEY, *MODULES}
