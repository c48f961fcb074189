"""A package that adds an encoder and a format, as a wheel that the tests install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

__all__ = ["ENCODER", "FORMAT", "install"]

ENCODER = '''
"""An encoder of another package: level and brightness of frames."""

import torch
from diffconsole.encoders import Family
from diffconsole.encoders.base import Encoder

FAMILY = Family(
    "tiny_console_tools", "Tiny", "level and brightness of frames of 50 ms", "", 16000, 4,
    "MIT", "nothing more", "in the package tiny-console-tools",
)


class Tiny(Encoder):
    name, about, licence = "tiny", "level and brightness of frames of 50 ms", "MIT"
    sample_rate, dim, frames_per_second = 16000, 4, 20.0

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = gain
        self.layer = torch.nn.Linear(2, self.dim)

    def forward(self, audio):
        frames = (self.gain * audio.mean(dim=1)).unfold(-1, 800, 800)
        level = frames.square().mean(dim=-1)
        change = frames.diff(dim=-1).square().mean(dim=-1)
        return self.layer(torch.log10(torch.stack((level, change), dim=-1) + 1e-9))

    def stages(self):
        return [("layer", self.layer)]

    def config(self):
        return {"gain": self.gain}
'''

FORMAT = """
from diffconsole.export import Format, Mapped

FORMAT = Format(
    key="tinytext",
    title="Tiny console tools: the compressor's ratio as text",
    ending=".tiny",
    write=lambda strip: {"": f"ratio {strip['compressor.ratio']:.3f}".encode()},
    mapped=(Mapped("compressor.ratio", "ratio"),),
    lost={"reverb": "is left out by tiny console tools"},
)
"""


def install(
    folder: Path,
    entry_points: dict[str, dict[str, str]],
    source: str = ENCODER + FORMAT,
    modules: dict[str, str] | None = None,
) -> Path:
    """Install the package by pip into a folder for the Python path.

    Parameters
    ----------
    folder : Path
        Gets the wheel and what is installed.
    entry_points : dict of str to dict of str to str
        By group, the objects by name.
    source : str
        Of the package's only module.
    modules : dict of str to str, optional
        By file name, the sources of several modules, in place of `source`.

    Returns
    -------
    Path
        The folder for the path.
    """
    name, version = "tiny_console_tools", "0.1"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    groups = "\n".join(
        f"[{group}]\n" + "\n".join(f"{key} = {value}" for key, value in objects.items())
        for group, objects in entry_points.items()
    )
    files = {
        **({f"{name}.py": source} if modules is None else modules),
        f"{name}-{version}.dist-info/METADATA": (
            "Metadata-Version: 2.1\nName: tiny-console-tools\nVersion: 0.1\n"
        ),
        f"{name}-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{name}-{version}.dist-info/entry_points.txt": groups + "\n",
    }
    record = "\n".join(f"{path},," for path in files)
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
        archive.writestr(f"{name}-{version}.dist-info/RECORD", record + "\n")
    place = folder / "installed"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--disable-pip-version-check", "--target", str(place), str(wheel)],
        check=True,
    )  # fmt: skip
    return place
