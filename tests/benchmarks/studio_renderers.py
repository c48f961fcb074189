"""Somebody else's processors, set by an engineer's decisions: pedalboard's, and ffmpeg's.

Each returns the dry signal and the reverb's return apart; how loud the return is against the dry
signal is the engineer's decision: :func:`with_return` adds the two.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from diffconsole.audio import read_audio, resample
from diffconsole.pairs import PAIR_RATE

__all__ = ["ffmpeg_path", "render_ffmpeg", "render_pedalboard", "with_return"]

Settings = Mapping[str, float]

LOW_SHELF_Q, HIGH_SHELF_Q, BODY_Q, PRESENCE_Q = 0.7, 0.6, 1.1, 0.9
# JUCE's reverb at half damping: the time to fall by 60 dB that was measured at each room size.
ROOM_SIZES, ROOM_DECAYS_S = (0.0, 0.2, 0.4, 0.6, 0.8, 0.95), (0.53, 0.67, 0.90, 1.33, 2.40, 5.52)
FFMPEG_SECONDS = 120.0


def render_pedalboard(
    raw: np.ndarray, settings: Settings, room: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """JUCE's filters and compressor; the room's impulse response, or JUCE's reverb without one.

    Parameters
    ----------
    raw : ndarray
        ``(1, samples)`` at 44.1 kHz.
    settings : mapping of str to float
        The engineer's decisions.
    room : Path or None
        A stereo impulse response.

    Returns
    -------
    dry, wet : ndarray
        ``(2, samples)``.
    """
    import pedalboard as pb

    strip = pb.Pedalboard(
        [
            pb.Gain(settings["input_gain_db"]),
            # Of first order: two make the 12 dB an octave of a desk.
            pb.HighpassFilter(settings["high_pass_hz"]),
            pb.HighpassFilter(settings["high_pass_hz"]),
            pb.LowShelfFilter(settings["low_shelf_hz"], settings["low_shelf_db"], LOW_SHELF_Q),
            pb.PeakFilter(settings["body_hz"], settings["body_db"], BODY_Q),
            pb.PeakFilter(settings["presence_hz"], settings["presence_db"], PRESENCE_Q),
            pb.HighShelfFilter(settings["air_hz"], settings["air_db"], HIGH_SHELF_Q),
            pb.Compressor(
                settings["threshold_db"],
                settings["ratio"],
                settings["attack_ms"],
                settings["release_ms"],
            ),
        ]
    )
    dry = strip(np.repeat(raw, 2, axis=0), PAIR_RATE, reset=True)
    send: list[Any] = [
        pb.Delay(settings["pre_delay_ms"] / 1000.0, feedback=0.0, mix=1.0),
        pb.HighpassFilter(settings["send_low_cut_hz"]),
    ]
    if room is None:
        size = float(np.interp(settings["decay_s"], ROOM_DECAYS_S, ROOM_SIZES))
        send.append(pb.Reverb(size, 0.5, wet_level=1.0, dry_level=0.0, width=1.0))
    else:
        send.append(pb.Convolution(_damped(room, settings["decay_s"]), 1.0, PAIR_RATE))
    return dry, pb.Pedalboard(send)(dry, PAIR_RATE, reset=True)


def render_ffmpeg(
    raw: np.ndarray, settings: Settings, room: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """ffmpeg's filters, with the detector of its compressor on power, and its convolution.

    Parameters and results are those of :func:`render_pedalboard`; the room is needed.
    """
    if room is None:
        raise ValueError("ffmpeg has no reverb of its own: give an impulse response")
    s = settings
    strip = ",".join(
        (
            "aformat=sample_fmts=dbl",
            "pan=stereo|c0=c0|c1=c0",
            f"volume={s['input_gain_db']:.4f}dB",
            f"highpass=f={s['high_pass_hz']:.2f}:t=q:w=0.71",
            f"bass=f={s['low_shelf_hz']:.2f}:g={s['low_shelf_db']:.3f}:t=q:w={LOW_SHELF_Q}",
            f"equalizer=f={s['body_hz']:.2f}:g={s['body_db']:.3f}:t=q:w={BODY_Q}",
            f"equalizer=f={s['presence_hz']:.2f}:g={s['presence_db']:.3f}:t=q:w={PRESENCE_Q}",
            f"treble=f={s['air_hz']:.2f}:g={s['air_db']:.3f}:t=q:w={HIGH_SHELF_Q}",
            f"acompressor=threshold={10 ** (s['threshold_db'] / 20):.6f}:ratio={s['ratio']:.4f}"
            f":attack={s['attack_ms']:.3f}:release={s['release_ms']:.2f}:knee=2:detection=rms",
            "asplit",
        )
    )
    send = f"adelay={s['pre_delay_ms']:.2f}:all=1,highpass=f={s['send_low_cut_hz']:.1f}"
    graph = f"[0:a]{strip}[dry][bus];[bus]{send}[send];[send][1:a]afir=irnorm=-1:irlink=0[wet]"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "raw.wav", raw[0], PAIR_RATE, subtype="FLOAT")
        response = _damped(room, s["decay_s"])
        soundfile.write(folder / "room.wav", response.T, PAIR_RATE, subtype="FLOAT")
        command = [ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-nostdin"]
        command += ["-i", str(folder / "raw.wav"), "-i", str(folder / "room.wav")]
        command += ["-filter_complex", graph]
        for part in ("dry", "wet"):
            command += ["-map", f"[{part}]", "-c:a", "pcm_f32le", str(folder / f"{part}.wav")]
        subprocess.run(command, check=True, timeout=FFMPEG_SECONDS)
        dry, wet = (
            soundfile.read(folder / f"{part}.wav", dtype="float32", always_2d=True)[0].T
            for part in ("dry", "wet")
        )
    samples = raw.shape[1]
    missing = max(samples - wet.shape[1], 0)
    return dry[:, :samples], np.pad(wet[:, :samples], ((0, 0), (0, missing)))


def with_return(dry: np.ndarray, wet: np.ndarray, wet_db: float) -> np.ndarray:
    """Add the reverb's return, its RMS `wet_db` above that of the dry signal."""
    size = [float(np.sqrt(np.mean(part.astype(np.float64) ** 2))) for part in (dry, wet)]
    gain = 10.0 ** (wet_db / 20.0) * size[0] / max(size[1], 1e-9)
    return (dry + np.float32(gain) * wet).astype(np.float32)


