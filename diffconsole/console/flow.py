"""The way of a signal through the chain, of tensors and of NumPy arrays.

Input gain → inserts → pan of the dry signal + sends → output gain. The inserts are gate, EQ, two
compressors and de-esser, in the order of the chain's table; the sends are delay and reverb. What a
send returns can go into those behind it as well (:attr:`diffconsole.strip.module.Module.feeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SettingsError
from ..kernels.arrays import is_held, math_of
from ..modules.call import Call
from ..modules.gain.process import gain
from ..strip.module import Module, Place
from ..strip.parameters import ADDED, BY_KEY, CHAIN, PARAMETERS, is_on

__all__ = ["Flow", "Run", "check_rate", "check_settings", "runner_of"]

LOWEST_RATE, HIGHEST_RATE = 16000, 192000

Run = Callable[[Module, Any, Call], Any]
"""Lets a module process."""


@dataclass(frozen=True)
class Flow:
    """The chain at one set of settings.

    Attributes
    ----------
    sample_rate : float
        Hz.
    settings : mapping of str to Tensor or ndarray
        ``(batch,)`` each, physical units, by key.
    off : collection of str
        Modules and bands that are off.
    run : callable
        Lets a module process.
    seed : int
        Of a module's noise.
    seconds : float or mapping of str to float, optional
        Fixed length of responses, of all modules or by module.
    """

    sample_rate: float
    settings: Mapping[str, Any]
    off: Collection[str]
    run: Run
    seed: int = 0
    seconds: float | Mapping[str, float] | None = None

    def __call__(self, audio: Any) -> Any:
        """Process ``(batch, 1 or 2, samples)``, a tensor or an array like the settings."""
        on = [module for module in CHAIN if module.key not in self.off]
        pans = [module for module in on if module.place == "pan"]
        sends = [module for module in on if module.place == "send"]
        output_db = self._level(on, "output")
        straight = output_db is not None and not pans and not sends
        audio, taken = self._inserted(on, audio, output_db if straight else None)
        if taken:
            output_db = None
        dry = audio
        if not pans and output_db is not None:
            dry = gain(audio, output_db)
        for module in pans:
            dry = self.run(module, dry, self._call(module, output_db))
        for place, module in enumerate(sends):
            # Not by its level: what becomes of an item may not depend on the others of a batch.
            feeds = bool(module.feeds) and place + 1 < len(sends)
            gain_db = output_db if module.takes_gain and not feeds else None
            takes_dry = module.takes_dry and not feeds
            call = self._call(module, gain_db, output_db, dry if takes_dry else None)
            wet = self.run(module, audio, call)
            if wet.shape != (len(audio), 2, audio.shape[-1]):
                raise _wrong_shape(module, wet, (len(audio), 2, audio.shape[-1]))
            if feeds and self._sends_on(module):
                audio = audio + self._sent_on(module, wet)
            if output_db is not None and gain_db is None and not module.gain_after:
                wet = gain(wet, output_db)
            dry = wet if takes_dry else dry + wet
        return dry

    def _inserted(self, on: Sequence[Module], audio: Any, output_db: Any) -> tuple[Any, bool]:
        """Run the input gain and the inserts; say whether the last one took the output's gain.

        Gains ride on the pass before or after them where there is one.
        """
        inserts = [module for module in on if module.place == "insert"]
        input_db = self._level(on, "input")
        if input_db is not None and not (inserts and inserts[0].takes_gain):
            audio, input_db = gain(audio, input_db), None
        taken = False
        for module in inserts:
            taken = module is inserts[-1] and bool(module.gain_after) and output_db is not None
            after_db = output_db if taken else None
            result = self.run(module, audio, self._call(module, input_db, after_db))
            if result.shape != audio.shape:
                raise _wrong_shape(module, result, audio.shape)
            audio = result
            input_db = None
        return audio, taken

    def _call(
        self, module: Module, gain_db: Any = None, after_db: Any = None, dry: Any = None
    ) -> Call:
        own, off_bands = module.own(self.settings), module.off_bands(self.off)
        if after_db is None or not module.gain_after:
            after_db = None
        else:
            level_db = own[module.gain_after]
            own[module.gain_after] = math_of(level_db).float64(level_db) + after_db
        seconds = self.seconds
        if isinstance(seconds, Mapping):
            seconds = seconds.get(module.key)
        return Call(self.sample_rate, own, off_bands, gain_db, self.seed, seconds, after_db, dry)

    def _level(self, on: Sequence[Module], place: Place) -> Any:
        """Return the gain at an end of the chain, None if it is off."""
        found = [self.settings[f"{m.key}.{m.gain_after}"] for m in on if m.place == place]
        return found[0] if found else None

    def _sends_on(self, module: Module) -> bool:
        """Return whether any item sends a return on; it may where nobody can look at the levels."""
        key = f"{module.key}.{module.feeds}"
        level_db = self.settings[key]
        return not (is_held(level_db) and bool((level_db <= BY_KEY[key].low).all()))

    def _sent_on(self, module: Module, wet: Any) -> Any:
        """Return what the sends behind a send get of its return, ``(batch, 1, samples)``."""
        key = f"{module.key}.{module.feeds}"
        m = math_of(wet)
        level_db = m.float64(m.beside(self.settings[key], wet))
        level = m.amplitude(level_db)
        # None at the low end; the gradient is that of the level there too.
        level = level - m.where(level_db > BY_KEY[key].low, 0.0, m.held(level))
        return wet.mean(1)[:, None] * m.cast(level, wet)[:, None, None]


def runner_of(module: Module) -> Callable[[Any, Call], Any]:
    """Return what lets a module process; see :mod:`diffconsole.modules`."""
    code = module.code()
    if hasattr(code, "run"):
        run: Callable[[Any, Call], Any] = code.run
        return run
    process = code.process

    def run_plain(audio: Any, call: Call) -> Any:
        return process(audio, call.sample_rate, **call.settings)

    return run_plain


def check_rate(sample_rate: float) -> None:
    """Refuse a sample rate that the console does not take.

    Raises
    ------
    SettingsError
        Below 16000 Hz or above 192000 Hz.
    """
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise SettingsError(
            f"sample rate {sample_rate:g} Hz; the console works from {LOWEST_RATE} "
            f"to {HIGHEST_RATE} Hz"
        )


def check_settings(
    settings: Mapping[str, Any], off: Collection[str], batch: int, kind: type[Any]
) -> None:
    """Refuse settings that are unknown, missing or not ``(batch,)`` of a type.

    Raises
    ------
    SettingsError
        Naming the setting.
    """
    for key, value in settings.items():
        if key not in BY_KEY:
            raise SettingsError(f"unknown setting {key!r}; see diffconsole.strip.parameters")
        if not isinstance(value, kind):
            raise SettingsError(
                f"setting {key!r} is {type(value).__name__}; it must be a "
                f"{kind.__module__}.{kind.__name__} of ({batch},)"
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


def _wrong_shape(module: Module, result: Any, wanted: Sequence[int]) -> SettingsError:
    return SettingsError(
        f"module {module.key!r} returned shape {tuple(result.shape)}; its code must return "
        f"{tuple(wanted)}"
    )
