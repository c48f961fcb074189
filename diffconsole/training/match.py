"""Match: the channel strip that turns a raw vocal into a finished mix of it.

For each pair the settings are searched by their gradient through the console, on the distance
that is reported (:func:`diffconsole.losses.mix_distance`) and a weak pull towards the table's
defaults, which keeps what the audio cannot tell at ordinary values. Bands and modules without
which the result is as near come out bypassed. The settings act on the raw file as it lies and
give the mix's absolute level; the mix's timing and polarity are the pair's, not the strip's.
"""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..audio import loudness_lufs
from ..console import Console
from ..evaluation import level_distance, preset_distance
from ..losses import mix_distance
from ..pairs import PAIR_RATE, Pair, loudest_start
from ..parameters import BY_KEY, EQ_BANDS, PARAMETERS, default_settings, denormalize
from ..predictor import level_gain_db
from ..preset import Preset

__all__ = ["Match", "MatchOptions", "match"]

Reporter = Callable[[dict[str, Any]], None]

LOSS_STRIDE = 32
STEPS, QUICK_STEPS = 80, 12
EXCERPT_SECONDS, QUICK_EXCERPT_SECONDS = 6.0, 2.5
STEP_SIZE = 0.03
PULL = 0.02
START = {"reverb.wet_db": -24.0, "compressor.ratio": 2.0, "compressor.makeup_db": 0.0}
"""Where the search starts instead of the table's defaults: little of everything."""

# A switch goes off where the distance then rises by less than this.
UNHEARD = 0.003
# Settings this much worse could as well be meant.
UNCERTAIN, PROBE = 0.02, 0.05
PROBE_SECONDS = 1.5


@dataclass(frozen=True)
class MatchOptions:
    """How to search.

    Attributes
    ----------
    seconds : float, optional
        Time budget for a pair; by default a fixed effort, the same on every computer.
    quick : bool
        A coarse search in seconds, for labels.
    seed : int
        Of everything random.
    """

    seconds: float | None = None
    quick: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Match:
    """The strip that was found for a pair.

    Attributes
    ----------
    name : str
        Of the pair.
    settings : dict of str to float
        Every parameter by key, physical units; for the raw file as it lies.
    bypass : frozenset of str
        Modules and bands that are not used.
    distance, level_distance : float
        To the mix: of the strip's result, and of the raw vocal at the mix's loudness.
    uncertainty : dict of str to tuple of float
        By key, the physical values between which the result is about as near; empty for a quick
        search, and for one that was stopped or whose time was up before.
    seconds : float
        That the search took.
    steps : int
        Of the search.
    history : list of float
        Loss, step by step.
    lag_seconds, polarity, correlation : float, int, float
        As in :class:`diffconsole.pairs.Pair`.
    options : MatchOptions
        Of the search.
    stopped : bool
        Ctrl-C ended the search: the best until then.
    """

    name: str
    settings: dict[str, float]
    bypass: frozenset[str]
    distance: float
    level_distance: float
    uncertainty: dict[str, tuple[float, float]]
    seconds: float
    steps: int
    history: list[float]
    lag_seconds: float
    polarity: int
    correlation: float
    options: MatchOptions = field(default_factory=MatchOptions)
    stopped: bool = False

    def preset(self, source: str = "", mix: str = "") -> Preset:
        """Return the strip as a preset; its provenance says what it was made from and how near.

        Parameters
        ----------
        source, mix : str
            Names of the raw and of the mixed file.
        """
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        provenance: dict[str, Any] = {
            "source": source or self.name,
            "mix": mix,
            "created": now.isoformat(),
            "diffconsole": __version__,
            "distance": round(self.distance, 4),
            "level_distance": round(self.level_distance, 4),
            "lag_seconds": round(self.lag_seconds, 7),
            "polarity": self.polarity,
            "correlation": round(self.correlation, 4),
            "match": {"seconds": self.options.seconds, "quick": self.options.quick},
            "seconds": round(self.seconds, 2),
            "steps": self.steps,
            "seed": self.options.seed,
            "uncertainty": {
                key: [float(f"{low:.4g}"), float(f"{high:.4g}")]
                for key, (low, high) in self.uncertainty.items()
            },
        }
        if self.stopped:
            provenance["stopped"] = True
        return Preset.from_settings(
            self.settings, bypass=self.bypass, name=self.name, provenance=provenance
        )


