"""The console: input gain → EQ → compressor → pan of the dry signal + reverb send → output gain."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..kernels.shapes import check_audio
from ..modules.compressor.process import compressor
from ..modules.equalizer.process import equalizer
from ..modules.gain.process import gain, pan
from ..modules.reverb.process import reverb
from ..strip.parameters import BY_KEY, EQ_BANDS, PARAMETERS, SWITCHES, denormalize

__all__ = ["Console"]

LOWEST_RATE, HIGHEST_RATE = 16000, 192000


class Console(nn.Module):
    """The whole channel strip, differentiable in the audio and in every setting.

    Parameters
    ----------
    sample_rate : float
        Hz, 16000 to 192000.
    bypass : collection of str
        Modules and EQ bands that are always off: ``{"reverb", "eq.low_pass"}``.
    reverb_seed : int
        Seed of the reverb's noise.
    reverb_seconds : float, optional
        Fixed length of the reverb's decay, for training with fixed shapes; by default each call
        takes what its settings need.

    Raises
    ------
    SettingsError
        A sample rate out of range, or a name to bypass that does not exist.

    Examples
    --------
    >>> import torch
    >>> console = Console(44100, bypass={"reverb", "pan"})
    >>> console(torch.zeros(1, 1, 100), console.defaults(1)).shape
    torch.Size([1, 1, 100])
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        bypass: Collection[str] = (),
        reverb_seed: int = 0,
        reverb_seconds: float | None = None,
    ) -> None:
        super().__init__()
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise SettingsError(
                f"sample rate {sample_rate:g} Hz; the console works from {LOWEST_RATE} "
                f"to {HIGHEST_RATE} Hz"
            )
        self.sample_rate = sample_rate
        self.bypass = _check_bypass(bypass)
        self.reverb_seed = reverb_seed
        self.reverb_seconds = reverb_seconds

    def forward(
        self, audio: Tensor, settings: Mapping[str, Tensor], bypass: Collection[str] = ()
    ) -> Tensor:
        """Process a batch.

        Parameters
        ----------
        audio : Tensor
            ``(batch, 1 or 2, samples)``, float32 or float64.
        settings : mapping of str to Tensor
            ``(batch,)`` each, physical units, by key; those of bypassed modules may be missing.
        bypass : collection of str
            Off for this call, beside what is always off.

        Returns
        -------
        Tensor
            ``(batch, 2, samples)``; the channels of the input if pan and reverb are bypassed.

        Raises
        ------
        SettingsError
            A missing or unknown key, or a setting whose length is not the batch.
        """
        check_audio(audio)
        off = self.bypass | _check_bypass(bypass)
        self._check_settings(settings, off, len(audio))

        def of(module: str) -> dict[str, Tensor]:
            start = f"{module}."
            return {k[len(start) :]: v for k, v in settings.items() if k.startswith(start)}

        # Gains ride on the pass before or after them where there is one.
        input_gain = None if "input_gain" in off else settings["input_gain.gain_db"]
        if "eq" not in off:
            audio = self._equalized(audio, settings, off, input_gain)
        elif input_gain is not None:
            audio = gain(audio, input_gain)
        output_gain = None if "output_gain" in off else settings["output_gain.gain_db"]
        if "compressor" not in off:
            dynamics = of("compressor")
            if output_gain is not None and off >= {"pan", "reverb"}:
                dynamics["makeup_db"] = dynamics["makeup_db"].to(torch.float64) + output_gain
                output_gain = None
            audio = self._compressed(audio, dynamics)
        if "pan" in off:
            dry = audio if output_gain is None else gain(audio, output_gain)
        else:
            dry = pan(audio, **of("pan"), gain_db=output_gain)
        if "reverb" in off:
            return dry
        room = of("reverb")
        if output_gain is not None:
            room["wet_db"] = room["wet_db"].to(torch.float64) + output_gain
        return dry + self._reverberated(audio, room)

    # What keeps a state from sample to sample, for :mod:`.streaming` to carry it over.

    def _equalized(
        self,
        audio: Tensor,
        settings: Mapping[str, Tensor],
        off: Collection[str],
        gain_db: Tensor | None,
    ) -> Tensor:
        return equalizer(audio, self.sample_rate, settings, off, gain_db)

    def _compressed(self, audio: Tensor, dynamics: dict[str, Tensor]) -> Tensor:
        return compressor(audio, self.sample_rate, **dynamics)

    def _reverberated(self, audio: Tensor, room: dict[str, Tensor]) -> Tensor:
        return reverb(
            audio, self.sample_rate, **room, seed=self.reverb_seed, seconds=self.reverb_seconds
        )

    def defaults(self, batch: int) -> dict[str, Tensor]:
        """Return the table's defaults as settings: ``(batch,)`` each."""
        return {p.key: torch.full((batch,), p.default) for p in PARAMETERS}

    def denormalize(self, normalised: Tensor) -> dict[str, Tensor]:
        """Map ``(batch, parameters)`` in 0…1 to physical settings."""
        if normalised.ndim != 2 or normalised.shape[1] != len(PARAMETERS):
            raise SettingsError(
                f"normalised settings have shape {tuple(normalised.shape)}; "
                f"they must be (batch, {len(PARAMETERS)})"
            )
        return denormalize(normalised)

    def normalize(self, settings: Mapping[str, Tensor]) -> Tensor:
        """Map physical settings to ``(batch, parameters)`` in 0…1."""
        return torch.stack([p.to_normalised(settings[p.key]) for p in PARAMETERS], dim=-1)

    @staticmethod
    def _check_settings(settings: Mapping[str, Tensor], off: Collection[str], batch: int) -> None:
        for key, value in settings.items():
            if key not in BY_KEY:
                raise SettingsError(f"unknown setting {key!r}; see diffconsole.strip.parameters")
            if value.shape != (batch,):
                raise SettingsError(
                    f"setting {key!r} has shape {tuple(value.shape)}; it must be ({batch},)"
                )
        for parameter in PARAMETERS:
            section = parameter.section
            active = section not in off and section.split(".")[0] not in off
            if active and parameter.key not in settings:
                raise SettingsError(f"setting {parameter.key!r} is missing; bypass {section!r}?")


def _check_bypass(names: Collection[str]) -> frozenset[str]:
    names = frozenset([names]) if isinstance(names, str) else frozenset(names)
    for name in sorted(names - set(SWITCHES)):
        hint = f"; did you mean 'eq.{name}'?" if name in EQ_BANDS else ""
        raise SettingsError(f"cannot bypass {name!r}: not one of {', '.join(SWITCHES)}{hint}")
    return names
