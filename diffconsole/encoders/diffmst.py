"""Diff-MST: the encoders of a network that transfers the style of a mix.

S. Vanka and others, "Diff-MST: Differentiable Mixing Style Transfer" (ISMIR 2024). Structure and
names after the code that is public as sai-soum/Diff-MST (CC BY-NC-SA 4.0, so non-commercial;
nothing else is stated of its weights). A checkpoint is Lightning's and holds two encoders of the
same kind: ``model.track_encoder`` for single tracks, ``model.mix_encoder`` for reference mixes.

Each encodes one channel (both channels of a mix are encoded one by one, so here their mean is): the
magnitudes of a Hann STFT of 2048 samples each 512, ``(|X| + 10⁻⁸)^0.3``, no normalisation, then
Cnn14 of PANNs: six blocks of two 3×3 convolutions, pooled by averages of 2×2, 4×4, 4×2, 4×2, 4×2
and 2×2 (frequency × time), the mean over frequency, the largest plus the mean over time, and a
linear map. Before the sum over time there is a frame each 1.49 s. The features of a frame are what
the linear map makes of twice the frame: the published embedding of a clip that had this frame only.
Audio shorter than a frame is filled up with silence; what is over behind the last is left out, as
by the network.

The network was trained with single tracks at −48 LUFS (``target_track_lufs_db``), mixes
at −16 LUFS. Vocals come here at −18 LUFS, so the track encoder gets them 30 dB lower; the gain is
fixed, and the level stays in the features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Encoder
from .lightning import read_lightning
from .weights import load_exactly

__all__ = ["DiffMstEncoder"]

PARTS = {"track": -30.0, "mix": 0.0}
"""By encoder, dB that the audio is changed by before it is encoded."""

N_FFT, HOP = 2048, 512
POOLS = ((2, 2), (4, 4), (4, 2), (4, 2), (4, 2), (2, 2))
POOLED = 128
"""Frames of the spectrogram per frame of the features."""

WIDEST, LARGEST_DIM, MOST_INPUTS = 128, 8192, 2
HINTS_BYTES = 1 << 20


class _Block(nn.Module):
    """Two 3×3 convolutions, each normalised, then the mean of each pooled field."""

    def __init__(self, before: int, after: int, pool: tuple[int, int], batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn1, self.bn2 = (
            nn.BatchNorm2d(after) if batch_norm else nn.Identity() for _ in range(2)
        )
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return nn.functional.avg_pool2d(self.bn2(self.conv2(x)).relu(), self.pool)


class _Cnn14(nn.Module):
    """Spectrogram → frames of features, under the names that the file has."""

    def __init__(self, inputs: int, width: int, dim: int, batch_norm: bool) -> None:
        super().__init__()
        widths = [inputs, *(width * 2**n for n in range(len(POOLS)))]
        for n, pool in enumerate(POOLS):
            block = _Block(widths[n], widths[n + 1], pool, batch_norm)
            self.add_module(f"conv_block{n + 1}", block)
        self.fc = nn.Linear(widths[-1], dim)

    def blocks(self) -> list[nn.Module]:
        return [self.get_submodule(f"conv_block{n + 1}") for n in range(len(POOLS))]

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks():
            x = block(x)
        # The largest plus the mean over time, of one frame.
        return self.fc(2.0 * x.mean(dim=2).transpose(1, 2))


class DiffMstEncoder(Encoder):
    """See the module. 44.1 kHz; one frame each 128 hops of 512 samples.

    Parameters
    ----------
    part : str
        ``track`` or ``mix``: which of the two encoders, which decides the level of its input.
    width : int
        Channels of the first block; each block has twice as many as the one before.
    dim : int
        Features per frame.
    inputs : int
        Channels that the network encodes together; one in all published configurations.
    batch_norm : bool
        Whether the convolutions are normalised.
    """

    name = "diffmst"
    licence = "CC BY-NC-SA 4.0: non-commercial"
    sample_rate = 44100

    window: Tensor

    def __init__(
        self,
        part: str = "track",
        width: int = 64,
        dim: int = 512,
        inputs: int = 1,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, not one of {', '.join(PARTS)}")
        numbers = {"width": (width, WIDEST), "dim": (dim, LARGEST_DIM)}
        for key, (number, most) in {**numbers, "inputs": (inputs, MOST_INPUTS)}.items():
            if type(number) is not int or not 1 <= number <= most:
                raise ValueError(f"{key} is {number!r}, not a whole number from 1 to {most}")
        self.part, self.width, self.dim, self.inputs = part, width, dim, inputs
        self.batch_norm = bool(batch_norm)
        self.about = f"Diff-MST (ISMIR 2024), its {part} encoder"
        self.gain = 10.0 ** (PARTS[part] / 20.0)
        self.model = _Cnn14(inputs, width, dim, self.batch_norm)
        self.register_buffer("window", torch.hann_window(N_FFT))
        self.frames_per_second = self.sample_rate / (HOP * POOLED)

    def spectrogram(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, inputs, samples)`` into ``(batch, inputs, bins, frames)``."""
        flat = audio.flatten(0, 1) * self.gain
        spectrum = torch.stft(flat, N_FFT, HOP, window=self.window, return_complex=True)
        return ((spectrum.abs() + 1e-8) ** 0.3).unflatten(0, audio.shape[:2])

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at 44.1 kHz into ``(batch, frames, dim)``."""
        if self.inputs == 1:
            audio = audio.mean(dim=1, keepdim=True)
        elif audio.shape[1] == 1:
            audio = audio.expand(-1, self.inputs, -1)
        missing = (POOLED - 1) * HOP - audio.shape[-1]
        audio = nn.functional.pad(audio, (0, max(0, missing)))
        if self.training:
            return self.model(self.spectrogram(audio))
        # One by one: the first block of the published width takes 300 MB for five seconds.
        return torch.cat([self.model(self.spectrogram(one)) for one in audio.split(1)])

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the six blocks and the linear map."""
        blocks = [(f"block_{n + 1}", block) for n, block in enumerate(self.model.blocks())]
        return [*blocks, ("projection", self.model.fc)]

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "part": self.part,
            "width": self.width,
            "dim": self.dim,
            "inputs": self.inputs,
            "batch_norm": self.batch_norm,
        }

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> DiffMstEncoder:
        """Build from a checkpoint: ``FILE`` for the track encoder, ``FILE:mix`` for the other."""
        if source is None:
            raise ModelError(
                "encoder 'diffmst': give a checkpoint, as diffmst:FILE, or diffmst:FILE:mix for "
                "the encoder of mixes"
            )
        file, colon, part = source.rpartition(":")
        if not colon or part not in PARTS:
            file, part = source, "track"
        path = Path(file)
        state = read_lightning(path, trust=trust)
        _check_hints(path, part)
        prefix = f"model.{part}_encoder."
        try:
            encoder = cls(part, **_structure(state, prefix, path))
        except ValueError as error:
            raise ModelError(f"{path}: no checkpoint of Diff-MST: {error}") from None
        load_exactly(encoder, state, str(path), "checkpoint of Diff-MST", prefix)
        return encoder


