"""Runs what ``lv2`` exports: LSP's plug-ins in lv2apply, the reverb's return beside them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from diffconsole.export import Strip
from diffconsole.export.lv2 import FORMAT, plugins
from tests.export.helpers import needs

LSP = Path("/usr/lib/lv2/lsp-plugins.lv2")


def needs_lsp() -> None:
    """Skip the test where lv2apply or LSP's plug-ins are missing."""
    needs(shutil.which("lv2apply"), "lv2apply (Debian: lilv-utils)")
    listing = subprocess.run(["lv2ls"], capture_output=True, text=True, check=True).stdout
    if "http://lsp-plug.in/plugins/lv2/compressor_mono" not in listing:
        needs(None, "the package of LSP's plug-ins (Debian: lsp-plugins-lv2)")


def write(strip: Strip, folder: Path) -> Path:
    """Write the export into a folder; return the bundle."""
    for name, content in FORMAT.write(strip).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return next(folder.glob("*.preset.lv2"))


def run_lv2(strip: Strip, audio: np.ndarray) -> np.ndarray:
    """What the exported files make of ``(channels, samples)``.

    run.sh plays all but the reverb's return, which the ports and the impulse response as written
    give by convolution here.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = write(strip, folder)
        soundfile.write(folder / "in.wav", audio.T, strip.sample_rate, subtype="FLOAT")
        command = ["sh", "run.sh", "in.wav", "out.wav"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        played = _read(folder / "out.wav")
        if not strip.on("reverb") and not strip.on("delay"):
            return played
        # What the reverb's plug-in gets: the same chain without it.
        lines = (folder / "run.sh").read_text().splitlines()
        before = [line for line in lines if "impulse_reverb" not in line]
        before[-1] = before[-1].replace(_target(before[-1]), '"$2"')
        (folder / "before.sh").write_text("\n".join(before) + "\n")
        command = ["sh", "before.sh", "in.wav", "before.wav"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        returned = reverb_return(
            plugins(strip)["reverb"][1],
            _read(folder / "before.wav"),
            _read(bundle / "impulse_response.wav"),
        )
        return played + returned


def reverb_return(ports: dict[str, float], into: np.ndarray, response: np.ndarray) -> np.ndarray:
    """What LSP's impulse reverb adds to the dry signal, as its ports say."""
    returned = np.zeros((2, into.shape[1]))
    for place in range(2):
        mix = ports.get(f"cim{place}", -100.0)
        weights = [(100.0 - mix) / 200.0, (100.0 + mix) / 200.0][: len(into)]
        send = ports[f"mk{place}"] * np.tensordot(weights, into.astype(np.float64), 1)
        wet = scipy.signal.oaconvolve(send, response[int(ports[f"cst{place}"])])[: into.shape[1]]
        out = ports[f"com{place}"]
        returned += np.array([[(100.0 - out) / 200.0], [(100.0 + out) / 200.0]]) * wet
    return returned * ports["wet"] * ports["g_out"]


def _target(line: str) -> str:
    return line.split(" -o ")[1].split(" ")[0]


def _read(path: Path) -> np.ndarray:
    samples, _ = soundfile.read(path, always_2d=True)
    return samples.T
