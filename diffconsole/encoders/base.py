"""What every encoder offers: audio in, features per frame out, stages that can be frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

__all__ = ["Encoder"]


class Encoder(nn.Module, ABC):
    """A network that hears a vocal.

    Attributes
    ----------
    name : str
        Key in the registry.
    sample_rate : int
        Hz that the audio must have.
    dim : int
        Features per frame.
    frames_per_second : float
        Frames of the output per second of audio.
    """

    name: str
    sample_rate: int
    dim: int
    frames_per_second: float

    @abstractmethod
    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``.

        The level of the audio stays in the features.
        """

    @abstractmethod
    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the named parts from the input up, for freezing from the bottom."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, so that a file alone rebuilds the encoder."""
