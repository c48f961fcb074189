"""Recordings above the threshold: in blocks, with the results of the whole, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile

from diffconsole.audio import blocks as audio_blocks
from diffconsole.audio import loudness_lufs, read_audio
from diffconsole.audio.blocks import ArraySource, FileSource, open_source, rechunk
from diffconsole.audio.loudness import LoudnessMeter, gated_loudness_lufs
from diffconsole.console.render import render
from diffconsole.errors import AudioError
from diffconsole.jobs import long_takes
from diffconsole.model.predictor import level_gain_db
from diffconsole.strip.preset import Preset

from ..commands import (
    QUIETER,
    STRIP,
    contents,
    done,
    refused,
    samples_of,
    write_model,
    write_preset,
)
from ..synthetic import RATE, voice

SECONDS = 30.0


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recording() -> np.ndarray:
    """Phrases between pauses, the second half 9 dB louder, stereo."""
    one = voice(5.0)
    mono = np.concatenate([np.pad(one, (0, RATE)) for _ in range(5)])[: int(SECONDS * RATE)]
    mono = mono * np.where(np.arange(len(mono)) < len(mono) // 2, 0.35, 1.0)
    return np.stack((mono, 0.9 * np.roll(mono, 11))).astype(np.float32)


@pytest.fixture
def take(tmp_path: Path, recording: np.ndarray) -> Path:
    path = tmp_path / "take.wav"
    soundfile.write(path, recording.T, RATE, subtype="FLOAT")
    return path


@pytest.fixture
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_blocks, "LONG_BYTES", 1 << 16)
    monkeypatch.setattr(audio_blocks, "READ_SAMPLES", 50_000)
    monkeypatch.setattr("diffconsole.console.streams.BLOCK_SAMPLES", 1 << 16)
    monkeypatch.setattr(long_takes, "PAGE_SECONDS", 6.0)
    monkeypatch.setattr(long_takes, "PASSAGE_SECONDS", 4.0)


def error_db(ours: np.ndarray, whole: np.ndarray) -> float:
    error = np.mean((ours.astype(np.float64) - whole) ** 2)
    return float(10.0 * np.log10(error / np.mean(whole.astype(np.float64) ** 2) + 1e-30))


# levels


@pytest.mark.parametrize("rate", [16000, 22050, 37123, 44100, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_in_blocks_is_that_of_the_whole(rate, channels):
    rng = np.random.default_rng(rate)
    samples = rng.standard_normal((channels, 5 * rate + 17))
    samples *= np.repeat(10.0 ** rng.uniform(-4.0, 0.0, (1, 50)), rate // 9, axis=1)[
        :, : samples.shape[1]
    ]
    expected = pyloudnorm.Meter(rate, block_size=0.4).integrated_loudness(samples.T)
    meter = LoudnessMeter(rate, channels, samples.shape[1])
    for block in rechunk([samples], 7777):
        meter.add(block)
    assert gated_loudness_lufs(meter.mean_squares()) == pytest.approx(expected, abs=1e-6)


def test_a_long_array_is_measured_in_blocks(monkeypatch):
    samples = 0.1 * np.random.default_rng(0).standard_normal((2, 1_100_000)).astype(np.float32)
    expected = pyloudnorm.Meter(48000, block_size=0.4).integrated_loudness(samples.T)
    monkeypatch.setattr(pyloudnorm.Meter, "integrated_loudness", None)
    assert loudness_lufs(samples, 48000) == pytest.approx(expected, abs=1e-6)
    assert loudness_lufs(0.0 * samples, 48000) == -np.inf


def test_one_damaged_sample_does_not_decide_the_level(recording):
    clean = long_takes.survey(ArraySource(recording, RATE))
    damaged = recording.copy()
    damaged[0, 100_000] = 17_000.0
    found = long_takes.survey(ArraySource(damaged, RATE))
    assert found.loudness_lufs == pytest.approx(clean.loudness_lufs, abs=0.1)
    assert clean.loudness_lufs == pytest.approx(loudness_lufs(recording, RATE), abs=1e-6)


def test_passages_have_the_loudness_of_the_whole(monkeypatch, recording):
    """So the input gain acts on the recording as it lies, whichever passages were chosen."""
    monkeypatch.setattr(long_takes, "PASSAGE_SECONDS", 3.0)
    monkeypatch.setattr(long_takes, "MOST_PASSAGES", 3)
    # DC hides no pause, and long silence takes no place.
    wide = np.concatenate((np.zeros_like(recording), recording + 0.05), axis=1)
    for samples in (recording, wide.astype(np.float32)):
        source = ArraySource(samples, RATE)
        heard, _ = long_takes.passages(source, long_takes.survey(source))
        assert heard.shape == (2, 9 * RATE)
        assert level_gain_db(heard, RATE)[0] == pytest.approx(
            level_gain_db(samples, RATE)[0], abs=0.05
        )
        parts = heard.reshape(2, 3, -1)
        assert (parts.std(axis=(0, 2)) > 0.01).all()


def test_what_lies_beside_the_voice_is_named_wherever_it_is(monkeypatch, recording):
    monkeypatch.setattr(long_takes, "PASSAGE_SECONDS", 2.0)
    monkeypatch.setattr(long_takes, "MOST_PASSAGES", 1)
    for at in (10, RATE * 4, recording.shape[1] - 10):
        damaged = recording + np.float32(0.05)
        damaged[:, at] = 17_000.0
        source = ArraySource(damaged, RATE)
        heard, messages = long_takes.passages(source, long_takes.survey(source))
        assert [line.split(" (")[0] for line in messages] == [
            f"sample {at}", "the file has a DC offset of 0.05; the settings ignore it",
        ]  # fmt: skip
        assert np.abs(heard.mean()) < 1e-3
    source = ArraySource(recording, RATE)
    assert long_takes.passages(source, long_takes.survey(source))[1] == ()


# sources


@pytest.mark.parametrize("name, subtype", [("a.wav", "PCM_16"), ("a.flac", "PCM_24")])
def test_a_file_in_parts_is_the_file(tmp_path, monkeypatch, recording, name, subtype):
    path = tmp_path / name
    soundfile.write(path, recording.T, RATE, subtype=subtype)
    whole = open_source(path)
    assert isinstance(whole, ArraySource)
    monkeypatch.setattr(audio_blocks, "LONG_BYTES", 1 << 16)
    monkeypatch.setattr(audio_blocks, "READ_SAMPLES", 12_345)
    source = open_source(path)
    assert isinstance(source, FileSource)
    assert np.array_equal(np.concatenate(list(source.blocks()), axis=1), whole.samples)
    assert np.array_equal(source.part(7, 99), whole.samples[:, 7:99])


def test_lossy_files_are_read_whole(tmp_path, everything_is_long, recording):
    soundfile.write(tmp_path / "a.ogg", recording.T, RATE, format="OGG", subtype="VORBIS")
    assert isinstance(open_source(tmp_path / "a.ogg"), ArraySource)


@pytest.mark.parametrize("kind, subtype", [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)])
def test_lossy_files_decode_in_blocks_as_in_one_call(
    tmp_path, monkeypatch, recording, kind, subtype
):
    path = tmp_path / "a.file"
    soundfile.write(path, recording.T, 24000, format=kind, subtype=subtype)
    whole, _ = soundfile.read(path, dtype="float32", always_2d=True)
    monkeypatch.setattr("diffconsole.audio.read._BLOCK_SAMPLES", 3001)
    samples, _ = read_audio(path)
    # The MP3 decoder rounds by where its buffer lies in memory; a seek would lose whole frames.
    assert samples.shape == whole.T.shape and samples.flags.c_contiguous
    assert np.abs(samples - whole.T).max() < 1e-6


def test_an_audition_page_of_a_long_recording_holds_an_excerpt(tmp_path, take, everything_is_long):
    page = tmp_path / "page.html"
    result = done("audition", take, "lead_vocal_pop", "-o", page)
    assert "take.wav: the page holds 0:06 from 0:" in result.stderr
    whole = soundfile.info(take).frames * 2 * 3
    assert page.stat().st_size < whole


def test_a_damaged_sample_far_in_is_named(take, tmp_path, everything_is_long, recording):
    recording = recording.copy()
    recording[1, 400_001] = np.nan
    soundfile.write(take, recording.T, RATE, subtype="FLOAT")
    before = contents(tmp_path)
    line = refused("apply", take, "lead_vocal_pop", "-o", tmp_path / "out.wav")
    assert "sample index 400001" in line and "channel 2 of 2) is NaN" in line
    assert contents(tmp_path) == before


def test_a_truncated_file_is_named(take, tmp_path, everything_is_long):
    source = open_source(take)
    take.write_bytes(take.read_bytes()[:100_000])
    with pytest.raises(AudioError, match=r"take\.wav: is truncated"):
        list(source.blocks())


# commands


@pytest.mark.parametrize("options", [(), ("--bit-depth", "24"), ("--tail", "0")])
def test_apply_in_blocks_is_apply_whole(tmp_path, take, monkeypatch, options):
    preset = write_preset(tmp_path / "strip.json", STRIP)
    done("apply", take, preset, "-o", tmp_path / "whole.wav", *options, "--normalize")
    monkeypatch.setattr(audio_blocks, "LONG_BYTES", 1 << 16)
    monkeypatch.setattr("diffconsole.console.streams.BLOCK_SAMPLES", 1 << 16)
    out = done("apply", take, preset, "-o", tmp_path / "parts.wav", *options, "--normalize")
    whole, parts = (samples_of(tmp_path / f"{name}.wav") for name in ("whole", "parts"))
    assert parts.shape == whole.shape
    assert f"{whole.shape[1] / RATE:.2f} s, stereo" in out.stderr
    # 24 bits with the same dither: now and then a code changes by one.
    assert error_db(parts, whole) < (-120.0 if options[:1] != ("--bit-depth",) else -110.0)


def test_nothing_on_is_the_recording_bit_by_bit(tmp_path, take, everything_is_long):
    preset = write_preset(tmp_path / "strip.json", QUIETER)
    off = "input_gain,eq,compressor,pan,reverb,output_gain"
    done("apply", take, preset, "-o", tmp_path / "out.wav", "--bypass", off)
    assert np.array_equal(samples_of(tmp_path / "out.wav"), samples_of(take))


def test_integers_that_would_clip_are_refused(tmp_path, take, everything_is_long):
    preset = write_preset(tmp_path / "strip.json", {"output_gain": {"gain_db": 24.0}})
    out = tmp_path / "out.wav"
    assert "would clip by" in refused("apply", take, preset, "-o", out, "--bit-depth", "16")
    assert not out.exists()
    done("apply", take, preset, "-o", out, "--bit-depth", "16", "--normalize")
    assert np.abs(samples_of(out)).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)


def test_process_writes_what_apply_makes_and_a_page_of_an_excerpt(
    tmp_path, take, model, everything_is_long
):
    out = tmp_path / "out"
    result = done("process", take, "-o", out, "--model", model)
    assert set(contents(out)) == {
        f"take{end}" for end in (".preset.json", ".processed.wav", ".png", ".html")
    }
    assert "take.html: holds 0:06 from 0:" in result.stderr and "of 0:30" in result.stderr
    done("apply", take, out / "take.preset.json", "-o", tmp_path / "again.wav")
    assert (tmp_path / "again.wav").read_bytes() == (out / "take.processed.wav").read_bytes()
    done("predict", take, "-o", tmp_path / "p.json", "--model", model)
    strips = [json.loads(p.read_text()) for p in (tmp_path / "p.json", out / "take.preset.json")]
    strips = [{k: v for k, v in strip.items() if k != "provenance"} for strip in strips]
    assert strips[0] == strips[1]
    data = json.loads(
        (out / "take.html")
        .read_text()
        .split('type="application/json"', 1)[1]
        .split(">", 1)[1]
        .split("</script>", 1)[0]
    )
    assert data["vocals"][0]["samples"] == 6 * RATE


def test_settings_of_parts_are_near_those_of_the_whole(tmp_path, take, model, monkeypatch):
    # The simplest strips of two that are nearly the same need not be.
    done("predict", take, "-o", tmp_path / "whole.json", "--model", model, "--full")
    monkeypatch.setattr(audio_blocks, "LONG_BYTES", 1 << 16)
    done("predict", take, "-o", tmp_path / "parts.json", "--model", model, "--full")
    gains = [
        Preset.read(tmp_path / f"{name}.json").settings()["input_gain.gain_db"]
        for name in ("whole", "parts")
    ]
    assert gains[1] == pytest.approx(gains[0], abs=0.1)


def test_the_picture_is_that_of_the_whole(recording, tmp_path, everything_is_long):
    from diffconsole.jobs.process import AudioOptions
    from diffconsole.plots import StripView
    from diffconsole.plots.signals import measure
    from diffconsole.plots.streamed import StreamedMeasure

    preset = Preset.read(write_preset(tmp_path / "strip.json", STRIP))
    result = render(recording, RATE, preset).samples
    view = StripView("x", preset.settings(), preset.bypass())
    whole = measure([view], recording, RATE, result)
    source = ArraySource(recording, RATE)
    parts = StreamedMeasure(recording.shape[1], result.shape[1], RATE)
    long_takes.write_rendered(source, preset, tmp_path / "out.wav", AudioOptions(), measure=parts)
    found = parts.result()
    assert found.block_seconds == whole.block_seconds
    for ours, theirs in (
        (found.raw_level, whole.raw_level),
        (found.processed_levels[0], whole.processed_levels[0]),
        (found.raw_spectrum, whole.raw_spectrum),
        (found.processed_spectra[0], whole.processed_spectra[0]),
    ):
        assert ours == pytest.approx(theirs, abs=1e-3)
    np.testing.assert_allclose(found.gain_reductions[0], whole.gain_reductions[0], atol=1e-3)
    assert np.nanmin(found.gain_reductions[0]) < -1.0


CHILD = """
import sys
from pathlib import Path
import diffconsole.audio.blocks as audio_blocks
import diffconsole.console.streams as streaming
from diffconsole.strip.preset import find_preset
from diffconsole.jobs.process import AudioOptions, apply_file

