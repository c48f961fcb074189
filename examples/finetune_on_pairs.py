"""Fine-tune the shipped model on pairs of raw and mixed vocals, and measure its distance to them.

``python examples/finetune_on_pairs.py --raw raw/ --mixed mixed/ -o studio/``

Without folders of your own it makes six small pairs: the example vocal, sung higher and lower,
mixed by one factory preset. A real studio has 50 to 200 pairs, and takes `--minutes 10`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from diffconsole.audio import read_audio, resample, write_audio
from diffconsole.console.render import render
from diffconsole.jobs import finetune_on_pairs
from diffconsole.pairs import find_pairs, load_pair
from diffconsole.strip.preset import find_preset
from diffconsole.training.finetuning.finetune import FinetuneOptions

HERE = Path(__file__).parent


def make_pairs(folder: Path) -> tuple[Path, Path]:
    """Write raw and mixed vocals of a studio that mixes everything alike."""
    preset = find_preset("rock_lead")
    sung, sample_rate = read_audio(HERE / "vocal.wav")
    raw_folder, mixed_folder = folder / "raw", folder / "mixed"
    for place in (raw_folder, mixed_folder):
        place.mkdir(parents=True)
    for number, semitones in enumerate((-4, -2, 0, 2, 4, 6)):
        raw = resample(sung, round(sample_rate * 2 ** (semitones / 12)), sample_rate)
        raw = raw[:, : 4 * sample_rate]
        mixed = render(raw, sample_rate, preset, tail_seconds=0.0).samples
        write_audio(raw_folder / f"take {number}_raw.wav", raw, sample_rate)
        write_audio(mixed_folder / f"take {number}_mix.wav", mixed, sample_rate)
    return raw_folder, mixed_folder


def main() -> None:
    """Read the command line, pair, fine-tune, compare, save."""
    parser = argparse.ArgumentParser(description="Fine-tune on a studio's pairs.")
    parser.add_argument("--raw", type=Path, help="folder of raw vocals")
    parser.add_argument("--mixed", type=Path, help="folder of mixed vocals, of the same names")
    parser.add_argument("--minutes", type=float, default=0.3, help="time budget for training")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/studio"), help="model")
    options = parser.parse_args()
    if (options.raw is None) != (options.mixed is None):
        parser.error("give both --raw and --mixed, or none")

    with tempfile.TemporaryDirectory() as temporary:
        raw, mixed = options.raw, options.mixed
        if raw is None:
            raw, mixed = make_pairs(Path(temporary))
        files, left_over = find_pairs(raw, mixed)
        for line in left_over:
            print(f"left out: {line}")
        pairs = [load_pair(entry) for entry in files]
    settings = FinetuneOptions(minutes=options.minutes, held_out=0.2)
    # Replaces an earlier model. Without `force` it would be refused, and a stopped run resumed.
    made = finetune_on_pairs(pairs, options.output, settings, force=True)

    print(f"{options.output}: {made.trained} pairs trained on, {len(made.names)} held out")
    print("distance to the mixes held out (lower is better):")
    for name, (mean, _) in made.table().items():
        print(f"  {name:<28} {mean:.3f}")


if __name__ == "__main__":
    main()