def match(
    pairs: Sequence[Pair],
    options: MatchOptions,
    *,
    device: str = "cpu",
    report: Reporter = lambda _: None,
) -> Iterator[Match]:
    """Search the strips of a batch of pairs.

    Parameters
    ----------
    pairs : sequence of Pair
        Aligned.
    options : MatchOptions
        How.
    device : str
        ``"cpu"`` or ``"cuda"``.
    report : callable
        Called after each step with ``pair`` (its index), ``name``, ``fraction`` (0…1 of this
        pair) and ``loss``.

    Yields
    ------
    Match
        One a pair, in their order, as soon as it is there. After Ctrl-C in a search the best of
        that pair, ``stopped``, and nothing more.
    """
    for index, pair in enumerate(pairs):

        def tell(fraction: float, loss: float, index: int = index, name: str = pair.name) -> None:
            report({"pair": index, "name": name, "fraction": fraction, "loss": loss})

        began = time.monotonic()
        search = _Search(pair, options, device, tell)
        try:
            search.run()
        except KeyboardInterrupt:
            search.stopped = True
        settings, bypass, uncertainty = search.result()
        written = Preset.from_json(Preset.from_settings(settings, bypass=bypass).to_json())
        yield Match(
            name=pair.name,
            settings=settings,
            bypass=bypass,
            distance=preset_distance(pair, written),
            level_distance=level_distance(pair),
            uncertainty=uncertainty,
            seconds=time.monotonic() - began,
            steps=len(search.history),
            history=search.history,
            lag_seconds=pair.lag_seconds,
            polarity=pair.polarity,
            correlation=pair.correlation,
            options=options,
            stopped=search.stopped,
        )
        if search.stopped:
            return