def _structure(state: Mapping[str, Any], prefix: str, path: Path) -> dict[str, Any]:
    """The constructor's arguments, as the shapes of the weights show them."""
    shapes = []
    for key, axes in (("model.conv_block1.conv1.weight", 4), ("model.fc.weight", 2)):
        held = state.get(prefix + key)
        if not isinstance(held, Tensor) or held.ndim != axes:
            raise ModelError(f"{path}: no checkpoint of Diff-MST: lacks {prefix}{key}")
        shapes.append(held.shape)
    if f"{prefix}bn.weight" in state:
        raise ModelError(
            f"{path}: normalises its spectrograms ({prefix}bn.weight), which takes three channels; "
            "no published network does"
        )
    norms = re.compile(re.escape(prefix) + r"model\.conv_block\d\.bn\d\.")
    return {
        "width": int(shapes[0][0]),
        "inputs": int(shapes[0][1]),
        "dim": int(shapes[1][0]),
        "batch_norm": any(isinstance(key, str) and norms.match(key) for key in state),
    }


def _check_hints(path: Path, part: str) -> None:
    """Refuse what the configuration beside a checkpoint states, and its weights do not.

    The few lines that matter are found by their names; without the file, they are taken as they are
    in all published configurations.
    """
    wanted = {f"{part}_encoder": {"n_fft": N_FFT, "hop_length": HOP}}
    wanted["mix_console"] = {"sample_rate": DiffMstEncoder.sample_rate}
    places = [path.with_suffix(".yaml"), path.parent / "config.yaml"]
    if path.parent.name == "checkpoints":
        places.append(path.parent.parent / "config.yaml")
    for place in places:
        if not place.is_file() or place.stat().st_size > HINTS_BYTES:
            continue
        text = place.read_text(encoding="utf-8", errors="replace")
        for section, numbers in wanted.items():
            for key, number in numbers.items():
                found = re.search(
                    rf"(?m)^[ \t]*{key}[ \t]*:[ \t]*(\d+(?:\.\d*)?)", _section(text, section)
                )
                if found and float(found[1]) != number:
                    raise ModelError(
                        f"{place}: {section} has {key} {found[1]}; only networks with {number} "
                        "are known"
                    )
        return


def _section(text: str, name: str) -> str:
    """The lines of a YAML file that are indented under a name."""
    found = re.search(rf"(?m)^( *){name}:[ \t]*$((?:\n\1[ \t]+\S.*|\n[ \t]*$)*)", text)
    return found[2] if found else ""
