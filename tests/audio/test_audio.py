"""Audio in, its rate and its level: what is stored is what is read, nothing else is let in."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from diffconsole.audio import loudness_lufs, peak_dbfs, read_audio, resample, write_audio
from diffconsole.errors import AudioError

RATE = 48000


def _sine(rate: int, seconds: float, freq_hz: float = 997.0, peak: float = 0.5) -> np.ndarray:
    time_s = np.arange(int(rate * seconds)) / rate
    return (peak * np.sin(2 * np.pi * freq_hz * time_s)).astype(np.float32)


def _stereo(rate: int = RATE, seconds: float = 1.0) -> np.ndarray:
    """Two different sines, so that swapped channels show."""
    return np.stack([_sine(rate, seconds), _sine(rate, seconds, 440.0, 0.25)])


def _one_line(error: Exception, path: Path) -> str:
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# Reading: (format, subtype, largest error; None: lossy, measured as signal to error)

LOSSLESS = {
    "u8.wav": ("WAV", "PCM_U8", 2**-7),
    "16.wav": ("WAV", "PCM_16", 2**-15),
    "24.wav": ("WAV", "PCM_24", 2**-23),
    "32.wav": ("WAV", "PCM_32", 2**-24),
    "float.wav": ("WAV", "FLOAT", 0.0),
    "double.wav": ("WAV", "DOUBLE", 0.0),
    "wavex.wav": ("WAVEX", "PCM_24", 2**-23),
    "rf64.wav": ("RF64", "PCM_16", 2**-15),
    "w64.w64": ("W64", "PCM_16", 2**-15),
    "16.flac": ("FLAC", "PCM_16", 2**-15),
    "24.flac": ("FLAC", "PCM_24", 2**-23),
    "16.aiff": ("AIFF", "PCM_16", 2**-15),
    "24.aif": ("AIFF", "PCM_24", 2**-23),
    "float.aiff": ("AIFF", "FLOAT", 0.0),
    "24.caf": ("CAF", "PCM_24", 2**-23),
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats(tmp_path, name, channels):
    major, subtype, largest_error = LOSSLESS[name]
    signal = _stereo()[:channels]
    path = tmp_path / name
    sf.write(path, signal.T, RATE, format=major, subtype=subtype)
    samples, rate = read_audio(path)
    assert rate == RATE
    assert samples.dtype == np.float32
    assert samples.shape == signal.shape
    assert samples.flags.c_contiguous
    assert np.max(np.abs(samples - signal)) <= largest_error


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("name", "major", "subtype"),
    [("v.ogg", "OGG", "VORBIS"), ("o.opus", "OGG", "OPUS"), ("m.mp3", "MP3", "MPEG_LAYER_III")],
)
def test_lossy_formats(tmp_path, name, major, subtype, channels):
    """The right length, and in time: an error 20 dB below the signal leaves no room for a shift."""
    signal = _stereo()[:channels]
    path = tmp_path / name
    sf.write(path, signal.T, RATE, format=major, subtype=subtype)
    samples, rate = read_audio(path)
    assert rate == RATE
    assert samples.dtype == np.float32
    assert samples.shape == signal.shape
    inner = slice(RATE // 10, -RATE // 10)
    error = np.sum((samples - signal)[:, inner] ** 2, axis=1)
    assert np.all(error < 0.01 * np.sum(signal[:, inner] ** 2, axis=1))


def test_float_above_full_scale_stays(tmp_path):
    signal = 7.5 * _stereo()
    path = tmp_path / "hot.wav"
    sf.write(path, signal.T, RATE, subtype="FLOAT")
    samples, _ = read_audio(path)
    assert np.array_equal(samples, signal)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 96000, 192000])
def test_rates(tmp_path, rate):
    path = tmp_path / "a.wav"
    sf.write(path, _sine(rate, 0.1), rate)
    samples, read_rate = read_audio(str(path))
    assert read_rate == rate
    assert samples.shape == (1, rate // 10)


def test_one_sample(tmp_path):
    path = tmp_path / "one.wav"
    sf.write(path, [0.25], RATE)
    assert read_audio(path)[0].tolist() == [[0.25]]


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_name_that_is_not_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/gr\xfc\xdf.wav"))
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    write_audio(path, _stereo(), RATE, force=True)
    assert np.array_equal(read_audio(path)[0], _stereo())


def test_real_voice(data_folder):
    path = sorted((data_folder / "voices").glob("*/*.opus"))[0]
    samples, rate = read_audio(path)
    assert samples.shape == (sf.info(path).channels, sf.info(path).frames)
    assert -40 < loudness_lufs(samples, rate) < -5


# Refusals


def test_missing(tmp_path):
    path = tmp_path / "absent.wav"
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert _one_line(caught.value, path).endswith("no such file; check the name and the folder")


def test_folder(tmp_path):
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path)
    assert _one_line(caught.value, tmp_path).endswith("is a folder; give an audio file")


def test_empty(tmp_path):
    path = tmp_path / "empty.wav"
    path.touch()
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert "is empty (0 bytes); copy or export it again" in _one_line(caught.value, path)


def test_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioError, match="cannot be opened.*check the name"):
        read_audio(tmp_path / "file" / "a.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="is not an ordinary file"):
        read_audio(tmp_path / "pipe.wav")


def test_no_permission(tmp_path, monkeypatch):
    """As the system refuses it: the superuser may read anything, so it cannot be set up."""
    path = tmp_path / "secret.wav"
    sf.write(path, [0.0], RATE)

    def refuse(self, *_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert "no permission to read it" in _one_line(caught.value, path)


@pytest.mark.parametrize("name", ["a.wav", "a.aiff"])
def test_zero_samples(tmp_path, name):
    path = tmp_path / name
    sf.write(path, np.zeros((0, 1)), RATE)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert "has 0 samples; export it again" in _one_line(caught.value, path)


@pytest.mark.parametrize("channels", [3, 6])
def test_too_many_channels(tmp_path, channels):
    path = tmp_path / "surround.wav"
    sf.write(path, np.zeros((100, channels)), RATE)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    message = _one_line(caught.value, path)
    assert f"has {channels} channels; export it as mono or stereo" in message


@pytest.mark.parametrize("rate", [8000, 15999, 192001, 384000])
def test_rate_out_of_range(tmp_path, rate):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros(100), rate)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert f"{rate} Hz is outside 16000 to 192000 Hz" in _one_line(caught.value, path)


@pytest.mark.parametrize(
    ("value", "subtype", "word"),
    [
        (math.nan, "FLOAT", "NaN"),
        (math.inf, "FLOAT", "Inf"),
        (-math.inf, "DOUBLE", "Inf"),
        (1e300, "DOUBLE", "Inf"),
    ],
)
def test_first_bad_sample_is_named(tmp_path, value, subtype, word):
    signal = np.zeros((400_000, 2))
    signal[300_000, 1] = value
    signal[300_001, 0] = math.nan
    path = tmp_path / "broken.wav"
    sf.write(path, signal, 44100, subtype=subtype)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    expected = f"sample index 300000 (6.802721 s, channel 2 of 2) is {word}; repair it"
    assert expected in _one_line(caught.value, path)


def test_too_large_is_refused_before_memory_is_taken(tmp_path):
    """A FLAC header of 48 bytes that states five hours of stereo at 192 kHz."""
    path = tmp_path / "long.flac"
    sf.write(path, np.zeros((100, 2)), 192000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = (5 * 3600 * 192000).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    message = _one_line(caught.value, path)
    assert "would take 25.7 GiB of memory, 4 GiB are allowed; cut it" in message


# Resampling


@pytest.mark.parametrize("new_rate", [16000, 22050, 44100, 96000, 192000])
def test_resampled_sine_is_the_sine(new_rate):
    """In time and in level, to −110 dB away from the ends; float32 carries no more than −140."""
    samples = np.stack([_sine(RATE, 1.0), -_sine(RATE, 1.0)])
    result = resample(samples, RATE, new_rate)
    assert result.dtype == np.float32
    assert result.shape == (2, new_rate)
    assert result.flags.c_contiguous
    expected = np.stack([_sine(new_rate, 1.0), -_sine(new_rate, 1.0)])
    inner = slice(new_rate // 10, -new_rate // 10)
    error = np.sqrt(np.mean((result - expected)[:, inner] ** 2))
    assert 20 * np.log10(error / 0.3536) < -110


def test_resampling_removes_what_the_new_rate_cannot_hold():
    result = resample(_sine(RATE, 1.0, freq_hz=11000.0)[None], RATE, 16000)
    assert peak_dbfs(result[:, 1600:-1600]) < -110


def test_resampling_at_equal_rates_is_the_input():
    samples = _stereo()
    assert resample(samples, RATE, RATE) is samples


@pytest.mark.parametrize("length", [1, 2, 5, 100])
@pytest.mark.parametrize(("rate", "new_rate"), [(44100, 48000), (192000, 16000), (16000, 192000)])
def test_resampling_of_the_shortest(length, rate, new_rate):
    result = resample(np.ones((2, length), np.float32), rate, new_rate)
    assert abs(result.shape[1] - max(1.0, length * new_rate / rate)) <= 0.5
    assert np.all(np.isfinite(result))
    assert np.any(result != 0)


def test_resampling_nothing():
    assert resample(np.zeros((2, 0), np.float32), 48000, 16000).shape == (2, 0)


@pytest.mark.parametrize(("rate", "new_rate"), [(0, 48000), (48000, -1)])
def test_resampling_to_no_rate(rate, new_rate):
    with pytest.raises(AudioError, match="give positive sample rates"):
        resample(_stereo(), rate, new_rate)


def test_flat_arrays_are_refused():
    with pytest.raises(AudioError, match=r"give \(channels, samples\)"):
        resample(np.zeros(100), 48000, 16000)
    with pytest.raises(AudioError, match=r"give \(channels, samples\)"):
        loudness_lufs(np.zeros(100), 48000)


# Levels


@pytest.mark.parametrize("rate", [16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000])
def test_loudness_of_the_reference_sine(rate):
    """BS.1770: 997 Hz at 0 dBFS in one channel reads −3.01 LUFS; in two, 3.01 dB more."""
    mono = _sine(rate, 3.0, peak=0.1)[None]
    assert loudness_lufs(mono, rate) == pytest.approx(-23.01, abs=0.1)
    both = np.concatenate([mono, mono])
    assert loudness_lufs(both, rate) == pytest.approx(loudness_lufs(mono, rate) + 3.01, abs=0.01)


def test_loudness_follows_gain_and_gates_pauses():
    sine = _sine(RATE, 4.0, peak=0.1)[None]
    level = loudness_lufs(sine, RATE)
    assert loudness_lufs(4 * sine, RATE) == pytest.approx(level + 12.04, abs=0.01)
    pause = np.concatenate([sine, np.zeros_like(sine)], axis=1)
    assert loudness_lufs(pause, RATE) == pytest.approx(level, abs=0.3)


@pytest.mark.parametrize("seconds", [0.02, 0.15, 0.25, 0.399, 0.4, 0.401])
def test_short_clips_are_as_loud_as_long_ones(seconds):
    """Filled up with silence, 0.2 s would read 3 dB less."""
    clip = _sine(RATE, seconds, freq_hz=1000.0, peak=0.1)[None]
    assert loudness_lufs(clip, RATE) == pytest.approx(-23.0, abs=0.3)


@pytest.mark.parametrize("length", [0, 1, 100, 48000])
def test_silence(length):
    silence = np.zeros((2, length), np.float32)
    assert loudness_lufs(silence, RATE) == -math.inf
    assert peak_dbfs(silence) == -math.inf


def test_one_sample_has_a_loudness():
    assert loudness_lufs(np.ones((1, 1), np.float32), RATE) < 0


@pytest.mark.filterwarnings("error")
def test_below_the_gate_without_warnings():
    assert loudness_lufs(_sine(RATE, 1.0, peak=1e-5)[None], RATE) == -math.inf


def test_peak():
    assert peak_dbfs(np.array([[0.1, 0.2], [0.0, -0.5]])) == pytest.approx(-6.0206, abs=1e-4)
    assert peak_dbfs(np.array([[2.0]])) == pytest.approx(6.0206, abs=1e-4)
    assert peak_dbfs(np.array([[-1.0]], dtype=np.float32)) == 0.0
