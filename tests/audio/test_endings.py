"""Every ending that folders of pairs, voices and takes look for is one that the reader takes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from diffconsole.audio.endings import AUDIO_SUFFIXES, FOREIGN_SUFFIXES
from diffconsole.audio.read import read_audio
from diffconsole.errors import AudioError

RATE, SECONDS = 48000, 0.5
# Written by libsndfile: format, subtype.
BY_SNDFILE = {
    ".wav": ("WAV", "PCM_16"), ".wave": ("WAV", "PCM_16"), ".bwf": ("WAV", "PCM_24"),
    ".rf64": ("RF64", "PCM_16"), ".bw64": ("RF64", "PCM_16"), ".w64": ("W64", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS"), ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"), ".aif": ("AIFF", "PCM_16"), ".aiff": ("AIFF", "PCM_16"),
    ".aifc": ("AIFF", "FLOAT"), ".caf": ("CAF", "PCM_16"), ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".mpga": ("MP3", "MPEG_LAYER_III"), ".mpeg": ("MP3", "MPEG_LAYER_III"),
    ".au": ("AU", "PCM_16"), ".snd": ("AU", "PCM_16"),
}  # fmt: skip
# Written by ffmpeg: its encoder and its name of the container.
BY_FFMPEG = {
    ".m4a": ("aac", "ipod"), ".m4b": ("aac", "ipod"), ".mp4": ("aac", "mp4"),
    ".mov": ("aac", "mov"), ".3gp": ("aac", "3gp"), ".aac": ("aac", "adts"),
    ".alac": ("alac", "ipod"), ".webm": ("libopus", "webm"), ".mka": ("flac", "matroska"),
    ".mkv": ("flac", "matroska"), ".wma": ("wmav2", "asf"), ".wv": ("wavpack", "wv"),
    ".tta": ("tta", "tta"), ".ac3": ("ac3", "ac3"),
}  # fmt: skip
# No free program writes these; what their first bytes are is known.
BY_NOBODY = {".ape": b"MAC \x96\x0f", ".dsf": b"DSD \x1c"}
AMR = b"#!AMR-WB\n" + 5 * (b"\x04" + bytes(17))


def _voice() -> np.ndarray:
    seconds = np.arange(round(SECONDS * RATE)) / RATE
    return 0.3 * np.sin(2.0 * np.pi * 300.0 * seconds)


def test_no_ending_is_left_out():
    assert set(AUDIO_SUFFIXES) == {*BY_SNDFILE, *BY_FFMPEG, *BY_NOBODY, ".amr"}
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES)


def _assert_read(path: Path) -> None:
    samples, rate = read_audio(path)
    assert rate == RATE
    assert samples.shape[1] == pytest.approx(SECONDS * RATE, abs=0.1 * RATE)
    assert np.std(samples) == pytest.approx(np.std(_voice()), rel=0.1)


@pytest.mark.parametrize("ending", BY_SNDFILE)
def test_what_libsndfile_writes_is_read(tmp_path, ending):
    if ending in FOREIGN_SUFFIXES and not shutil.which("ffmpeg"):
        pytest.skip("no ffmpeg")
    path = tmp_path / f"take{ending}"
    major, subtype = BY_SNDFILE[ending]
    soundfile.write(path, _voice(), RATE, format=major, subtype=subtype)
    if ending == ".bw64":
        path.write_bytes(b"BW64" + path.read_bytes()[4:])
    _assert_read(path)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")
@pytest.mark.parametrize("ending", BY_FFMPEG)
def test_what_ffmpeg_writes_is_read(tmp_path, ending):
    path, source = tmp_path / f"take{ending}", tmp_path / "source.wav"
    soundfile.write(source, _voice(), RATE)
    encoder, container = BY_FFMPEG[ending]
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-strict", "-2"]
    made = subprocess.run([*command, "-c:a", encoder, "-f", container, path], check=False)
    if made.returncode != 0:
        pytest.skip(f"this ffmpeg has no {encoder}")
    _assert_read(path)


@pytest.mark.parametrize("ending", BY_NOBODY)
def test_what_nobody_writes_is_given_to_ffmpeg(tmp_path, ending):
    path = tmp_path / f"take{ending}"
    path.write_bytes(BY_NOBODY[ending] + bytes(100))
    with pytest.raises(AudioError, match="ffmpeg"):
        read_audio(path)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")
def test_what_older_phones_write_is_read(tmp_path):
    path = tmp_path / "take.amr"
    path.write_bytes(AMR)
    samples, rate = read_audio(path)
    assert rate == 16000
    assert samples.shape == (1, 5 * 320)
