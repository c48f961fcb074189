"""Render a raw vocal through several presets, all equally loud, to compare them by ear.

``python examples/audition.py lead_vocal_pop mine.preset.json --raw take.wav -o out/``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from diffconsole.audio import loudness_lufs, peak_dbfs, read_audio, write_audio
from diffconsole.console.render import render
from diffconsole.strip.preset import find_preset

HERE = Path(__file__).parent
LOUDEST_PEAK_DBFS = -1.0


def main() -> None:
    """Read the command line, render, bring everything to one loudness, write."""
    parser = argparse.ArgumentParser(description="Hear presets side by side.")
    choice = ["lead_vocal_pop", "warm_intimate", "telephone"]
    parser.add_argument("presets", nargs="*", default=choice, help="files or factory keys")
    parser.add_argument("--raw", type=Path, default=HERE / "vocal.wav", help="a raw vocal")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"), help="folder")
    options = parser.parse_args()

    raw, sample_rate = read_audio(options.raw)
    # Two channels for all: a meter reads one channel 3 dB lower than the same in two.
    versions = {"raw": np.repeat(raw, 2, axis=0) if len(raw) == 1 else raw}
    for name in options.presets:
        versions[Path(name).stem] = render(raw, sample_rate, find_preset(name)).samples
    versions = {name: np.broadcast_to(v, (2, v.shape[1])) for name, v in versions.items()}

    # The loudest level that lets none of them clip.
    loudness = {name: loudness_lufs(v, sample_rate) for name, v in versions.items()}
    room_db = min(LOUDEST_PEAK_DBFS - peak_dbfs(v) + loudness[n] for n, v in versions.items())
    options.output.mkdir(parents=True, exist_ok=True)
    for name, samples in versions.items():
        gain_db = room_db - loudness[name]
        path = options.output / f"{options.raw.stem}.{name}.wav"
        matched = (samples * 10.0 ** (gain_db / 20.0)).astype(np.float32)
        write_audio(path, matched, sample_rate, bit_depth="24", force=True)
        print(f"{path}: {room_db:.1f} LUFS ({gain_db:+.1f} dB)")


if __name__ == "__main__":
    main()
