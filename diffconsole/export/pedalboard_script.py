"""The Python script that plays a strip in pedalboard, with places for its numbers."""

from __future__ import annotations

__all__ = ["SATURATED", "TEMPLATE"]

TEMPLATE = '''\
"""A vocal channel strip in pedalboard: ``python strip.py IN.wav OUT.wav [-y]``.

Or ``from strip import board, process``: ``board`` is the gain, EQ and compressor, ``process``
all of the strip. Made for %(sample_rate)d Hz. Needs ``pip install pedalboard``.
"""

import sys
from pathlib import Path

import numpy as np
import pedalboard
from pedalboard.io import AudioFile

NAME = %(name)s

# What it was made from; "diffconsole import" reads it back. The numbers below make the sound.
SETTINGS = %(settings)s

board = pedalboard.Pedalboard(
    [
%(board)s
    ]
)

PAN = %(pan)s  # factors of the dry signal's sides; None leaves the channels as they are
RESPONSE = %(response)s  # %(sends)s impulse response, beside this file
WET_DB = %(wet_db)s  # its level, with what takes back the convolution's own scaling
TAIL_S = %(tail_s)s
OUTPUT_DB = %(output_db)s
%(saturation)s

def process(samples, sample_rate, tail_s=0.0):
    """Return (channels, samples) through the strip, longer by the tail, in float32."""
    samples = np.atleast_2d(np.asarray(samples, np.float32))
    samples = np.pad(samples, ((0, 0), (0, round(tail_s * sample_rate))))
    dry = send = %(played)s
    if (PAN or RESPONSE) and len(dry) == 1:
        dry = np.repeat(dry, 2, axis=0)
    if PAN:
        dry = dry * np.array(PAN, np.float32)[:, None]
    if RESPONSE:
        send = np.repeat(send.mean(axis=0, keepdims=True), 2, axis=0)
        wet = pedalboard.Pedalboard(
            [
                pedalboard.Convolution(str(Path(__file__).with_name(RESPONSE)), mix=1.0),
                pedalboard.Gain(gain_db=WET_DB),
            ]
        )
        dry = dry + wet(send, sample_rate)
    return pedalboard.Gain(gain_db=OUTPUT_DB)(dry, sample_rate)


def main():
    """Process a file; an existing one is replaced with -y alone."""
    names = [word for word in sys.argv[1:] if word != "-y"]
    if len(names) != 2:
        sys.exit("usage: python strip.py IN.wav OUT.wav [-y]")
    if Path(names[1]).exists() and "-y" not in sys.argv:
        sys.exit(f"{names[1]} is there already; -y replaces it")
    try:
        with AudioFile(names[0]) as source:
            samples, sample_rate = source.read(source.frames), source.samplerate
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{names[0]}: cannot be read ({error})")
    done = process(samples, sample_rate, TAIL_S)
    try:
        with AudioFile(names[1], "w", sample_rate, len(done), bit_depth=32) as target:
            target.write(done)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{names[1]}: cannot be written ({error})")


if __name__ == "__main__":
    main()
'''

SATURATED = '''
# Drive, bias point, gain of the dry and of the saturated signal.
SATURATION = %(numbers)s


def saturated(samples, sample_rate):
    """Return samples through a tanh around its bias point, beside the dry signal."""
    drive_db, point, dry, wet = SATURATION
    ahead = np.float32(point * 10.0 ** (-drive_db / 20.0))
    bent = pedalboard.Distortion(drive_db=drive_db)(samples + ahead, sample_rate)
    return np.float32(dry) * samples + np.float32(wet) * (bent - np.float32(np.tanh(point)))
'''
"""What a strip with a saturation has besides."""