def peak_megabytes(take, out, long_bytes):
    audio_blocks.LONG_BYTES = long_bytes
    apply_file(Path(take), find_preset(Path("lead_vocal_pop")), Path(out), AudioOptions(force=True))
    # Not ru_maxrss, which begins with what the parent process held.
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return int(status["VmHWM"].split()[0]) / 1024.0

streaming.BLOCK_SAMPLES = 1 << 17
short, long, out = sys.argv[1:]
start = peak_megabytes(short, out, 1 << 16)
parts = peak_megabytes(long, out, 1 << 16)
whole = peak_megabytes(long, out, 1 << 40)
print(parts - start, whole - start)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read it from")
def test_memory_does_not_grow_with_the_recording(tmp_path):
    rate, names = 16000, []
    for seconds in (20, 360):
        noise = np.random.default_rng(0).standard_normal(rate * seconds).astype(np.float32)
        names.append(tmp_path / f"{seconds}.wav")
        soundfile.write(names[-1], 0.1 * np.stack((noise, noise), axis=1), rate, subtype="FLOAT")
    arguments = [sys.executable, "-c", CHILD, *map(str, names), str(tmp_path / "out.wav")]
    result = subprocess.run(arguments, capture_output=True, text=True, check=True)
    parts, whole = map(float, result.stdout.split())
    assert parts < 30.0  # the file is 46 MB
    assert whole > 100.0  # what is measured grows where it should
