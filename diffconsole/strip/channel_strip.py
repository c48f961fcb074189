"""One strip as the rest of the package passes it on: settings by key, and what is off."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import DiffconsoleError, SettingsError
from .finite import not_finite
from .parameters import ADDED, BY_KEY, CHAIN, MODULES, PARAMETERS, SWITCHES, is_on, left_off

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

__all__ = ["HIGHEST_FREQUENCY", "ChannelStrip", "checked_switches"]

HIGHEST_FREQUENCY = 0.49
"""What a frequency is clamped to for processing, as a share of the sample rate."""

_BY_MODULE = {module.key: module for module in CHAIN}
_SWITCHES = frozenset(SWITCHES)


@dataclass(frozen=True, init=False)
class ChannelStrip:
    """Settings and what is off, complete and immutable.

    Parameters
    ----------
    settings : mapping of str to float
        Physical, by key. Those of what is off may be missing; they take the table's defaults. A
        module that came after version 1.0 is off where none of its settings is given; a setting
        that came later than its module takes its default.
    off : collection of str
        Modules and EQ bands that are off: ``{"reverb", "eq.low_pass"}``.

    Attributes
    ----------
    settings : mapping of str to float
        Every parameter, in chain order.
    off : frozenset of str
        As given, and the modules of later versions that no setting is given of.

    Raises
    ------
    SettingsError
        A missing, unknown or not finite setting, or a name to bypass that does not exist.

    Examples
    --------
    >>> from diffconsole import Preset
    >>> strip = Preset({"eq": {}, "pan": {"position": 0.5}}).channel_strip
    >>> strip.on("pan"), strip.of("pan"), strip.effective().on("eq")
    (True, {'position': 0.5}, False)
    """

    settings: Mapping[str, float]
    off: frozenset[str]

    def __init__(self, settings: Mapping[str, float], off: Collection[str] = ()) -> None:
        off = checked_switches(off) | left_off(settings)
        complete = {}
        for parameter in PARAMETERS:
            value = settings.get(parameter.key)
            if value is None:
                if is_on(parameter.section, off) and parameter.key not in ADDED:
                    raise SettingsError(
                        f"setting {parameter.key!r} is missing; bypass {parameter.section!r}?"
                    )
                value = parameter.default
            if not math.isfinite(value):
                raise not_finite(parameter.key, value)
            complete[parameter.key] = float(value)
        for key in settings:
            if key not in BY_KEY:
                raise SettingsError(f"unknown setting {key!r}; see diffconsole.strip.parameters")
        object.__setattr__(self, "settings", MappingProxyType(complete))
        object.__setattr__(self, "off", off)

    def __hash__(self) -> int:
        return hash((tuple(self.settings.values()), self.off))

    def __reduce__(self) -> tuple[Any, ...]:
        return ChannelStrip, (dict(self.settings), self.off)

    def on(self, section: str) -> bool:
        """Return whether a module is on, or a band together with its module.

        Raises
        ------
        SettingsError
            A name that is neither a module nor a band.
        """
        if section not in _SWITCHES:
            known = ", ".join(SWITCHES)
            raise SettingsError(
                f"{section!r} is no module or band: not one of {known}{_hint(section)}"
            )
        return is_on(section, self.off)

    def of(self, section: str) -> dict[str, float]:
        """Return the settings of a module or band by short name: ``{"freq_hz": 90.0, "q": 0.7}``.

        Those of a module with bands have the band's name before them: ``"peak_1.freq_hz"``.
        """
        start = f"{section}."
        return {
            key.removeprefix(start): value
            for key, value in self.settings.items()
            if key.startswith(start)
        }

    def bands(self, module: str) -> tuple[str, ...]:
        """Return the short names of a module's bands that are on, none if the module is off.

        Parameters
        ----------
        module : str
            Key of the module: ``"eq"``.
        """
        bands = _BY_MODULE[module].bands
        return tuple(band for band in bands if self.on(f"{module}.{band}"))

    @property
    def is_bypassed(self) -> bool:
        """Whether every module is off: the audio stays as it is, bit by bit."""
        return self.off.issuperset(MODULES)

    @property
    def makes_stereo(self) -> bool:
        """Whether two channels come out of a mono signal: a pan or a send is on."""
        return any(self.on(m.key) for m in CHAIN if m.place in ("pan", "send"))

    def effective(self) -> ChannelStrip:
        """Return the strip in which a module that does nothing is off, as a pan at the centre."""
        idle = [
            module.key
            for module in CHAIN
            if self.on(module.key)
            and module.is_idle is not None
            and module.is_idle(module.own(self.settings), module.off_bands(self.off))
        ]
        return ChannelStrip(self.settings, self.off.union(idle))

    def at_rate(self, sample_rate: float) -> ChannelStrip:
        """Return the strip as it is processed at a sample rate in Hz.

        Frequencies are at most 0.49 times the sample rate.
        """
        highest_hz = HIGHEST_FREQUENCY * sample_rate
        held = {
            key: min(value, highest_hz) if BY_KEY[key].unit == "Hz" else value
            for key, value in self.settings.items()
        }
        return ChannelStrip(held, self.off)

    def clamped(self, sample_rate: float) -> tuple[str, ...]:
        """Say which active frequencies :meth:`at_rate` clamps.

        Parameters
        ----------
        sample_rate : float
            Hz.

        Returns
        -------
        tuple of str
            One line for each, in chain order.
        """
        highest_hz = HIGHEST_FREQUENCY * sample_rate
        return tuple(
            f"{key} {value:g} Hz is above what {sample_rate:.10g} Hz can hold; "
            f"{highest_hz:g} Hz is used"
            for key, value in self.settings.items()
            if BY_KEY[key].unit == "Hz" and value >= highest_hz and self.on(BY_KEY[key].section)
        )

    def without(self, names: Collection[str]) -> ChannelStrip:
        """Return the strip with more modules or bands off.

        Raises
        ------
        SettingsError
            A name that is neither a module nor a band.
        """
        return ChannelStrip(self.settings, self.off | checked_switches(names))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every setting as the console of arrays takes it: ``(1,)`` float64 each, by key."""
        import numpy as np

        return {key: np.array([value]) for key, value in self.settings.items()}

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        """Return every setting as the console takes it for one signal: ``(1,)`` each, by key.

        Parameters
        ----------
        dtype : torch.dtype, optional
            By default float64.
        """
        import torch

        dtype = torch.float64 if dtype is None else dtype
        return {key: torch.tensor([value], dtype=dtype) for key, value in self.settings.items()}


def checked_switches(
    names: Collection[str],
    error: type[DiffconsoleError] = SettingsError,
    subject: str = "",
) -> frozenset[str]:
    """Return names to bypass as a set, if all of them exist.

    Parameters
    ----------
    names : collection of str
        Modules and bands: ``{"reverb", "eq.low_pass"}``. A single name may be given as it is.
    error : type of DiffconsoleError
        What to raise.
    subject : str
        Begins the message: ``"preset 'mine': "``.

    Raises
    ------
    DiffconsoleError
        Of type `error`: a name that is neither a module nor a band.
    """
    names = frozenset([names]) if isinstance(names, str) else frozenset(names)
    for name in sorted(names - _SWITCHES):
        raise error(
            f"{subject}cannot bypass {name!r}: not one of {', '.join(SWITCHES)}{_hint(name)}"
        )
    return names


def _hint(name: str) -> str:
    wholes = {switch.rpartition(".")[2]: switch for switch in SWITCHES}
    wholes.update({switch: switch for switch in SWITCHES})
    near = difflib.get_close_matches(name.lower(), wholes, n=1)
    return f"; did you mean {wholes[near[0]]!r}?" if near else ""
