"""Audio out: written whole or not at all, clipped never without a word."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from diffconsole.audio import files as audio
from diffconsole.audio import peak_dbfs, read_audio, write_audio
from diffconsole.errors import AudioError, OutputError

RATE = 48000


def _stereo() -> np.ndarray:
    """One second of two different sines, so that swapped channels show."""
    time_s = np.arange(RATE) / RATE
    left, right = np.sin(2 * np.pi * 997 * time_s), np.sin(2 * np.pi * 440 * time_s)
    return np.stack([0.5 * left, 0.25 * right]).astype(np.float32)


def _one_line(error: Exception, path: Path) -> str:
    message = str(error)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("suffix", "bit_depth"),
    [
        (suffix, bit_depth)
        for suffix in (".wav", ".flac", ".aiff", ".aif", ".WAV")
        for bit_depth in ("16", "24", "32f")
        if (suffix, bit_depth) != (".flac", "32f")  # FLAC holds integers; its refusal has a test
    ],
)
def test_written_is_read(tmp_path, suffix, bit_depth, channels):
    signal = np.tile(_stereo(), 3)[:channels]  # more than one block
    path = tmp_path / f"out{suffix}"
    assert write_audio(path, signal, RATE, bit_depth=bit_depth) == 0.0
    samples, rate = read_audio(path)
    assert rate == RATE
    assert samples.shape == signal.shape
    # Half an LSB of rounding and one of dither.
    bound = {"16": 1.5 * 2**-15, "24": 1.5 * 2**-23 + 2**-25, "32f": 0.0}[bit_depth]
    assert np.max(np.abs(samples - signal)) <= bound
    subtype = {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}[bit_depth]
    assert sf.info(path).subtype == subtype
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("bit_depth", ["16", "24"])
def test_error_of_a_written_file_is_that_of_triangular_dither(tmp_path, bit_depth):
    """Variance LSB²/4: 1/6 of the dither and 1/12 of the rounding."""
    lsb = 2.0 ** (1 - int(bit_depth))
    signal = np.random.default_rng(1).uniform(-0.9, 0.9, (1, 200_000))
    path = tmp_path / "out.wav"
    write_audio(path, signal, RATE, bit_depth=bit_depth)
    stored, _ = sf.read(path, dtype="float64", always_2d=True)
    error_lsb = (stored.T - signal) / lsb
    assert error_lsb.var() == pytest.approx(0.25, rel=0.02)
    assert abs(error_lsb.mean()) < 0.01


@pytest.mark.parametrize(
    ("name", "bit_depth"), [("a.wav", "32f"), ("a.wav", "16"), ("a.flac", "24"), ("a.aiff", "32f")]
)
def test_same_bytes_at_another_time(tmp_path, monkeypatch, name, bit_depth):
    """libsndfile's PEAK chunk carries the time; it must not reach the file."""
    write_audio(tmp_path / name, _stereo(), RATE, bit_depth=bit_depth)
    first = (tmp_path / name).read_bytes()
    code = (
        "import sys, time; time.sleep(1.1); import numpy as np; from diffconsole import audio;"
        "s, r = audio.read_audio(sys.argv[1]);"
        "audio.write_audio(sys.argv[2], np.load(sys.argv[3]), r, bit_depth=sys.argv[4])"
    )
    np.save(tmp_path / "signal.npy", _stereo())
    again = tmp_path / f"again{Path(name).suffix}"
    arguments = [tmp_path / name, again, tmp_path / "signal.npy", bit_depth]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
    assert again.read_bytes() == first


@pytest.mark.parametrize("bit_depth", ["16", "24"])
def test_clipping_is_refused_with_its_amount(tmp_path, bit_depth):
    path = tmp_path / "out.wav"
    signal = _stereo() / np.abs(_stereo()).max() * 10 ** (3.5 / 20)
    with pytest.raises(AudioError) as caught:
        write_audio(path, signal, RATE, bit_depth=bit_depth)
    assert _one_line(caught.value, path).endswith(
        f"would clip by 3.50 dB at {bit_depth} bit; add --normalize, or use --bit-depth 32f"
    )
    assert os.listdir(tmp_path) == []


def test_least_clipping_reads_as_more_than_nothing(tmp_path):
    with pytest.raises(AudioError, match=r"would clip by 0\.01 dB"):
        write_audio(tmp_path / "a.wav", np.array([[1.00001]]), RATE, bit_depth="16")


def test_full_scale_is_no_clipping(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, np.array([[1.0, -1.0, 0.0]]), RATE, bit_depth="16")
    codes, _ = sf.read(path, dtype="int16")
    assert codes[0] in (32766, 32767)
    assert codes[1] in (-32768, -32767)


@pytest.mark.parametrize("bit_depth", ["16", "24", "32f"])
def test_normalize(tmp_path, bit_depth):
    """Over full scale: the peak comes to −1 dBFS, and the gain is told."""
    signal = 4 * _stereo()
    path = tmp_path / "a.wav"
    gain_db = write_audio(path, signal, RATE, bit_depth=bit_depth, normalize=True)
    assert gain_db == pytest.approx(-1.0 - peak_dbfs(signal), abs=1e-9)
    samples, _ = read_audio(path)
    assert peak_dbfs(samples) == pytest.approx(-1.0, abs=0.001)
    expected = signal * 10 ** (gain_db / 20)
    assert np.max(np.abs(samples - expected)) < 1.5 * 2**-15 + 1e-6


def test_normalize_leaves_what_fits(tmp_path):
    path = tmp_path / "a.wav"
    assert write_audio(path, _stereo(), RATE, normalize=True) == 0.0
    assert np.array_equal(read_audio(path)[0], _stereo())


