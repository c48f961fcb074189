"""aiSFX: a convolutional network for sound effects, from the package of that name.

The network of A. Ma and others, "Representation learning for the automatic indexing of sound
effects libraries" (ISMIR 2022), CC BY 4.0: the file ``aisfx/models/checkpoint.pth`` of PyPI's
``aisfx`` 0.1.2. The package itself is not needed; its file, its folder or its wheel is.

Spectrogram as its makers computed it: Hann window of 2048 samples, power in 96 mel bands (HTK's
scale, 0 Hz to 22.05 kHz, triangles on the mel axis, each band's weights summing to 1), then
``log10(1 + 10⁴·power)`` over the largest value that they met. Four blocks of two 3×3 convolutions;
the first three halve time and frequency. A frame's features are the means over frequency. The
level stays in them, since the spectrogram keeps it.
"""

from __future__ import annotations

import importlib
import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Encoder
from .weights import package_folder

__all__ = ["AisfxEncoder"]

INSIDE = "aisfx/models/checkpoint.pth"
LARGEST_BYTES = 256 << 20
LARGEST_MET = 9.457798957824707
N_FFT, HOP, MELS = 2048, 1024, 96
BLOCKS = 4
WIDEST = 4096
MEL_BREAK_HZ = 700.0
WEIGHT = re.compile(r"(?:.*\.)?conv_block([1-4])\.((?:conv|bn)[12]\.\w+)")


