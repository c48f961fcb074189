"""The curve that each of some real voices needed, and those of two models, as a picture.

Grey: by what the engineer's mix differs from the raw vocal in third octaves, both at one loudness
(the compressor's and the reverb's part of it included). Coloured: the EQ that each model predicts.
In the titles the distance of each model's result to the mix.

Run: ``python -m tests.benchmarks.first_curves --before MODEL [--after MODEL] -o curves.png``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from diffconsole import Predictor, Preset
from diffconsole.modules.equalizer.process import equalizer_sections, response
from diffconsole.pairs import PAIR_RATE, Pair, PairFiles, load_pair
from diffconsole.pairs.evaluation import preset_distance
from diffconsole.pairs.residual import BANDS_HZ, measure_residual
from tests.benchmarks.first_model import DATA

SONGS = ("Country1", "Disco", "Gospel", "Punk")
COLOURS = ("tab:orange", "tab:blue")


def needed_db(pair: Pair) -> np.ndarray:
    """By what the mix differs from the raw vocal, ``(bands,)`` about its mean over the voice."""
    unchanged = Preset.from_settings({"input_gain.gain_db": 0.0})
    residual = measure_residual(pair, unchanged)
    difference = residual.mix_band_db - residual.result_band_db
    voiced = residual.mix_band_db > residual.mix_band_db.max() - 40.0
    return np.where(voiced, difference - difference[voiced].mean(), np.nan)


def curve_db(settings: dict[str, float], freq_hz: np.ndarray) -> np.ndarray:
    """The EQ of a strip."""
    tensors = {key: torch.tensor([value]).double() for key, value in settings.items()}
    sections = equalizer_sections(PAIR_RATE, tensors)
    magnitude = response(sections, PAIR_RATE, torch.from_numpy(freq_hz)).abs()
    return (20.0 * magnitude.log10()).sum(dim=1)[0].numpy()


def main() -> int:
    """Draw."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--after", type=Path)
    parser.add_argument("--songs", default=",".join(SONGS))
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    folders = [next((DATA / "real_pairs").glob(f"*{song}*")) for song in arguments.songs.split(",")]
    models = {"before": Predictor.load(arguments.before), "now": Predictor.load(arguments.after)}
    freq_hz = np.geomspace(50.0, 16000.0, 200)
    figure, axes = plt.subplots(2, 2, figsize=(9.0, 6.0), sharex=True, sharey=True)
    for axis, folder in zip(axes.flat, folders, strict=True):
        pair = load_pair(PairFiles(folder.name, folder / "raw.mp3", folder / "mixed.mp3"))
        axis.plot(BANDS_HZ, needed_db(pair), color="0.55", lw=3.0, label="mix against raw")
        distances = []
        for (name, model), colour in zip(models.items(), COLOURS, strict=True):
            settings = model.predict(pair.raw, PAIR_RATE).settings
            axis.semilogx(freq_hz, curve_db(settings, freq_hz), color=colour, label=f"EQ, {name}")
            distance = preset_distance(pair, Preset.from_settings(settings))
            distances.append(f"{name} {distance:.2f}")
            print(f"{folder.name} {distances[-1]}", flush=True)
        song = folder.name.split("_")[-1]
        axis.set_title(f"{song}: distance {', '.join(distances)}", fontsize=9)
        axis.axhline(0.0, color="0.8", lw=0.8, zorder=0)
        axis.set_ylim(-12.0, 12.0)
        axis.grid(alpha=0.2, which="both")
    for axis in axes[-1]:
        axis.set_xlabel("Frequency (Hz)")
    for axis in axes[:, 0]:
        axis.set_ylabel("Level (dB)")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(arguments.output, dpi=110)
    return 0


if __name__ == "__main__":
    sys.exit(main())
