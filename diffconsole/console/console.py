"""The console: input gain → inserts → pan of the dry signal + sends → output gain.

The inserts are gate, EQ, two compressors and de-esser, in the order of the chain's table; the sends
are delay and reverb. What a send returns can go into those behind it as well
(:attr:`diffconsole.strip.module.Module.feeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from ..errors import SettingsError
from ..kernels.shapes import check_audio
from ..modules.call import Call
from ..modules.gain.process import gain
from ..strip.channel_strip import checked_switches
from ..strip.module import Module, Place
from ..strip.parameters import (
    ADDED,
    BY_KEY,
    CHAIN,
    DEFAULT_PARAMETERS,
    PARAMETERS,
    is_on,
    left_off,
)

__all__ = ["RUNNERS", "Console"]

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
        Fixed length of the reverb's decay and of the delay's echoes, for training with fixed
        shapes; by default each call takes what its settings need.

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
        self.bypass = checked_switches(bypass)
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
        self._check_settings(settings, off, len(audio))

        on = [module for module in CHAIN if module.key not in off]
        pans = [module for module in on if module.place == "pan"]
        sends = [module for module in on if module.place == "send"]
        output_db = _level(on, "output", settings)
        straight = output_db is not None and not pans and not sends
        audio, taken = self._inserted(audio, settings, off, output_db if straight else None)
        if taken:
            output_db = None
        dry = audio
        if not pans and output_db is not None:
            dry = gain(audio, output_db)
        for module in pans:
            dry = self._run(module, dry, self._call(module, settings, off, output_db))
        for place, module in enumerate(sends):
            call = self._call(module, settings, off, after_db=output_db)
            wet = self._run(module, audio, call)
            if wet.shape != (len(audio), 2, audio.shape[-1]):
                raise _wrong_shape(module, wet, (len(audio), 2, audio.shape[-1]))
            if module.feeds and place + 1 < len(sends):
                audio = audio + _sent_on(module, wet, settings)
            if output_db is not None and not module.gain_after:
                wet = gain(wet, output_db)
            dry = dry + wet
        return dry

    def _inserted(
        self,
        audio: Tensor,
        settings: Mapping[str, Tensor],
        off: Collection[str],
        output_db: Tensor | None,
    ) -> tuple[Tensor, bool]:
        """Run the input gain and the inserts; say whether the last one took the output's gain.

        Gains ride on the pass before or after them where there is one.
        """
        on = [module for module in CHAIN if module.key not in off]
        inserts = [module for module in on if module.place == "insert"]
        input_db = _level(on, "input", settings)
        if input_db is not None and not (inserts and inserts[0].takes_gain):
            audio, input_db = gain(audio, input_db), None
        taken = False
        for module in inserts:
            taken = module is inserts[-1] and bool(module.gain_after) and output_db is not None
            after_db = output_db if taken else None
            result = self._run(module, audio, self._call(module, settings, off, input_db, after_db))
            if result.shape != audio.shape:
                raise _wrong_shape(module, result, audio.shape)
            audio = result
            input_db = None
        return audio, taken

    def _call(
        self,
        module: Module,
        settings: Mapping[str, Tensor],
        off: Collection[str],
        gain_db: Tensor | None = None,
        after_db: Tensor | None = None,
    ) -> Call:
        own, off_bands = module.own(settings), module.off_bands(off)
        if after_db is None or not module.gain_after:
            after_db = None
        else:
            own[module.gain_after] = own[module.gain_after].to(torch.float64) + after_db
        return Call(
            self.sample_rate, own, off_bands, gain_db, self.reverb_seed, self.reverb_seconds,
            after_db,
        )  # fmt: skip

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

    @staticmethod
    def _check_settings(settings: Mapping[str, Tensor], off: Collection[str], batch: int) -> None:
        for key, value in settings.items():
            if key not in BY_KEY:
                raise SettingsError(f"unknown setting {key!r}; see diffconsole.strip.parameters")
            if not isinstance(value, Tensor):
                raise SettingsError(
                    f"setting {key!r} is {type(value).__name__}; it must be a torch.Tensor of "
                    f"({batch},)"
                )
            if value.shape != (batch,):
                raise SettingsError(
                    f"setting {key!r} has shape {tuple(value.shape)}; it must be ({batch},)"
                )
        for parameter in PARAMETERS:
            section = parameter.section
            is_needed = is_on(section, off) and parameter.key not in ADDED
            if is_needed and parameter.key not in settings:
                raise SettingsError(f"setting {parameter.key!r} is missing; bypass {section!r}?")


def _runner(module: Module) -> Callable[[Tensor, Call], Tensor]:
    code = module.code()
    if hasattr(code, "run"):
        run: Callable[[Tensor, Call], Tensor] = code.run
        return run
    process = code.process

    def run_plain(audio: Tensor, call: Call) -> Tensor:
        result: Tensor = process(audio, call.sample_rate, **call.settings)
        return result

    return run_plain


# Looked up here once, since importing while a graph is compiled would break it.
RUNNERS = {module.key: _runner(module) for module in CHAIN}
"""By module what processes audio; see :mod:`diffconsole.modules`."""


def _wrong_shape(module: Module, result: Tensor, wanted: Sequence[int]) -> SettingsError:
    return SettingsError(
        f"module {module.key!r} returned shape {tuple(result.shape)}; its code must return "
        f"{tuple(wanted)}"
    )


def _level(on: Sequence[Module], place: Place, settings: Mapping[str, Tensor]) -> Tensor | None:
    """Return the gain at an end of the chain, if it is on."""
    found = [settings[f"{m.key}.{m.gain_after}"] for m in on if m.place == place]
    return found[0] if found else None


def _sent_on(module: Module, wet: Tensor, settings: Mapping[str, Tensor]) -> Tensor:
    """Return what the sends behind a send get of its return, ``(batch, 1, samples)``."""
    key = f"{module.key}.{module.feeds}"
    level_db = settings[key].to(wet.device, torch.float64)
    level = 10.0 ** (level_db / 20.0)
    # None at the low end; the gradient is that of the level there too.
    level = level - torch.where(level_db > BY_KEY[key].low, 0.0, level.detach())
    return wet.mean(dim=1, keepdim=True) * level.to(wet.dtype)[:, None, None]