def test_float_above_full_scale_is_written_as_it_is(tmp_path):
    path = tmp_path / "a.wav"
    assert write_audio(path, 100 * _stereo(), RATE) == 0.0
    assert np.array_equal(read_audio(path)[0], 100 * _stereo())


@pytest.mark.parametrize(
    ("name", "bit_depth", "words"),
    [
        ("a.mp3", "24", "cannot write files of kind .mp3; use one of .wav, .flac, .aiff, .aif"),
        ("a", "24", "cannot write files of kind (no suffix); use one of .wav"),
        ("a.flac", "32f", "FLAC holds no 32-bit float samples; use --bit-depth 24"),
        ("a.wav", "32", "bit depth '32' is unknown; use one of 16, 24, 32f"),
    ],
)
def test_unknown_outputs(tmp_path, name, bit_depth, words):
    with pytest.raises(AudioError) as caught:
        write_audio(tmp_path / name, _stereo(), RATE, bit_depth=bit_depth)
    assert words in _one_line(caught.value, tmp_path / name)


@pytest.mark.parametrize(
    ("signal", "rate", "words"),
    [
        (np.zeros(100), RATE, "an array of shape (100,)"),
        (np.zeros((3, 100)), RATE, "an array of shape (3, 100)"),
        (np.zeros((1, 100), dtype=np.int16), RATE, "type int16"),
        (np.zeros((1, 0)), RATE, "there are 0 samples to write"),
        (np.zeros((1, 100)), 8000, "8000 Hz is outside"),
        (np.array([[0.0, math.nan]]), RATE, "sample index 1 (0.000021 s, channel 1 of 1) is NaN"),
        (np.array([[0.0, 0.0, -math.inf]]), RATE, "sample index 2"),
    ],
)
def test_unusable_buffers(tmp_path, signal, rate, words):
    with pytest.raises(AudioError) as caught:
        write_audio(tmp_path / "a.wav", signal, rate)
    assert words in _one_line(caught.value, tmp_path / "a.wav")
    assert os.listdir(tmp_path) == []


def test_larger_than_the_format(tmp_path):
    """One value seen 2³⁰ times: 8 GiB of samples in 4 bytes of memory."""
    huge = np.broadcast_to(np.float32(0), (2, 2**30))
    with pytest.raises(OutputError, match="8.0 GiB are more than WAV files can hold.*[.]flac"):
        write_audio(tmp_path / "a.wav", huge, RATE)


def test_existing_file_needs_force(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("old")
    with pytest.raises(OutputError, match="exists already; add --force"):
        write_audio(path, _stereo(), RATE)
    assert path.read_text() == "old"
    write_audio(path, _stereo(), RATE, force=True)
    assert np.array_equal(read_audio(path)[0], _stereo())


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs the superuser of a Linux system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a tiny file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("name", "bit_depth"), [("a.wav", "32f"), ("a.wav", "16"), ("a.flac", "24"), ("a.aiff", "24")]
)
def test_full_disk(tiny_disk, name, bit_depth):
    path = tiny_disk / name
    path.write_text("old")
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (2, RATE))
    with pytest.raises(OutputError) as caught:
        write_audio(path, noise, RATE, bit_depth=bit_depth, force=True)
    assert "the disk is full; free some space" in _one_line(caught.value, path)
    assert path.read_text() == "old"
    assert os.listdir(tiny_disk) == [name]


@pytest.mark.parametrize("missing", [1, 100, 5000])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_full_disk_at_the_very_end(tiny_disk, name, missing):
    """Room for all but the last bytes, which the encoder writes as it closes the file."""
    noise = np.random.default_rng(0).uniform(-0.9, 0.9, (1, 16000))
    whole = tiny_disk / name
    write_audio(whole, noise, RATE, bit_depth="16")
    size = whole.stat().st_size
    whole.unlink()
    pages = -(-(size - missing) // 4096) - (1 if missing < 4096 else 0)
    (tiny_disk / "ballast").write_bytes(bytes(65536 - 4096 * pages))
    with pytest.raises(OutputError, match="the disk is full"):
        write_audio(whole, noise, RATE, bit_depth="16")
    assert os.listdir(tiny_disk) == ["ballast"]


_LIMITED = """
import os, resource, sys
import numpy as np
from diffconsole import audio, errors
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    audio.write_audio(sys.argv[1], np.full((2, 48000), 0.1), 48000, force=True)
except errors.OutputError as error:
    print(error)
"""


def test_file_size_limit(tmp_path):
    """The same refusal where nothing can be mounted: the system stops the file at 64 KiB."""
    pytest.importorskip("resource", reason="needs a limit of file size")
    path = tmp_path / "a.wav"
    path.write_text("old")
    command = [sys.executable, "-c", _LIMITED, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.startswith(f"{path}: the file grows larger than the system allows")
    assert result.stderr == ""
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.wav"]


def test_short_file_is_never_kept(tmp_path, monkeypatch):
    """Whatever loses samples without a word, the check behind the writing finds it."""

    def lossy(samples, *_arguments):
        yield np.ascontiguousarray(samples[:, :-1].T, dtype=np.float32)

    monkeypatch.setattr(audio, "encoded_blocks", lossy)
    with pytest.raises(OutputError) as caught:
        write_audio(tmp_path / "a.wav", _stereo(), RATE)
    message = _one_line(caught.value, tmp_path / "a.wav")
    assert "could not be written whole (47999 of 48000 samples were stored)" in message
    assert os.listdir(tmp_path) == []
