"""Draw EQ, compressor and reverb curves of presets, and what the first does to a vocal.

``python examples/plot_curves.py lead_vocal_pop mine.preset.json -o out/curves.svg``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffconsole.audio import read_audio
from diffconsole.plots import StripView, plot_presets
from diffconsole.strip.preset import find_preset

HERE = Path(__file__).parent


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description="Plot parameter curves.")
    choice = ["lead_vocal_pop", "telephone"]
    parser.add_argument("presets", nargs="*", default=choice, help="files or factory keys")
    parser.add_argument("--raw", type=Path, default=HERE / "vocal.wav", help="a raw vocal")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("out/curves.png"), help=".png, .svg or .pdf"
    )
    options = parser.parse_args()

    views = []
    for name in options.presets:
        preset = find_preset(name)
        views.append(StripView(preset.name or name, preset.settings(), preset.bypass()))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    plot_presets(views, options.output, raw=read_audio(options.raw), force=True)
    print(f"{options.output}: {', '.join(view.name for view in views)}")


if __name__ == "__main__":
    main()
