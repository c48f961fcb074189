"""The console of NumPy arrays: the chain (:mod:`.flow`) on the CPU, without PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..kernels.choice import loops_serve
from ..kernels.shapes import check_audio
from ..modules.call import Call
from ..strip.channel_strip import ChannelStrip, checked_switches
from ..strip.module import Module
from ..strip.parameters import CHAIN, left_off
from .flow import Flow, Run, check_rate, check_settings, runner_of

__all__ = ["ArrayConsole", "serves", "takes_arrays"]


def serves(strip: ChannelStrip) -> bool:
    """Return whether every module that is on takes arrays, and the compiled loops are there."""
    return loops_serve() and takes_arrays(strip.off)


def takes_arrays(off: Collection[str]) -> bool:
    """Return whether every module that is not off says so by ``takes_arrays`` in its code."""
    on = [module for module in CHAIN if module.key not in off]
    return all(getattr(module.code(), "takes_arrays", False) for module in on)


class ArrayConsole:
    """The whole channel strip; the samples are those of :class:`.console.Console` on the CPU.

    Parameters
    ----------
    sample_rate : float
        Hz, 16000 to 192000.
    bypass : collection of str
        Modules and EQ bands that are off.
    reverb_seed : int
        Seed of the reverb's noise.
    run : callable, optional
        Lets a module process, such as :class:`.streams.Streams`; by default at once.

    Raises
    ------
    SettingsError
        A sample rate out of range, or a name to bypass that does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> from diffconsole.strip.channel_strip import ChannelStrip
    >>> settings = ChannelStrip({}, {"eq", "compressor", "reverb"}).arrays()
    >>> console = ArrayConsole(44100, bypass={"eq", "compressor", "reverb", "pan"})
    >>> console(np.zeros((1, 1, 100), np.float32), settings).shape
    (1, 1, 100)
    """

    def __init__(
        self,
        sample_rate: float,
        *,
        bypass: Collection[str] = (),
        reverb_seed: int = 0,
        run: Run | None = None,
    ) -> None:
        check_rate(sample_rate)
        self.sample_rate, self.reverb_seed = sample_rate, reverb_seed
        self.bypass = checked_switches(bypass)
        self._run = _at_once if run is None else run

    def __call__(
        self,
        audio: np.ndarray,
        settings: Mapping[str, np.ndarray],
        bypass: Collection[str] = (),
    ) -> np.ndarray:
        """Process a batch.

        Parameters
        ----------
        audio : ndarray
            ``(batch, 1 or 2, samples)``, float32 or float64.
        settings : mapping of str to ndarray
            ``(batch,)`` each, physical units, by key; see :meth:`.console.Console.forward`.
        bypass : collection of str
            Off for this call, beside what is always off.

        Returns
        -------
        ndarray
            ``(batch, 2, samples)``; the channels of the input if pan and sends are bypassed.

        Raises
        ------
        SettingsError
            A missing or unknown key, or a setting whose length is not the batch.
        """
        check_audio(audio)
        # The loops are compiled for memory in order that may be written to.
        audio = np.require(audio, requirements=["C", "W"])
        off = self.bypass | checked_switches(bypass) | left_off(settings)
        check_settings(settings, off, len(audio), np.ndarray)
        processed: np.ndarray = Flow(self.sample_rate, settings, off, self._run, self.reverb_seed)(
            audio
        )
        return processed


def _at_once(module: Module, audio: Any, call: Call) -> Any:
    return runner_of(module)(audio, call)
