"""The whole strip in ffmpeg, by the script that is exported: against float64, and read back."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from diffconsole import Preset
from diffconsole.console.render import render_plan
from diffconsole.errors import ExportError
from diffconsole.export import Strip, export_preset, find_format, import_preset
from diffconsole.export.ffmpeg_graph import COMPRESSORS, graph, parse
from diffconsole.strip.parameters import BY_KEY, DEFAULT_PARAMETERS, MODULES, PARAMETERS
from diffconsole.strip.preset import factory_presets
from tests.reference import error_db
from tests.strategies import presets

from .consumers_ffmpeg import bundled_ffmpeg, run_ffmpeg, system_ffmpeg
from .helpers import HOSTILE_NAMES, Voice, hostile, in_float64, needs, no_file_escaped, same, take

FFMPEG = find_format("ffmpeg")
FIGURES = {figure.part: figure.error_db for figure in FFMPEG.figures}
BAR = -120.0
SENDS = ("delay", "reverb")
SHAPES = [(44100, 1), (44100, 2), (48000, 1), (48000, 2)]
PARTS = {
    "EQ": ("eq",),
    "compressor": ("input_gain", "compressor"),
    "reverb's return": ("reverb",),
}


@pytest.fixture(params=[system_ffmpeg, bundled_ffmpeg], ids=["system", "bundled"])
def program(request: pytest.FixtureRequest) -> str:
    finder: Callable[[], str | None] = request.param
    return needs(finder, finder.__name__.replace("_", " "))


def tail(strip: Strip) -> int:
    """Samples that delay and reverb ring on."""
    if strip.on("delay"):
        return render_plan(strip.preset, strip.sample_rate, None)[1]
    return strip.impulse_response().shape[1] - 1 if strip.on("reverb") else 0


def error(strip: Strip, audio: np.ndarray, program: str) -> float:
    """Of what ffmpeg makes of it; also asserts the number of channels and samples."""
    output, expected = run_ffmpeg(strip, audio, program), in_float64(strip, audio, tail=tail(strip))
    assert output.shape == expected.shape
    return error_db(output, expected)


def random_preset(seed: int, sections: tuple[str, ...] = (), **fixed: float) -> Preset:
    """Anything in the ranges, their ends often."""
    random = np.random.default_rng(seed)
    drawn = {
        p.key: float(p.to_physical(random.choice([0.0, 1.0, random.random()], p=[0.1, 0.1, 0.8])))
        for p in PARAMETERS
        if (p in DEFAULT_PARAMETERS if not sections else p.module in sections)
    }
    return Preset.from_settings({**drawn, **fixed})


@pytest.mark.parametrize(("key", "shape"), list(zip(factory_presets(), SHAPES * 4, strict=False)))
def test_a_factory_preset_is_the_same_strip_in_ffmpeg(
    real_voices: list[Voice], program: str, key: str, shape: tuple[int, int]
) -> None:
    strip = Strip(factory_presets()[key], *shape)
    audio = take(real_voices[1], *shape, seconds=1.5)
    assert error(strip, audio, program) <= FIGURES["whole chain"] <= BAR


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_every_factory_preset_is_within_the_figure(
    real_voices: list[Voice], program: str, shape: tuple[int, int]
) -> None:
    audio = take(real_voices[1], *shape)
    errors = {
        key: error(Strip(preset, *shape), audio, program)
        for key, preset in factory_presets().items()
    }
    assert max(errors.values()) <= FIGURES["whole chain"], errors


@pytest.mark.slow
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[-1]])
@pytest.mark.parametrize("part", PARTS)
def test_every_part_alone_is_within_its_figure(
    real_voices: list[Voice], program: str, part: str, shape: tuple[int, int]
) -> None:
    audio = take(real_voices[1], *shape)
    errors = {}
    for key, preset in factory_presets().items():
        strip = Strip(preset.without([m for m in MODULES if m not in PARTS[part]]), *shape)
        if strip.on(PARTS[part][-1]):
            more = tail(strip)
            expected = in_float64(strip, audio, tail=more)
            # The dry voice would hide what is wrong with the return.
            dry = np.pad(audio, ((0, 0), (0, more))) if strip.on("reverb") else 0.0
            errors[key] = error_db(run_ffmpeg(strip, audio, program) - dry, expected - dry)
    assert errors
    assert max(errors.values()) <= FIGURES[part] <= BAR, errors


@pytest.mark.parametrize("seed", range(20))
def test_every_corner_of_eq_and_compressor_is_the_same(
    real_voices: list[Voice], program: str, seed: int
) -> None:
    rate, channels = (16000, 44100, 48000, 96000)[seed % 4], 1 + seed % 2
    # Knees that acompressor does not reach, and its last one, more often than they would come.
    knee = {0: 24.0, 3: 18.07, 6: 18.06, 9: 21.0}.get(seed)
    fixed = {} if knee is None else {"compressor.knee_db": knee}
    # Two of three without dry signal, which acompressor does; aeval does the rest.
    fixed |= {"compressor.mix": 100.0} if seed % 3 != 1 else {}
    sections = ("input_gain", "eq", "compressor", "pan", "output_gain")
    strip = Strip(random_preset(seed, sections, **fixed), rate, channels)
    audio = take(real_voices[seed % 5], rate, channels, 1.0)
    assert error(strip, audio, program) <= BAR


@pytest.mark.parametrize("knee_db", [17.9, 24.0])
def test_both_forms_of_the_compressor_hold_what_the_detector_knows_over_many_frames(
    program: str, knee_db: float
) -> None:
    # Steps between silence and full scale, one every second: each is many of ffmpeg's frames.
    compressor = {"threshold_db": -40.0, "ratio": 20.0, "attack_ms": 150.0, "release_ms": 2000.0}
    strip = Strip(Preset({"compressor": {**compressor, "knee_db": knee_db}}), 16000, 2)
    steps = np.repeat([0.0, 1.0, 0.001, 0.3], 16000)
    audio = np.stack((steps, -0.5 * steps[::-1])).astype(np.float32)
    assert error(strip, audio, program) <= BAR


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "strip",
    [
        {"gate": {"threshold_db": -20.0, "hold_ms": 3.21, "release_ms": 30.0}},
        {"gate": {"threshold_db": -25.0, "ratio": 20.0, "range_db": 60.0, "hold_ms": 0.0}},
        {"deesser": {"threshold_db": -30.0, "range_db": 24.0, "freq_hz": 3000.0}},
        {"gate": {"threshold_db": -30.0}, "compressor": {}, "deesser": {"threshold_db": -20.0}},
        {"saturation": {"drive_db": 20.0, "bias": -0.6, "mix": 70.0}},
    ],
    ids=["gate", "gate without hold", "deesser", "both", "saturation"],
)
def test_gate_deesser_and_saturation(
    real_voices: list[Voice], program: str, shape: tuple[int, int], strip: dict[str, Any]
) -> None:
    audio = take(real_voices[0], *shape, seconds=1.0)
    audio = 0.5 * audio / np.abs(audio).max()
    on = Strip(Preset(strip), *shape)
    assert error(on, audio, program) <= BAR
    off = Strip(on.preset.without({"gate", "deesser", "saturation"}), *shape)
    assert error_db(in_float64(on, audio), in_float64(off, audio)) > -50.0, "they act"


@pytest.mark.parametrize("shape", [(44100, 1), (48000, 2)], ids=["mono", "stereo"])
@pytest.mark.parametrize("sent_db", [None, -60.0, -3.0], ids=["alone", "beside", "into"])
def test_delay(
    real_voices: list[Voice], program: str, shape: tuple[int, int], sent_db: float | None
) -> None:
    """One response holds delay and reverb, and what the one sends into the other."""
    own = {"time_ms": 61.234, "feedback": 0.7, "width": 0.6, "wet_db": -8.0}
    strip: dict[str, Any] = {"delay": own, "pan": {"position": -0.3}, "output_gain": {}}
    if sent_db is not None:
        own["reverb_send_db"] = sent_db
        strip["reverb"] = {"decay_s": 0.2, "wet_db": -10.0}
    audio = take(real_voices[0], *shape, seconds=0.7)
    on = Strip(Preset(strip), *shape)
    assert error(on, audio, program) <= BAR
    off = Strip(on.preset.without({"delay"}), *shape)
    assert error_db(in_float64(off, audio), in_float64(on, audio)) > -30.0, "it acts"


def test_delay_and_reverb_come_back_from_the_command(tmp_path: Path) -> None:
    own = {"time_ms": 333.25, "feedback": 0.9, "wet_db": -9.0, "reverb_send_db": -12.0}
    for strip in ({"delay": own}, {"delay": own, "reverb": {"decay_s": 0.3, "wet_db": -21.0}}):
        preset = Preset(strip, "echoes")
        folder = tmp_path / str(len(strip))
        export_preset(preset, "ffmpeg", folder, sample_rate=44100)
        assert (folder / "sends.wav").is_file() and not (folder / "reverb.wav").exists()
        back, _ = import_preset(folder, "ffmpeg")
        same(preset, back, tuple(key for key in BY_KEY if Strip(preset).on(BY_KEY[key].section)))
        assert Strip(back).off == Strip(preset).off
        (folder / "run.sh").unlink()
        with pytest.raises(ExportError, match=r"has a delay, .*put that run\.sh beside it"):
            import_preset(folder, "ffmpeg")


def test_echoes_beyond_what_the_response_holds_are_said() -> None:
    longest = Preset({"delay": {"time_ms": 1500.0, "feedback": 0.9}})
    assert "delay: the response holds its first 60 s" in FFMPEG.losses(Strip(longest, 16000))
    assert not [n for n in FFMPEG.losses(Strip(Preset({"delay": {}}), 16000)) if "delay" in n]


@pytest.mark.slow
def test_the_longest_reverb_with_everything_at_its_end(
    real_voices: list[Voice], program: str
) -> None:
    preset = random_preset(
        3, **{"reverb.decay_s": 8.0, "reverb.low_ratio": 4.0, "reverb.pre_delay_ms": 120.0},
        **{"reverb.wet_db": 6.0},
    )  # fmt: skip
    strip = Strip(preset, 16000, 2)
    assert tail(strip) > 32 * 16000
    assert error(strip, take(real_voices[2], 16000, 2, 1.0), program) <= BAR


@pytest.mark.parametrize("width", [0.0, 1.0])
def test_one_text_serves_mono_and_stereo(
    real_voices: list[Voice], program: str, width: float
) -> None:
    reverb = {"decay_s": 0.1, "pre_delay_ms": 0.0, "wet_db": 0.0, "width": width}
    preset = Preset({"reverb": reverb, "pan": {"position": -0.4}, "compressor": {"knee_db": 20.0}})
    mono, stereo = Strip(preset, 44100, 1), Strip(preset, 44100, 2)
    assert FFMPEG.write(mono) == FFMPEG.write(stereo)
    for strip in (mono, stereo):
        assert error(strip, take(real_voices[0], 44100, strip.channels, 0.5), program) <= BAR


def test_what_is_off_leaves_the_audio_bit_identical(real_voices: list[Voice], program: str) -> None:
    strip = {module: {"enabled": False} for module in MODULES}
    strip["pan"] = {"position": 0.8, "enabled": False}
    for preset in (Preset(strip), Preset({}), Preset({"input_gain": {}, "pan": {}})):
        for channels in (1, 2):
            audio = take(real_voices[0], 44100, channels, 0.3)
            output = run_ffmpeg(Strip(preset, 48000 if channels == 1 else 44100), audio, program)
            assert np.array_equal(output, audio.astype(np.float64))


def test_the_file_is_float32_and_another_rate_is_resampled_only_where_it_matters(
    program: str, tmp_path: Path
) -> None:
    time_s = np.arange(44100) / 44100
    soundfile.write(tmp_path / "in.wav", 0.1 * np.sin(2000 * np.pi * time_s), 44100)
    for name, preset, rate in (
        ("compressed", Preset({"compressor": {}}), 48000),
        ("equalised", Preset({"eq": {"peak_1": {"gain_db": 3.0}}}), 44100),
        ("clamped", Preset({"eq": {"low_pass": {"freq_hz": 20000.0}}}), 32000),
    ):
        written_for = 32000 if name == "clamped" else 48000
        export_preset(preset, "ffmpeg", tmp_path / name, sample_rate=written_for)
        run = subprocess.run(
            ["sh", f"{name}/run.sh", "in.wav", f"{name}.wav"],
            cwd=tmp_path, env={**os.environ, "FFMPEG": program}, capture_output=True, text=True,
        )  # fmt: skip
        assert run.returncode == 0 and run.stderr == ""
        info = soundfile.info(tmp_path / f"{name}.wav")
        assert (info.samplerate, info.channels, info.subtype) == (rate, 1, "FLOAT")
        assert info.duration == pytest.approx(1.0, abs=0.001)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_breaks_out_of_the_command(
    real_voices: list[Voice], tmp_path: Path, name: str
) -> None:
    program = needs(bundled_ffmpeg() or system_ffmpeg(), "ffmpeg")
    folder = tmp_path / "a b" / 'it\'s `$HOME` "quoted": [in],'
    folder.mkdir(parents=True)
    reverb = {"decay_s": 0.1, "pre_delay_ms": 0.0}
    strip = Strip(hostile(Preset({"reverb": reverb}), name), 44100)
    audio = take(real_voices[0], 44100, 1, 0.2)
    output = run_ffmpeg(strip, audio, program, folder)
    assert error_db(output, in_float64(strip, audio, tail=tail(strip))) <= BAR
    no_file_escaped(folder)
    back, _ = import_preset(folder, "ffmpeg")
    assert back.name == strip.title


def test_a_name_neither_joins_lines_nor_stands_for_the_reverb(tmp_path: Path) -> None:
    told = "reverb.wav holds decay_s=8"
    for place, name in enumerate(("ends with \\", told)):
        folder = tmp_path / str(place)
        export_preset(Preset({"reverb": {"decay_s": 0.2}}, name), "ffmpeg", folder)
        done = subprocess.run(["sh", folder / "run.sh"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (2, "usage: sh run.sh IN.wav OUT.wav\n")
        back, _ = import_preset(folder, "ffmpeg")
        assert (back.name, back.settings()["reverb.decay_s"]) == (name, 0.2)


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    program = needs(bundled_ffmpeg() or system_ffmpeg(), "ffmpeg")
    export_preset(Preset({}), "ffmpeg", tmp_path / "strip")
    soundfile.write(tmp_path / "in.wav", np.zeros(100), 48000)
    (tmp_path / "out.wav").write_bytes(b"mine")
    command = ["sh", "strip/run.sh", "in.wav", "out.wav"]
    environment = {**os.environ, "FFMPEG": program}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode != 0
    assert (tmp_path / "out.wav").read_bytes() == b"mine"
    subprocess.run([*command, "-y"], cwd=tmp_path, env=environment, check=True)
    assert soundfile.info(tmp_path / "out.wav").frames == 100


@settings(max_examples=60, deadline=None)
@given(preset=presets(), rate=st.sampled_from((16000, 44100, 192000)))
def test_every_preset_can_be_written_and_says_the_same(preset: Preset, rate: int) -> None:
    # What stands in a response is no part of the text.
    strip = Strip(preset.without(["delay", "reverb"]), rate, 2)
    for key in ("ffmpeg", "sox"):
        assert all(find_format(key).write(strip).values())
    found, _ = parse(graph(strip))
    assert found.keys() == {
        p.key for p in PARAMETERS
        if strip.on(p.section)
        # A compressor without dry signal says nothing of a mix.
        and not (p.module in COMPRESSORS and p.name == "mix" and strip[p.key] == p.default)
    }  # fmt: skip
    for key, value in found.items():
        assert value == pytest.approx(strip[key], rel=1e-6, abs=1e-6), key


@pytest.mark.parametrize("rate", [16000, 48000, 192000])
@pytest.mark.parametrize("seed", range(10))
def test_it_reads_back_what_it_wrote(seed: int, rate: int) -> None:
    knee = {"compressor.knee_db": 24.0 - seed}
    written = random_preset(seed, tuple(m for m in MODULES if m not in SENDS), **knee)
    strip = Strip(written, rate)
    found, response = parse(graph(strip))
    assert not response
    # Frequencies come back as clamped at this rate.
    # What does nothing, as a gate without a range, is not written.
    keys = [p.key for p in PARAMETERS if strip.on(p.section) and p.module not in SENDS]
    same(Preset.from_settings(dict(strip.settings)), Preset.from_settings(found), tuple(keys))


def test_everything_comes_back_from_the_folder(tmp_path: Path) -> None:
    for key, preset in factory_presets().items():
        export_preset(preset, "ffmpeg", tmp_path / key, sample_rate=44100)
        back, _ = import_preset(tmp_path / key, "ffmpeg")
        on = [e.key for e in FFMPEG.mapped if Strip(preset).on(BY_KEY[e.key].section)]
        same(preset, back, tuple(on))
        assert Strip(back).off == Strip(preset).off
        assert back.name == preset.name
    assert {entry.key for entry in FFMPEG.mapped} == set(BY_KEY)


def test_the_graph_alone_comes_back_except_for_the_reverb(tmp_path: Path) -> None:
    export_preset(Preset({"output_gain": {"gain_db": 2.0}}), "ffmpeg", tmp_path / "dry")
    back, _ = import_preset(tmp_path / "dry" / "filter.txt", "ffmpeg")
    assert back.settings()["output_gain.gain_db"] == 2.0
    export_preset(Preset({"reverb": {"decay_s": 0.3}}), "ffmpeg", tmp_path / "wet")
    (tmp_path / "wet" / "run.sh").unlink()
    with pytest.raises(ExportError, match=r"filter\.txt: .*put that run\.sh beside it"):
        import_preset(tmp_path / "wet", "ffmpeg")


def test_edited_numbers_come_back_and_what_is_not_ours_is_refused(tmp_path: Path) -> None:
    preset = Preset({"eq": {"peak_1": {"gain_db": 2.0}}, "compressor": {"knee_db": 24.0}})
    export_preset(preset, "ffmpeg", tmp_path / "s")
    path = tmp_path / "s" / "filter.txt"
    text = path.read_text()
    path.write_text(text.replace("g=2:", "g=-1.5:").replace("24", "22"))
    back = import_preset(path, "ffmpeg")[0].settings()
    assert back["eq.peak_1.gain_db"] == -1.5 and back["compressor.knee_db"] == 22.0
    for broken in ("", "volume=3", text.replace("max(", "min("), text.replace("g=2", "g=x"),
                   text.replace("@peak_1", "@peak_7"), text.replace("g=2:", "g=99:"),
                   re.sub(r"f=\d+", "f=nan", text)):  # fmt: skip
        path.write_text(broken)
        with pytest.raises(ExportError, match=r"filter\.txt: "):
            import_preset(path, "ffmpeg")
    path.write_bytes(b"," * ((1 << 20) + 1))
    with pytest.raises(ExportError, match="1 MB"):
        import_preset(path, "ffmpeg")


@pytest.mark.parametrize(
    ("find", "put", "told"),
    [
        ("sample_rates=48000", "sample_rates=0", "sample_rates=0 is no rate"),
        ("sample_rates=48000", "sample_rates=" + "9" * 5000, "is no rate"),
        (r"attack=[\d.]+", "attack=0", "compressor:attack is '0', which no strip has"),
        (r"threshold=[\d.]+", "threshold=0", "compressor:threshold is '0', which no strip has"),
        (r"release=[\d.]+", "release=0.001", "release is '0.001', which no strip has"),
    ],
)
def test_numbers_that_cannot_be_are_told(find: str, put: str, told: str) -> None:
    text = re.sub(find, put, graph(Strip(Preset({"compressor": {}}), 48000)))
    with pytest.raises(ExportError, match=told):
        parse(text)


def test_the_rate_is_said() -> None:
    assert any("one sample rate" in line for line in FFMPEG.conditions)
    compressed = Strip(Preset({"compressor": {}}), 96000)
    assert "96000" in " ".join(FFMPEG.losses(compressed))
    assert b"sample_rates=96000" in FFMPEG.write(compressed)["filter.txt"]
    assert FFMPEG.losses(Strip(Preset({"eq": {"peak_1": {}}}))) == ()


def test_the_saturation_is_read_back_from_its_eight_branches() -> None:
    strip = Strip(Preset({"saturation": {"drive_db": 7.5, "bias": -0.25, "mix": 60.0}}))
    text = graph(strip)
    found, has_reverb = parse(text)
    assert not has_reverb
    assert found == {
        "saturation.drive_db": 7.5, "saturation.bias": -0.25, "saturation.mix": 60.0,
    }  # fmt: skip
    assert parse(text.replace("(7.5)", "(9)"))[0]["saturation.drive_db"] == 9.0
    with pytest.raises(ExportError, match="saturation_1 differs"):
        parse(text.replace("(7.5)", "(9)", 1))
