"""The numbers of a log-mel encoder, and the shapes of the tensors that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["LOWEST_HZ", "HIGHEST_HZ", "POWER_FLOOR", "SAMPLE_RATE", "LogMelShape"]

SAMPLE_RATE = 44100
LOWEST_HZ, HIGHEST_HZ = 20.0, 20000.0
"""Ends of the mel bands."""

POWER_FLOOR = 1e-9
WIDEST, MOST_STAGES, MOST_OVERLAP = 8192, 16, 64
GROUP, TIME_HALVINGS = 16, 3


@dataclass(frozen=True)
class LogMelShape:
    """What :class:`.logmel.LogMelEncoder` is made with; its parameters are these.

    Attributes
    ----------
    widths : sequence of int
        Channels of the stages, multiples of 16.
    features : int
        Network features per frame; the mel bands come on top.
    mels, n_fft, window, hop : int
        Of the spectrogram, in samples at 44.1 kHz.

    Raises
    ------
    ValueError
        Numbers of which no network can be made, or only one that fills the memory.
    """

    widths: Sequence[int] = (32, 64, 96, 128, 192)
    features: int = 256
    mels: int = 128
    n_fft: int = 4096
    window: int = 2048
    hop: int = 1024

    def __post_init__(self) -> None:
        numbers = {
            "features": (self.features, 1, WIDEST),
            "mels": (self.mels, 8, 1024),
            "n_fft": (self.n_fft, 64, 1 << 16),
            "window": (self.window, 16, self.n_fft),
            "hop": (self.hop, max(1, self.n_fft // MOST_OVERLAP), 1 << 16),
            **{f"widths[{i}]": (width, 16, WIDEST) for i, width in enumerate(self.widths)},
        }
        for key, (number, least, most) in numbers.items():
            if type(number) is not int or not least <= number <= most:
                raise ValueError(f"{key} is {number!r}, not a whole number from {least} to {most}")
        if not 1 <= len(self.widths) <= MOST_STAGES:
            raise ValueError(f"{len(self.widths)} stages, not 1 to {MOST_STAGES}")

    @property
    def time_strides(self) -> list[int]:
        """Of every stage; the first three halve time."""
        return [2 if i < TIME_HALVINGS else 1 for i in range(len(self.widths))]

    @property
    def pool(self) -> int:
        """Frames of the spectrogram that make one of the encoder's."""
        return 2 ** sum(stride == 2 for stride in self.time_strides)

    @property
    def rows(self) -> int:
        """Rows of frequency behind the last stage; each stage halves them."""
        rows = self.mels
        for _ in self.widths:
            rows = -(-rows // 2)
        return rows

    @property
    def dim(self) -> int:
        """Features per frame."""
        return self.features + self.mels

    @property
    def frames_per_second(self) -> float:
        """Of the encoder's output."""
        return SAMPLE_RATE / (self.hop * self.pool)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what an encoder's state dict holds.

        Raises
        ------
        ValueError
            A width that is no multiple of 16.
        """
        found: dict[str, tuple[int, ...]] = {}
        before = 1
        for stage, width in enumerate(self.widths):
            if width % GROUP:
                raise ValueError(f"widths[{stage}] is {width}, no multiple of {GROUP}")
            start = f"blocks.{stage}."
            found[f"{start}0.weight"] = (width, before, 3, 3)
            found[f"{start}3.body.0.weight"] = (width, GROUP, 3, 3)
            found[f"{start}3.body.3.weight"] = (width, width, 1, 1)
            for norm in ("1", "3.body.1", "3.body.4"):
                for name in ("weight", "bias", "running_mean", "running_var"):
                    found[f"{start}{norm}.{name}"] = (width,)
                found[f"{start}{norm}.num_batches_tracked"] = ()
            before = width
        found["project.weight"] = (self.features, before * self.rows)
        found["project.bias"] = (self.features,)
        return found
