"""What every encoder offers: audio in, features per frame out, stages that can be frozen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError

__all__ = ["ENCODER_FILE", "Encoder", "scaled_level"]

ENCODER_FILE = "encoder.pt"
"""Name of an encoder's own file in a model's folder, for the encoders that have one."""

POWER_FLOOR = 1e-9


class Encoder(nn.Module, ABC):
    """A network that encodes a vocal.

    Attributes
    ----------
    name : str
        Key in the registry.
    about : str
        One line: which network it is.
    licence : str
        Of its weights, as far as it is known.
    sample_rate : int
        Hz that the audio must have; who calls resamples.
    dim : int
        Features per frame.
    frames_per_second : float
        Frames of the output per second of audio.
    file : bytes or None
        A file that a saved model must hold besides its weights and its JSON, as ``ENCODER_FILE``.
    """

    name: str
    about: str
    licence: str
    sample_rate: int
    dim: int
    frames_per_second: float
    file: bytes | None = None

    @abstractmethod
    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``.

        The level of the audio stays in the features: a network that normalises it away gives it
        as one more feature (:func:`scaled_level`).
        """

    @abstractmethod
    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the named parts from the input up, for freezing from the bottom."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, so that a file alone rebuilds the encoder."""

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], folder: Path | None, *, trust: bool = False
    ) -> Encoder:
        """Rebuild from what :meth:`config` returned; `folder` holds the model, and `file` in it.

        A file that runs its author's code is opened with `trust` only.
        """
        return cls(**config)

    @classmethod
    def open(cls, source: str | None, sample_rate: int | None, *, trust: bool = False) -> Encoder:
        """Build from pretrained weights.

        Parameters
        ----------
        source : str, optional
            A file, or a name that the family knows; None for what the family is without one.
        sample_rate : int, optional
            Hz, for the families whose files do not state it.
        trust : bool
            Also read files that hold more than numbers, which runs their author's code.

        Raises
        ------
        ModelError
            There are no such weights, or they are of another kind.
        """
        if source is not None:
            raise ModelError(f"{cls.name}:{source}: not the folder of a model; {cls.name} has none")
        return cls()


def scaled_level(power: Tensor) -> Tensor:
    """Turn mean squares into dB, scaled so that a levelled voice lies around 0: 20 dB are 1."""
    return (10.0 * torch.log10(power + POWER_FLOOR) + 20.0) / 20.0
