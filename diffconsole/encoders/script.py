"""Any TorchScript file or exported program as an encoder, from an author whom you trust.

A TorchScript file runs its author's code. So does reading what ``torch.export.save`` writes
(``.pt2``), which must therefore be said to be trusted; what is kept of it runs nothing (see
``program.py``).

What the network takes and gives is found out by trial: ``(batch, 1, samples)`` or
``(batch, samples)`` goes in, ``(batch, frames, dim)``, ``(batch, dim, frames)`` or ``(batch, dim)``
comes out, alone or first of several outputs. Two lengths of audio distinguish frames from features:
the frames are what grows.

Whether such a network keeps the level of the audio cannot be known, so each frame's level is one
more feature. The file itself goes into a saved model's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import scaled_level
from .exported import is_exported, rewritten
from .program import Program, holds_program
from .torchscript import FileEncoder, last_line, load_script, parts_of, read_file

__all__ = ["ScriptEncoder"]

LARGEST_DIM = 65536
MOST_FRAMES_PER_SECOND = 1000
INPUTS = ("batch, 1, samples", "batch, samples")
OUTPUTS = ("batch, frames, dim", "batch, dim, frames", "batch, dim")


class ScriptEncoder(FileEncoder):
    """See the module.

    Parameters
    ----------
    file : bytes
        What ``torch.jit.save`` wrote, or what was made of an exported program.
    sample_rate : int
        Hz.
    about : str
        Which network it is.
    """

    name = "script"

    def __init__(self, file: bytes, sample_rate: int, about: str = "") -> None:
        super().__init__(file, sample_rate, about)
        self.network = Program(file) if holds_program(file) else load_script(file)
        # A program of a fixed length gives as many frames as that goes into the audio.
        step = (self.network.length if isinstance(self.network, Program) else None) or 1
        trial = -(-sample_rate // step) * step
        self.takes, self.gives, self.dim, frames = _try_out(self.network, trial)
        self.dim += 1
        self.frames_per_second = frames * sample_rate / trial

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        mono = audio.mean(dim=1, keepdim=True)
        found = _first(self.network(mono if self.takes == INPUTS[0] else mono[:, 0]))
        if self.gives == "batch, dim, frames":
            found = found.transpose(1, 2)
        elif self.gives == "batch, dim":
            found = found.unsqueeze(1)
        power = nn.functional.adaptive_avg_pool1d(mono.square(), found.shape[1])
        return torch.cat((found, scaled_level(power).transpose(1, 2)), dim=-1)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the parts that have weights, in the order in which the file's author made them.

        A frozen file has none: then only the head is trained.
        """
        whole = self.network.weights if isinstance(self.network, Program) else self.network
        return parts_of(whole)

    @classmethod
    def runs_code(cls, file: bytes) -> bool:
        """TorchScript does; what was made of an exported program does not."""
        return not holds_program(file)

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> ScriptEncoder:
        """Build from a TorchScript file or an exported program, which do not state their rate."""
        if source is None:
            raise ModelError("encoder 'script': give a TorchScript file, as script:encoder.pt")
        if sample_rate is None:
            raise ModelError(
                f"script:{source}: a TorchScript file does not state its sample rate; "
                "give it by --encoder-rate"
            )
        path = Path(source)
        file = read_file(path)
        if is_exported(file):
            if not trust:
                raise ModelError(
                    f"{path}: is an exported program; reading it can run code of whoever made it, "
                    "as a script does. If you trust that person, add --trust-checkpoint"
                )
            try:
                file = rewritten(file, sample_rate)
            except ValueError as error:
                raise ModelError(f"{path}: {error}") from None
        return cls.of_file(file, path, sample_rate=sample_rate, about=path.name)


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, (tuple, list)) and output else output


@torch.no_grad()
def _try_out(network: nn.Module, samples: int) -> tuple[str, str, int, int]:
    """What a network takes and gives, how many features, how many more frames in twice as much."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2, 1, 2 * samples, generator=generator)
    said = []
    for takes in INPUTS:
        audio = noise if takes == INPUTS[0] else noise[:, 0]
        found = []
        for length in (samples, 2 * samples):
            try:
                found.append(_first(network(audio[..., :length])))
            # The author's code may raise anything; torch.jit.Error is no subclass of one kind.
            except Exception as error:  # noqa: BLE001
                said.append(f"({takes}) gave an error, {last_line(error)}")
                break
        if len(found) < 2:
            continue
        try:
            return takes, *_layout(*found)
        except ValueError as error:
            said.append(f"({takes}) gave {error}")
    raise ValueError(f"cannot be used as an encoder: {'; '.join(said)}")


def _layout(short: Any, long: Any) -> tuple[str, int, int]:
    """What the axes are, how many features there are, and how many frames the longer has more.

    Raises
    ------
    ValueError
        It cannot be found out, or is none of ``OUTPUTS``.
    """
    for found in (short, long):
        if not isinstance(found, Tensor) or not found.is_floating_point():
            raise ValueError("no tensor of floating-point numbers")
        if found.ndim not in (2, 3) or found.shape[0] != 2 or 0 in found.shape:
            raise ValueError(f"{tuple(found.shape)} for a batch of 2, none of {', '.join(OUTPUTS)}")
        if not bool(found.isfinite().all()):
            raise ValueError("NaN or infinity")
    grows = [i for i, (a, b) in enumerate(zip(short.shape, long.shape, strict=True)) if a != b]
    shapes = f"{tuple(short.shape)} for a second, {tuple(long.shape)} for two"
    if short.ndim == 2 and not grows:
        gives, dim, frames = OUTPUTS[2], short.shape[1], 0
    elif short.ndim == 3 and len(grows) == 1:
        axis = grows[0]
        gives, dim = (OUTPUTS[0], short.shape[2]) if axis == 1 else (OUTPUTS[1], short.shape[1])
        frames = long.shape[axis] - short.shape[axis]
    else:
        raise ValueError(f"{shapes}, which does not distinguish frames from features")
    if dim > LARGEST_DIM or not 0 <= frames <= MOST_FRAMES_PER_SECOND:
        raise ValueError(f"{shapes}: no {MOST_FRAMES_PER_SECOND} frames a second at most")
    return gives, dim, frames