@lru_cache(maxsize=1)
def ffmpeg_path() -> str:
    """Return the program's path: that of the package ``imageio-ffmpeg``, else the one in PATH.

    The package's comes first: a studio's mixes are then the same on every computer, and its
    convolution takes options that versions before 7 do not know.

    Raises
    ------
    FileNotFoundError
        Neither is there.
    """
    try:
        import imageio_ffmpeg

        found = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        found = shutil.which("ffmpeg")
    if found is None or not os.access(found, os.X_OK):
        raise FileNotFoundError("no ffmpeg: put it in PATH, or pip install imageio-ffmpeg")
    return found


@lru_cache(maxsize=4)
def _room(path: Path) -> tuple[np.ndarray, float]:
    """Samples of an impulse response from its onset, and its own decay."""
    samples, rate = read_audio(path)
    samples = resample(samples, rate, PAIR_RATE)
    size = np.abs(samples).max(axis=0)
    samples = samples[:, int(np.argmax(size > 0.05 * size.max())) :]
    energy = np.cumsum((samples.astype(np.float64) ** 2).sum(axis=0)[::-1])[::-1]
    fallen = [int(np.argmax(energy < energy[0] * 10.0**power)) for power in (-0.5, -2.5)]
    return samples, 3.0 * (fallen[1] - fallen[0]) / PAIR_RATE


def _damped(path: Path, decay_s: float) -> np.ndarray:
    """The impulse response brought to a shorter decay, of unit energy."""
    samples, own_s = _room(path)
    rate = max(1.0 / decay_s - 1.0 / own_s, 0.0)
    damped = samples * 10.0 ** (-3.0 * rate * np.arange(samples.shape[1]) / PAIR_RATE)
    return np.ascontiguousarray(damped / np.linalg.norm(damped), np.float32)