class _Block(nn.Module):
    """Two 3×3 convolutions, each normalised, then the largest of each pooled field."""

    def __init__(self, before: int, after: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return nn.functional.max_pool2d(self.bn2(self.conv2(x)).relu(), self.pool)


class AisfxEncoder(Encoder):
    """See the module. 44.1 kHz; one frame each eight hops of 1024 samples.

    Parameters
    ----------
    width : int
        Channels of the first block; each block has twice as many as the one before.
    """

    name = "aisfx"
    about = "aiSFX, a convolutional network for sound effects (ISMIR 2022)"
    licence = "CC BY 4.0"
    sample_rate = 44100

    bank: Tensor
    window: Tensor

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        if type(width) is not int or not 1 <= width <= WIDEST:
            raise ValueError(f"width is {width!r}, not a whole number from 1 to {WIDEST}")
        widths = [width * 2**n for n in range(BLOCKS)]
        pools = [2] * (BLOCKS - 1) + [1]
        self.blocks = nn.ModuleList(
            _Block(before, after, pool)
            for before, after, pool in zip([1, *widths], widths, pools, strict=False)
        )
        self.register_buffer("bank", _mel_bank(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)
        self.width, self.dim = width, widths[-1]
        self.pooled = 2 ** (BLOCKS - 1)
        self.frames_per_second = self.sample_rate / (HOP * self.pooled)

    def spectrogram(self, mono: Tensor) -> Tensor:
        """Turn ``(batch, samples)`` into ``(batch, frames, mels)``, 0…1 for ordinary sound."""
        spectrum = torch.stft(
            mono, N_FFT, HOP, window=self.window, pad_mode="constant", return_complex=True
        )
        power = torch.view_as_real(spectrum).square().sum(dim=-1).transpose(1, 2)
        return torch.log10(1.0 + 1e4 * (power @ self.bank)) / LARGEST_MET

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at 44.1 kHz into ``(batch, frames, dim)``."""
        x = self.spectrogram(audio.mean(dim=1))
        # Each pooling of an odd length leaves out the last: silence fills it up.
        x = nn.functional.pad(x, (0, 0, 0, -x.shape[1] % self.pooled)).unsqueeze(1)
        for block in self.blocks:
            x = block(x)
        return x.mean(dim=3).transpose(1, 2)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the four blocks."""
        return [(f"block_{n + 1}", block) for n, block in enumerate(self.blocks)]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"width": self.width}

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> AisfxEncoder:
        """Build from the checkpoint, the package's folder or its wheel; by default as installed."""
        path = (
            Path(source) if source is not None else package_folder("aisfx", "aisfx", "aisfx==0.1.2")
        )
        held = _weights_in(path)
        taken: dict[str, Tensor] = {}
        for key, value in held.items():
            match = WEIGHT.fullmatch(key) if isinstance(key, str) else None
            if match and isinstance(value, Tensor):
                taken[f"blocks.{int(match[1]) - 1}.{match[2]}"] = value
        first = taken.get("blocks.0.conv1.weight")
        if first is None or first.ndim != 4:
            raise ModelError(f"{path}: no checkpoint of aiSFX: it lacks conv_block1.conv1.weight")
        try:
            encoder = cls(int(first.shape[0]))
        except ValueError as error:
            raise ModelError(f"{path}: {error}") from None
        wanted = encoder.state_dict()
        wrong = [
            key
            if key not in taken
            else f"{key} {tuple(taken[key].shape)} instead of {tuple(value.shape)}"
            for key, value in wanted.items()
            if key not in taken or taken[key].shape != value.shape
        ]
        if wrong:
            raise ModelError(f"{path}: no checkpoint of aiSFX: lacks {', '.join(wrong[:3])}")
        encoder.load_state_dict({key: taken[key].float() for key in wanted})
        return encoder


def _mel_bank() -> Tensor:
    """``(bins, mels)``: triangles on the mel axis, each band's weights summing to 1."""
    bins_hz = np.fft.rfftfreq(N_FFT, 1.0 / AisfxEncoder.sample_rate)
    mel = np.log1p(bins_hz / MEL_BREAK_HZ)
    points = np.linspace(0.0, mel[-1], MELS + 2)
    rise = (mel[:, None] - points[:-2]) / np.diff(points)[:-1]
    fall = (points[2:] - mel[:, None]) / np.diff(points)[1:]
    weights = np.clip(np.minimum(rise, fall), 0.0, None)
    return torch.from_numpy(weights / weights.sum(axis=0)).float()


def _weights_in(path: Path) -> Mapping[str, Any]:
    """The checkpoint's state dict; nothing in the file is run."""
    for inside in (path / INSIDE, path / INSIDE.removeprefix("aisfx/")):
        if inside.is_file():
            path = inside
    try:
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as wheel:
                if wheel.getinfo(INSIDE).file_size > LARGEST_BYTES:
                    raise ModelError(f"{path}: its checkpoint is larger than any of aiSFX")
                content = wheel.read(INSIDE)
        else:
            if path.stat().st_size > LARGEST_BYTES:
                raise ModelError(f"{path}: larger than any checkpoint of aiSFX")
            content = path.read_bytes()
        with torch.serialization.safe_globals(_numbers()):
            held = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); give the checkpoint, folder or wheel of "
            "aisfx"
        ) from None
    except (KeyError, zipfile.BadZipFile):
        raise ModelError(f"{path}: no wheel of aisfx: {INSIDE} is not in it") from None
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, LookupError):
        raise ModelError(
            f"{path}: damaged, or no checkpoint of aiSFX; get the file again"
        ) from None
    if isinstance(held, (tuple, list)) and held:
        held = held[0]
    if not isinstance(held, Mapping):
        raise ModelError(f"{path}: holds no state dict, so it is no checkpoint of aiSFX")
    return held


def _numbers() -> list[Any]:
    """NumPy's numbers, as the file counts classes beside the weights; no other type is let in."""
    core = "_core" if int(np.__version__.split(".")[0]) >= 2 else "core"
    scalar = importlib.import_module(f"numpy.{core}.multiarray").scalar
    kinds = (type(np.dtype(kind)) for kind in ("i8", "f8"))
    named = [(scalar, f"numpy.{place}.multiarray.scalar") for place in ("core", "_core")]
    return [*named, np.dtype, *kinds]
