"""Files that people have: joined, cut, interrupted, wrapped, from phones; and hostile ones."""

from __future__ import annotations

import io
import os
import resource
import shutil
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from diffconsole.audio import read_audio, read_audio_file, write_audio
from diffconsole.audio.containers import inspect_container
from diffconsole.errors import AudioError

from ..synthetic import voice

RATE = 44100
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


def sung(seconds: float = 1.0, seed: int = 0) -> np.ndarray:
    """A voice in stereo, ``(samples, 2)``."""
    mono = voice(seconds, seed=seed)
    return 0.5 * np.stack((mono, np.roll(mono, 7)), axis=1)


def coded(samples: np.ndarray, major: str, subtype: str, rate: int = RATE, **options) -> bytes:
    buffer = io.BytesIO()
    with sf.SoundFile(
        buffer, "w", rate, samples.shape[1], subtype, format=major, **options
    ) as file:
        file.write(samples)
    return buffer.getvalue()


def mp3(samples: np.ndarray, **options) -> bytes:
    return coded(samples, "MP3", "MPEG_LAYER_III", **options)


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def decoded(folder: Path, content: bytes) -> np.ndarray:
    return read_audio(put(folder, "part.bin", content))[0]


def like(found: np.ndarray, wanted: np.ndarray) -> float:
    """Error to signal, in dB."""
    assert found.shape == wanted.shape
    return 10 * np.log10(np.sum((found - wanted) ** 2) / np.sum(wanted**2) + 1e-20)


# MP3


@pytest.mark.parametrize("between", [b"", b"ID3\x03\0\0\0\0\x02\0" + bytes(256), bytes(700)])
def test_mp3s_joined_end_to_end_are_read_whole(tmp_path, between):
    first, second = mp3(sung(1.0)), mp3(sung(1.5, seed=1))
    parts = [decoded(tmp_path, part) for part in (first, second)]
    samples, _ = read_audio(put(tmp_path, "joined.mp3", first + between + second))
    assert like(samples, np.concatenate(parts, axis=1)) < -90


def test_a_joined_mp3_whose_second_part_states_nothing(tmp_path):
    """The first part's header frame counts the first part alone."""
    first, second = mp3(sung(1.0)), mp3(sung(1.5, seed=1))
    bare = second[second.index(b"\xff\xfb", 100) :]
    samples, _ = read_audio(put(tmp_path, "joined.mp3", first + bare))
    assert abs(samples.shape[1] - 2.5 * RATE) < 4 * 1152
    assert like(samples[:, : RATE - 1152], decoded(tmp_path, first)[:, : RATE - 1152]) < -60


def test_an_mp3_without_header_frame_lies_in_time_as_before(tmp_path):
    """The decoder as it is, of one bit rate, begins with its own delay; so does every other."""
    content = mp3(sung(), bitrate_mode="CONSTANT", compression_level=0.5)
    bare = put(tmp_path, "bare.mp3", content[content.index(b"\xff\xfb", 100) :])
    plain, _ = sf.read(bare, dtype="float32", always_2d=True)
    samples, _ = read_audio(bare)
    length = min(samples.shape[1], len(plain))
    assert abs(samples.shape[1] - len(plain)) <= 1152
    assert like(samples[:, :length], plain.T[:, :length]) < -90


def test_joined_mp3s_of_different_kinds_are_refused_in_words(tmp_path):
    first, second = mp3(sung(0.5)), mp3(sung(0.5)[:, :1])
    with pytest.raises(AudioError, match="joined from parts with different.*convert"):
        read_audio(put(tmp_path, "joined.mp3", first + second))