class _Search:
    """Adam on normalised settings, from one start; the best step counts."""

    def __init__(
        self,
        pair: Pair,
        options: MatchOptions,
        device: str,
        tell: Callable[[float, float], None],
    ) -> None:
        self.options, self.tell, self.stopped = options, tell, False
        seconds = QUICK_EXCERPT_SECONDS if options.quick else EXCERPT_SECONDS
        start = loudest_start(pair.raw, int(seconds * PAIR_RATE))
        part = slice(start, start + int(seconds * PAIR_RATE))
        raw, mixed = (np.ascontiguousarray(a[:, part]) for a in (pair.raw, pair.mixed))
        self.raw, self.mixed = (torch.from_numpy(a)[None].to(device) for a in (raw, mixed))
        self.console = Console(PAIR_RATE)
        settings = {**default_settings(), **START}
        gain_db, _ = level_gain_db(pair.raw, PAIR_RATE)
        settings["input_gain.gain_db"] = gain_db
        first = self._render(_normalised(settings))[0].cpu().numpy()
        missing_db = loudness_lufs(mixed, PAIR_RATE) - loudness_lufs(first, PAIR_RATE)
        if math.isfinite(missing_db):
            settings["output_gain.gain_db"] = BY_KEY["output_gain.gain_db"].clip(missing_db)
        self.start = _normalised(settings)
        self.best, self.least = self.start, math.inf
        self.history: list[float] = []
        self.off: frozenset[str] = frozenset()
        self.spread: dict[str, tuple[float, float]] = {}

    @torch.no_grad()
    def _render(self, point: Tensor) -> Tensor:
        return self.console(self.raw, denormalize(point[None].to(self.raw.device)))

    def run(self) -> None:
        """Search, then switch off what is not heard, then see how sure the settings are."""
        steps = QUICK_STEPS if self.options.quick else STEPS
        budget, began = self.options.seconds, time.monotonic()
        point = self.start.clone().requires_grad_()
        optimizer = torch.optim.Adam([point], lr=STEP_SIZE, betas=(0.9, 0.95))
        fixed = [p.key for p in PARAMETERS].index("input_gain.gain_db")
        done = 0.0
        while done < 1.0:
            optimizer.param_groups[0]["lr"] = STEP_SIZE * 0.5 * (1.0 + math.cos(math.pi * done))
            result = self.console(self.raw, denormalize(point[None].to(self.raw.device)))
            distance = mix_distance(result, self.mixed, PAIR_RATE, stride=LOSS_STRIDE).sum()
            loss = distance + PULL * (point - self.start).square().sum()
            if float(loss.detach()) < self.least:
                self.best, self.least = point.detach().clone(), float(loss.detach())
            self.history.append(float(distance.detach()))
            optimizer.zero_grad()
            loss.backward()
            assert point.grad is not None
            point.grad[fixed] = 0.0
            optimizer.step()
            with torch.no_grad():
                point.clamp_(0.0, 1.0)
            done = len(self.history) / steps
            if budget is not None:
                done = (time.monotonic() - began) / (0.7 * budget)
            self.tell(min(done, 1.0), self.history[-1])
        self._switch_off()
        if not self.options.quick and (budget is None or time.monotonic() - began < budget):
            self._probe()

    def _distance(self, settings: Mapping[str, Tensor], off: frozenset[str]) -> Tensor:
        audio = self.raw.expand(len(next(iter(settings.values()))), -1, -1)
        with torch.no_grad():
            result = self.console(audio, settings, off)
        result = result.expand(-1, 2, -1)
        return mix_distance(result, self.mixed.expand_as(result), PAIR_RATE, stride=LOSS_STRIDE)

    def _switch_off(self) -> None:
        settings = denormalize(self.best[None].to(self.raw.device))
        least = float(self._distance(settings, self.off))
        # Only without both of the last two is a mono mix reached.
        single = (*(f"eq.{band}" for band in EQ_BANDS), "compressor", "pan", "reverb")
        for switches in (*({switch} for switch in single), {"pan", "reverb"}):
            without = float(self._distance(settings, self.off | switches))
            if without < least + UNHEARD:
                self.off, least = self.off | switches, min(least, without)

    def _probe(self) -> None:
        """How far each setting could go before the distance rises: by its curvature."""
        heard = slice(0, int(PROBE_SECONDS * PAIR_RATE))
        self.raw, self.mixed = self.raw[..., heard], self.mixed[..., heard]
        point = denormalize(self.best[None].to(self.raw.device))
        # A long reverb takes most of the time: it sounds only while its own settings are probed.
        dry = self.off | {"reverb"}
        centres = {off: float(self._distance(point, off)) for off in (self.off, dry)}
        for i, parameter in enumerate(PARAMETERS):
            off = self.off if parameter.section == "reverb" else dry
            points = self.best.repeat(2, 1)
            points[:, i] += torch.tensor([-PROBE, PROBE], dtype=points.dtype)
            points.clamp_(0.0, 1.0)
            moved = self._distance(denormalize(points.to(self.raw.device)), off)
            rise = moved - centres[off]
            curvature = max(float(rise.mean()) / PROBE**2, 1e-6)
            width = min(math.sqrt(UNCERTAIN / curvature), 1.0)
            ends = (float(self.best[i]) + side * width for side in (-1.0, 1.0))
            low, high = (parameter.to_physical(min(max(end, 0.0), 1.0)) for end in ends)
            self.spread[parameter.key] = (float(low), float(high))

    def result(self) -> tuple[dict[str, float], frozenset[str], dict[str, tuple[float, float]]]:
        """Return the best settings, what is off, and how sure they are."""
        settings = {k: BY_KEY[k].clip(float(v)) for k, v in denormalize(self.best).items()}
        return settings, self.off, self.spread


def _normalised(settings: Mapping[str, float]) -> Tensor:
    """``(parameters,)`` float64 in 0…1."""
    return torch.tensor([p.to_normalised(settings[p.key]) for p in PARAMETERS]).double()
