"""Predict a vocal's settings, write them as JSON, change one by hand, write again.

``python examples/export_preset.py --raw take.wav -o out/``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffconsole import Predictor, Preset
from diffconsole.audio import read_audio

HERE = Path(__file__).parent


def main() -> None:
    """Read the command line, predict, write two presets."""
    parser = argparse.ArgumentParser(description="Export predicted settings as JSON.")
    parser.add_argument("--raw", type=Path, default=HERE / "vocal.wav", help="a raw vocal")
    parser.add_argument("--model", type=Path, help="a model that finetune wrote")
    parser.add_argument("-o", "--output", type=Path, default=Path("out"), help="folder")
    options = parser.parse_args()

    samples, sample_rate = read_audio(options.raw)
    prediction = Predictor.load(options.model).predict(samples, sample_rate)
    preset = Preset.from_settings(prediction.settings, name=f"{options.raw.stem}, predicted")
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{options.raw.stem}.preset.json"
    preset.write(path, force=True)
    low, high = prediction.uncertainty["reverb.wet_db"]
    print(f"{path}: reverb at {preset.settings()['reverb.wet_db']:.1f} dB")
    print(f"the model would also believe {low:.1f} to {high:.1f} dB")

    # A preset is plain JSON, for an editor as for a script; settings carry their unit's name.
    data = Preset.read(path).to_dict()
    data["name"] = f"{options.raw.stem}, drier"
    data["reverb"]["wet_db"] = max(data["reverb"]["wet_db"] - 6.0, -60.0)
    drier = options.output / f"{options.raw.stem}_drier.preset.json"
    Preset.from_dict(data).write(drier, force=True)
    print(f"{drier}: reverb at {data['reverb']['wet_db']:.1f} dB")


if __name__ == "__main__":
    main()