def test_an_mp3_without_length_is_read_whole_whatever_its_bit_rate(tmp_path):
    """The decoder guesses from the first frames and would drop the rest."""
    loud = np.random.default_rng(0).uniform(-0.5, 0.5, (RATE, 2))
    content = mp3(loud * np.repeat([0.0, 1.0], RATE // 2)[:, None])
    samples, _ = read_audio(put(tmp_path, "bare.mp3", content[content.index(b"\xff\xfb", 100) :]))
    assert abs(samples.shape[1] - RATE) < 4 * 1152
    assert np.std(samples[:, -RATE // 4 : -3000]) > 0.2


@pytest.mark.parametrize("cut", [1, 50, 200])
def test_an_mp3_that_ends_in_mid_frame_lacks_that_frame(tmp_path, cut):
    content = mp3(sung())
    bare = content[content.index(b"\xff\xfb", 100) :]
    whole = read_audio(put(tmp_path, "whole.mp3", bare))[0]
    found = read_audio_file(put(tmp_path, "cut.mp3", bare[:-cut]))
    assert 0 < whole.shape[1] - found.samples.shape[1] <= 2 * 1152
    assert "ends in the middle of an MP3 frame" in found.messages[0]


def test_an_mp3_that_begins_in_mid_frame_is_read(tmp_path):
    content = mp3(sung())
    samples, _ = read_audio(put(tmp_path, "late.mp3", content[1000:]))
    assert 0.9 * RATE < samples.shape[1] < 1.05 * RATE
    with pytest.raises(AudioError, match="not an audio file"):
        read_audio(put(tmp_path, "lyrics.mp3", b"\xff\xfb text and no sound " * 500))


def test_a_wav_that_holds_mp3(tmp_path):
    content = mp3(sung())
    bare = content[content.index(b"\xff\xfb", 100) :]
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 2, RATE, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"fact" + struct.pack("<II", 4, RATE) + b"data" + struct.pack("<I", len(bare))
    wav = b"RIFF" + struct.pack("<I", 4 + len(chunks) + len(bare)) + b"WAVE" + chunks + bare
    samples, _ = read_audio(put(tmp_path, "mp3.wav", wav))
    assert np.array_equal(samples, read_audio(put(tmp_path, "bare.mp3", bare))[0])
    with pytest.raises(AudioError, match="truncated: its header states"):
        read_audio(put(tmp_path, "cut.wav", wav[: len(wav) // 2]))


def test_gigabytes_behind_an_mp3_take_no_memory(tmp_path):
    path = put(tmp_path, "giant.mp3", mp3(sung()))
    whole = read_audio(path)[0]
    os.truncate(path, 40 << 30)
    began = time.monotonic()
    found = read_audio_file(path)
    assert np.array_equal(found.samples, whole)
    assert "bytes of this MP3 are no sound" in found.messages[0]
    assert time.monotonic() - began < 5


# Ogg


@pytest.mark.parametrize(("subtype", "rate"), [("VORBIS", RATE), ("OPUS", 48000)])
def test_a_chained_ogg_is_read_whole(tmp_path, subtype, rate):
    links = [coded(sung(seconds), "OGG", subtype, rate) for seconds in (0.7, 1.1, 0.4)]
    parts = [decoded(tmp_path, link) for link in links]
    samples, found = read_audio(put(tmp_path, "chain.ogg", b"".join(links)))
    assert found == rate
    assert np.array_equal(samples, np.concatenate(parts, axis=1))


def test_a_chain_of_different_rates_is_refused_in_words(tmp_path):
    links = coded(sung(0.5), "OGG", "VORBIS", 44100) + coded(sung(0.5), "OGG", "VORBIS", 48000)
    with pytest.raises(AudioError, match="different sample rates or channel counts; convert"):
        read_audio(put(tmp_path, "chain.ogg", links))


# WAV


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("stated", [0.25, 0.999])
def test_an_interrupted_recording_is_read_to_its_end(tmp_path, subtype, stated):
    content = bytearray(coded(sung(2.0), "WAV", subtype))
    at = content.index(b"data") + 4
    size = int(stated * (len(content) - at - 4)) // 24 * 24
    content[at : at + 4] = struct.pack("<I", size)
    content[4:8] = struct.pack("<I", at - 4 + size)
    found = read_audio_file(put(tmp_path, "broken.wav", bytes(content)))
    behind = 2.0 - stated * 2.0
    if behind < 0.02:
        assert abs(found.samples.shape[1] - stated * 2 * RATE) < 10
        return
    assert found.samples.shape == (2, 2 * RATE)
    assert f"{behind:.1f} s more lie behind" in found.messages[0]
    assert found.messages[0].endswith("all of it was read")


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        (b"LIST" + struct.pack("<I", 40000) + b"adtl" + bytes(39996), False),
        (b"ID3\x03\0\0\0\0\x7f\x00" + b"A tag. " * 6000, False),
        (bytes(100_000), False),
        (np.random.default_rng(0).bytes(100_000), True),
    ],
    ids=["chunk", "tag", "zeros", "noise"],
)
def test_what_is_no_sound_behind_the_samples_is_left_out(tmp_path, tail, said):
    content = coded(sung(), "WAV", "PCM_16")
    found = read_audio_file(put(tmp_path, "tail.wav", content + tail))
    assert found.samples.shape == (2, RATE)
    assert [m.endswith("they were left out") for m in found.messages] == [True] * said


def bw64(samples: np.ndarray) -> bytearray:
    content = bytearray(coded(samples, "RF64", "PCM_24"))
    assert content[:4] == b"RF64"
    content[:4] = b"BW64"
    return content


def test_bw64_is_read_like_rf64(tmp_path):
    content = bw64(sung())
    samples, _ = read_audio(put(tmp_path, "a.wav", bytes(content)))
    assert np.max(np.abs(samples.T - sung())) < 2**-22
    with pytest.raises(AudioError, match="truncated: its header states"):
        read_audio(put(tmp_path, "cut.wav", bytes(content[:-6])))


def test_an_interrupted_rf64_is_read_to_its_end(tmp_path):
    content = bw64(sung())
    at = content.index(b"ds64") + 16
    content[at : at + 8] = bytes(8)
    samples, _ = read_audio(put(tmp_path, "a.wav", bytes(content)))
    assert samples.shape == (2, RATE)


def test_a_time_reference_is_read_and_written(tmp_path):
    reference = 2**33 + 12345
    samples = np.ascontiguousarray(sung().T, np.float32)
    for depth in ("16", "24", "32f"):
        path = tmp_path / f"{depth}.wav"
        write_audio(path, samples, RATE, bit_depth=depth, time_reference=reference)
        found = read_audio_file(path)
        assert found.time_reference == reference
        assert found.samples.shape == samples.shape
        first = path.read_bytes()
        write_audio(path, samples, RATE, bit_depth=depth, time_reference=reference, force=True)
        assert path.read_bytes() == first
    write_audio(tmp_path / "none.wav", samples, RATE)
    assert read_audio_file(tmp_path / "none.wav").time_reference is None


@needs_ffmpeg
def test_others_read_the_time_reference(tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, np.zeros((1, 4800), np.float32), 48000, time_reference=48000 * 3600)
    command = ["ffprobe", "-v", "error", "-show_entries", "format_tags=time_reference", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "time_reference=172800000" in said


# Phone files


PHONE = {
    "a.m4a": ("mov", ["-c:a", "aac"]),
    "lossless.m4a": ("mov", ["-c:a", "alac"]),
    "a.aac": ("aac", ["-c:a", "aac"]),
    "a.webm": ("matroska", ["-c:a", "libopus"]),
    "a.mka": ("matroska", ["-c:a", "flac"]),
    "a.3gp": ("mov", ["-c:a", "aac"]),
    "a.wma": ("asf", ["-c:a", "wmav2"]),
}


def by_ffmpeg(folder: Path, name: str, options: list[str], samples: np.ndarray) -> Path:
    source, path = folder / "source.wav", folder / name
    sf.write(source, samples, 48000, subtype="PCM_16")
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(source), *options, str(path)]
    subprocess.run(command, check=True)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("name", PHONE)
def test_phone_files_are_decoded_by_ffmpeg(tmp_path, name):
    demuxer, options = PHONE[name]
    path = by_ffmpeg(tmp_path, name, options, sung(1.0))
    assert inspect_container(path).demuxer == demuxer
    # By content: an ending that says something else changes nothing.
    path = path.rename(path.with_suffix(".wav"))
    samples, rate = read_audio(path)
    assert rate == 48000
    assert samples.dtype == np.float32
    assert abs(samples.shape[1] - RATE) < 4096
    # AAC streams and WMA files do not state the encoder's delay.
    wanted = sung(1.0).T
    spectra = [np.fft.rfft(x, 3 * RATE) for x in (samples, wanted)]
    similar = np.fft.irfft(np.conj(spectra[0]) * spectra[1]).sum(axis=0)
    lag = int(np.argmax(similar))
    assert similar[lag] > 0.9 * np.sqrt(np.sum(samples**2) * np.sum(wanted**2))
    assert min(lag, 3 * RATE - lag - 1) <= 4096


def test_without_ffmpeg_the_line_ends_with_the_command(tmp_path, monkeypatch):
    path = put(tmp_path, "my take.m4a", b"\0\0\0\x20ftypM4A " + bytes(500))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    wanted = f"ffmpeg -i '{path}' '{path.with_suffix('.wav')}'"
    assert str(caught.value).endswith(wanted)
    assert "\n" not in str(caught.value)


@needs_ffmpeg
@pytest.mark.parametrize(
    "content",
    [
        b"ffconcat version 1.0\nfile secret.wav\n",
        b"#EXTM3U\n#EXTINF:1,\nsecret.wav\n",
        b"<?xml version='1.0'?><MPD><BaseURL>secret.wav</BaseURL></MPD>",
    ],
    ids=["concat", "hls", "dash"],
)
def test_a_list_of_files_never_opens_them(tmp_path, content):
    sf.write(tmp_path / "secret.wav", sung(), RATE)
    for name in ("list.m4a", "list.mka"):
        with pytest.raises(AudioError, match="not an audio file"):
            read_audio(put(tmp_path, name, content))


@needs_ffmpeg
def test_damaged_phone_files_are_one_line(tmp_path):
    content = by_ffmpeg(tmp_path, "a.m4a", ["-c:a", "aac"], sung()).read_bytes()
    with pytest.raises(AudioError, match="is damaged, or of a kind.*ffmpeg -i") as caught:
        read_audio(put(tmp_path, "cut.m4a", content[: len(content) // 2]))
    assert "\n" not in str(caught.value)


# Sizes are checked before memory is taken


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def giant(folder: Path, name: str, head: bytes, size: int = 60 << 30) -> Path:
    path = put(folder, name, head)
    os.truncate(path, size)
    return path


def header(major: str, subtype: str) -> bytes:
    return coded(np.zeros((16, 2)), major, subtype)


def test_giants_take_neither_memory_nor_time(tmp_path):
    empty = bytearray(header("WAV", "PCM_16")[:44])
    empty[40:44] = bytes(4)
    flac = bytearray(header("FLAC", "PCM_16"))
    flac[21] |= 0x0F
    flac[22:26] = b"\xff" * 4
    files = [
        giant(tmp_path, "zero.wav", bytes(empty)),
        giant(tmp_path, "chunks.wav", bytes(empty[:12])),
        giant(tmp_path, "chunks.aiff", header("AIFF", "PCM_16")[:12]),
        giant(tmp_path, "page.ogg", header("OGG", "VORBIS")),
        giant(tmp_path, "frame.mp3", b"\xff\xfb\x90\x44"),
        giant(tmp_path, "tags.mp3", b"ID3\x03\0\0\0\0\0\0" * 1000),
        put(tmp_path, "claims.flac", bytes(flac)),
    ]
    before = peak_memory()
    for path in files:
        began = time.monotonic()
        with pytest.raises(AudioError) as caught:
            read_audio(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert time.monotonic() - began < 5, path
    assert peak_memory() - before < 200 << 20


# What the jobs do with it


def test_apply_keeps_the_time_reference_and_passes_notices_on(tmp_path):
    from diffconsole.jobs.process import AudioOptions, apply_file, predict_file
    from diffconsole.strip.preset import Preset

    from ..synthetic import small_model

    raw = tmp_path / "take.wav"
    samples = np.ascontiguousarray(sung(1.0).T, np.float32)
    write_audio(raw, samples, RATE, time_reference=RATE * 3661)
    content = bytearray(raw.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", (len(content) - at - 4) // 16 * 8)
    raw.write_bytes(content)
    strip = Preset.from_settings({}, name="none")

    _, _, notices = apply_file(raw, strip, tmp_path / "out.wav", AudioOptions())
    assert [notice for notice in notices if "0.5 s more lie behind" in notice]
    assert read_audio_file(tmp_path / "out.wav").time_reference == RATE * 3661
    options = AudioOptions(bit_depth="24")
    _, _, notices = apply_file(raw, strip, tmp_path / "out.flac", options)
    assert (
        f"{tmp_path / 'out.flac'}: does not keep the take's time reference, 01:01:01.000; "
        in (notices[-1])
    )
    _, notices = predict_file(small_model(), "small", raw)
    assert "0.5 s more lie behind" in notices[0]
