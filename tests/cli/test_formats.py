"""Every file that is accepted goes through ``apply``: the same sound, 6 dB quieter, at its rate."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from ..commands import QUIETER, done, samples_of, write_preset
from ..synthetic import voice

GAIN = 10 ** (-6 / 20)
ALL_RATES = (16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
FORMATS = {
    "8.wav": ("WAV", "PCM_U8", ALL_RATES),
    "16.wav": ("WAV", "PCM_16", ALL_RATES),
    "24.wav": ("WAV", "PCM_24", ALL_RATES),
    "32.wav": ("WAV", "PCM_32", ALL_RATES),
    "float.wav": ("WAV", "FLOAT", ALL_RATES),
    "double.wav": ("WAV", "DOUBLE", ALL_RATES),
    "16.flac": ("FLAC", "PCM_16", ALL_RATES),
    "24.flac": ("FLAC", "PCM_24", ALL_RATES),
    "16.aiff": ("AIFF", "PCM_16", ALL_RATES),
    "24.aif": ("AIFF", "PCM_24", ALL_RATES),
    "vorbis.ogg": ("OGG", "VORBIS", ALL_RATES),
    "opus.opus": ("OGG", "OPUS", (16000, 24000, 48000)),
    "mp3.mp3": ("MP3", "MPEG_LAYER_III", (16000, 22050, 32000, 44100, 48000)),
}
CASES = [(name, rate) for name, (_, _, rates) in FORMATS.items() for rate in rates]


@pytest.mark.parametrize("channels", [1, 2], ids=["mono", "stereo"])
@pytest.mark.parametrize(("name", "rate"), CASES, ids=[f"{n}-{r}" for n, r in CASES])
def test_accepted(tmp_path, name, rate, channels):
    major, subtype, _ = FORMATS[name]
    sung = voice(0.3, rate=rate)
    take, out = tmp_path / name, tmp_path / "out.wav"
    stored = np.stack([sung, -0.5 * sung][:channels], axis=1)
    soundfile.write(take, stored, rate, format=major, subtype=subtype)
    done("apply", take, write_preset(tmp_path / "p.json", QUIETER), "-o", out)

    info = soundfile.info(out)
    assert (info.samplerate, info.channels) == (rate, channels)
    assert (info.format, info.subtype) == ("WAV", "FLOAT")
    written = samples_of(out)
    expected = samples_of(take) * GAIN
    assert written.shape == expected.shape
    assert np.max(np.abs(written - expected)) < 1e-6
    # And it is the take, not only what the same reader makes of it.
    if major not in ("OGG", "MP3"):
        assert written.shape[1] == len(sung)
    correlation = np.corrcoef(written[0, : len(sung)], sung[: written.shape[1]])[0, 1]
    assert correlation > 0.95


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.aiff", "x.aif"])
def test_written(tmp_path, name):
    take = tmp_path / "take.wav"
    soundfile.write(take, voice(0.3), 44100, subtype="PCM_24")
    preset = write_preset(tmp_path / "p.json", QUIETER)
    done("apply", take, preset, "-o", tmp_path / name, "--bit-depth", "24")
    assert soundfile.info(tmp_path / name).subtype == "PCM_24"
    error = samples_of(tmp_path / name) - samples_of(take) * GAIN
    assert np.max(np.abs(error)) < 2 * 2**-23
