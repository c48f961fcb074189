"""Compiling every loop before it is first needed, as after an installation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..progress import steps

__all__ = ["Warmup", "warm_up"]

RATE, SAMPLES, ROWS = 44100, 4096, 8


@dataclass(frozen=True)
class Warmup:
    """What there is after a warm-up.

    Attributes
    ----------
    made, found : int
        Loops that were compiled now, and that lay there already.
    seconds : float
        How long it took.
    folders : tuple of str
        Where they lie; empty if no folder can be written.
    """

    made: int
    found: int
    seconds: float
    folders: tuple[str, ...]


def warm_up(*, silent: bool = True) -> Warmup:
    """Compile what is not compiled yet: every loop runs once over a fraction of a second.

    Audio is float32, as in all that the commands do.

    Parameters
    ----------
    silent : bool
        Without a progress bar.
    """
    began = time.perf_counter()
    jobs: list[Callable[[], None]] = [
        _render_mono, _render_stereo, _render_rows, _differentiate, _compare, _simplify,
    ]  # fmt: skip
    for job in steps(jobs, "compile", silent=silent):
        job()
    seconds = time.perf_counter() - began
    made = found = 0
    folders = set()
    for loop in _loops():
        made += sum(loop.stats.cache_misses.values())
        found += sum(loop.stats.cache_hits.values())
        if loop.stats.cache_path:
            folders.add(str(loop.stats.cache_path))
    return Warmup(made, found, seconds, tuple(sorted(folders)))


def _noise(channels: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return 0.1 * generator.standard_normal((channels, SAMPLES)).astype(np.float32)


def _render_mono() -> None:
    _render(1)


def _render_stereo() -> None:
    _render(2)


def _render(channels: int) -> None:
    from ..console.render import run_strip
    from ..strip.channel_strip import ChannelStrip

    run_strip(_noise(channels), RATE, ChannelStrip(_settings()))


def _settings() -> dict[str, float]:
    from ..strip.parameters import PARAMETERS

    return {parameter.key: parameter.default for parameter in PARAMETERS}


def _render_rows() -> None:
    """Run the loops that take several rows, or segments of a long one, side by side."""
    import torch

    from ..console import Console

    settings = {key: torch.tensor([value] * ROWS) for key, value in _settings().items()}
    with torch.inference_mode():
        Console(RATE)(torch.from_numpy(_noise(ROWS))[:, None], settings)


def _differentiate() -> None:
    """Run what training and matching run: the whole strip, and back."""
    import torch

    from ..console import Console
    from ..training.matching.kept_results import KeptResults

    settings = {
        key: torch.tensor([value], dtype=torch.float64, requires_grad=True)
        for key, value in _settings().items()
    }
    audio = torch.from_numpy(_noise(2))[None].requires_grad_()
    Console(RATE)(audio, settings).sum().backward()
    # The reverb of a search has loops of its own.
    with KeptResults().rooms_in_use():
        Console(RATE, reverb_seconds=0.5)(audio, settings).sum().backward()


def _compare() -> None:
    """Run the distance between two mixes, and back."""
    import torch

    from ..losses.distance import MixTarget

    target, predicted = (torch.from_numpy(_noise(2))[None] for _ in range(2))
    MixTarget(target, RATE).distance(0.5 * predicted.requires_grad_()).sum().backward()


def _simplify() -> None:
    """Run the search for the simplest strip that sounds the same."""
    from ..simplify import simplify
    from ..strip.parameters import PARAMETERS

    # At their defaults most bands do nothing, and there is nothing to look for.
    moved = {p.key: p.to_physical(0.9 * p.to_normalised(p.default) + 0.05) for p in PARAMETERS}
    simplify(moved, np.tile(_noise(1), 12), RATE)


def _loops() -> Iterator[Any]:
    """Return every compiled function of the package that is loaded, each once."""
    seen = set()
    for name, module in list(sys.modules.items()):
        if not name.startswith("diffconsole."):
            continue
        for value in list(vars(module).values()):
            if hasattr(value, "py_func") and hasattr(value, "stats") and id(value) not in seen:
                seen.add(id(value))
                yield value
