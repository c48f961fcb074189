"""The console of tensors: the whole chain (:mod:`.flow`) with gradients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..kernels.shapes import check_audio
from ..modules.call import Call
from ..strip.channel_strip import checked_switches
from ..strip.module import Module
from ..strip.parameters import CHAIN, DEFAULT_PARAMETERS, PARAMETERS, left_off
from .flow import Flow, check_rate, check_settings, runner_of

__all__ = ["RUNNERS", "Console"]


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
    reverb_seconds : float or mapping of str to float, optional
        Fixed length of the reverb's decay and of the delay's echoes, for training with fixed
        shapes; by default each call takes what its settings need. With a mapping only the modules
        in it have a fixed length: ``{"reverb": 2.0}``.

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
        reverb_seconds: float | Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        check_rate(sample_rate)
        self.sample_rate = sample_rate
        self.bypass = checked_switches(bypass)
        self.reverb_seed = reverb_seed
        self.reverb_seconds = reverb_seconds

    def extra_repr(self) -> str:
        """Return what the console was made with, as the arguments that are not the defaults."""
        parts = [f"{self.sample_rate:g}"]
        if self.bypass:
            parts.append(f"bypass={{{', '.join(map(repr, sorted(self.bypass)))}}}")
        if self.reverb_seed:
            parts.append(f"reverb_seed={self.reverb_seed}")
        if self.reverb_seconds is not None:
            seconds = self.reverb_seconds
            shown = f"{seconds!r}" if isinstance(seconds, Mapping) else f"{seconds:g}"
            parts.append(f"reverb_seconds={shown}")
        return ", ".join(parts)

    def forward(
        self, audio: Tensor, settings: Mapping[str, Tensor], bypass: Collection[str] = ()
    ) -> Tensor:
        """Process a batch.

        Parameters
        ----------
        audio : Tensor
            ``(batch, 1 or 2, samples)``, float32 or float64.
        settings : mapping of str to Tensor
            ``(batch,)`` each, physical units, by key; those of bypassed modules may be missing. A
            module that came after version 1.0 of the preset format (gate, de-esser) is off where
            none of its settings is given, and a setting that came later than its module
            (``compressor.mix``) may be missing: it then does nothing.
        bypass : collection of str
            Off for this call, beside what is always off.

        Returns
        -------
        Tensor
            ``(batch, 2, samples)``; the channels of the input if pan and sends are bypassed.

        Raises
        ------
        SettingsError
            A missing or unknown key, or a setting whose length is not the batch.
        """
        check_audio(audio)
        off = self.bypass | checked_switches(bypass) | left_off(settings)
        check_settings(settings, off, len(audio), Tensor)
        flow = Flow(
            self.sample_rate, settings, off, self._run, self.reverb_seed, self.reverb_seconds
        )
        processed: Tensor = flow(audio)
        return processed

    def _run(self, module: Module, audio: Tensor, call: Call) -> Tensor:
        """Let a module process; :mod:`.streaming` carries its state over."""
        return RUNNERS[module.key](audio, call)

    def defaults(self, batch: int) -> dict[str, Tensor]:
        """Return the defaults of the modules that are on by default: ``(batch,)`` each.

        Those are the modules of version 1.0; add settings of another module to switch it on.
        """
        return {p.key: torch.full((batch,), p.default) for p in DEFAULT_PARAMETERS}

    def denormalize(self, normalised: Tensor) -> dict[str, Tensor]:
        """Map ``(batch, parameters)`` in 0…1 to physical settings.

        Parameters
        ----------
        normalised : Tensor
            As many columns as the table has parameters, or as many as the modules that are on by
            default have; of these alone, all other modules are off.

        Raises
        ------
        SettingsError
            Another number of columns.
        """
        widths = {len(row): row for row in (PARAMETERS, DEFAULT_PARAMETERS)}
        if normalised.ndim != 2 or normalised.shape[1] not in widths:
            allowed = " or ".join(str(width) for width in sorted(widths))
            raise SettingsError(
                f"normalised settings have shape {tuple(normalised.shape)}; "
                f"they must be (batch, {allowed})"
            )
        row = widths[normalised.shape[1]]
        return {p.key: p.to_physical(normalised[:, i]) for i, p in enumerate(row)}

    def normalize(self, settings: Mapping[str, Tensor]) -> Tensor:
        """Map physical settings to ``(batch, parameters)`` in 0…1, as :meth:`denormalize` takes.

        Raises
        ------
        SettingsError
            A missing setting. Only the modules that are not on by default may be missing, all of
            them together.
        """
        first = {p.key for p in DEFAULT_PARAMETERS}
        row = DEFAULT_PARAMETERS if first.issuperset(settings) else PARAMETERS
        for parameter in row:
            if parameter.key not in settings:
                raise SettingsError(f"setting {parameter.key!r} is missing")
        return torch.stack([p.to_normalised(settings[p.key]) for p in row], dim=-1)


# Looked up here once, since importing while a graph is compiled would break it.
RUNNERS: dict[str, Callable[[Tensor, Call], Tensor]] = {
    module.key: runner_of(module) for module in CHAIN
}
"""By module what processes audio; see :mod:`diffconsole.modules`."""
