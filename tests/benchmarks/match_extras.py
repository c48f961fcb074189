"""By how much one more module in the console would bring ``match`` nearer to real mixes.

For each real pair the search begins where the usual match ends. For each extra module, and for
nothing more (the control), as many steps of Adam then move the strip's settings and the module's
together, on the whole excerpt. The module's own beginning is the best of some settings that are
tried without gradients; a few of them go the first third of the way, the best one goes on. The
figure is the exact distance in the end (all frames, all samples, the mix's own level).

What counts is the fall, control − extra: most matches come a little nearer by more steps alone.
``again`` is the control with other random numbers: falls no larger than its own are noise. What
gradients do not move, pre-delays and delays, is scanned and not searched, and the strip's own
pre-delay stays. A fall says what the module can do for this distance, not that the engineer had
one.

The modules are in :mod:`.extra_modules`: ``delay`` (one tap with feedback through a low-pass,
plain to ping-pong), ``saturation_before`` and ``saturation_after`` the compressor,
``second_compressor`` in series, ``expander`` before the compressor, ``second_reverb`` with other
noise.

Run: ``python -m tests.benchmarks.match_extras [--songs N or A,B] [--steps N]
[--extras delay,expander] [--starts N] [--cache DIR] [--json]``. With a cache, a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from diffconsole.losses import MixTarget
from diffconsole.modules.compressor.process import compressor
from diffconsole.modules.equalizer.process import equalizer
from diffconsole.modules.pan.process import pan
from diffconsole.modules.reverb.process import reverb
from diffconsole.pairs import PAIR_RATE, Pair, PairFiles, load_pair
from diffconsole.strip.parameters import denormalize
from diffconsole.training.matching.descent import BLIND
from diffconsole.training.matching.objective import INDEX, MatchObjective
from diffconsole.training.matching.plan import USUAL
from diffconsole.training.matching.search import search
from tests.benchmarks.extra_modules import EXTRAS, Extra, reverb_seconds
from tests.benchmarks.match import REAL, Talk

# As different as the songs are, so that a few tell about all: to the published fit a delay brings
# most in the first, and 80sRock is the farthest.
FIRST = ("Beatles", "Disco", "Grunge", "80sRock", "Country1")
CONTROLS = ("control", "again")
SECONDS, STEP_SIZE, SCAN_PART, STEP_PART = 12.0, 0.02, 4, 4
APART, JITTER, SCAN, TOGETHER = 0.15, 0.01, 32, 6


@dataclass(frozen=True)
class Effort:
    """How long each module is searched.

    Attributes
    ----------
    steps : int
        Of Adam.
    starts : int
        That go the first third of the way.
    """

    steps: int
    starts: int


class Strip:
    """A pair, and the console with one more module in it.

    Parameters
    ----------
    pair : Pair
        Aligned.
    extra : Extra
        The module.
    """

    def __init__(self, pair: Pair, extra: Extra) -> None:
        self.objective, self.extra = MatchObjective(pair, SECONDS, "cpu"), extra
        self.level = 10.0 ** (self.objective.output_db / 20.0)
        self.exact = MixTarget(self.objective.mix * self.level, PAIR_RATE)

    def having(self, extra: Extra) -> Strip:
        """Return the same pair with another module."""
        strip = copy.copy(self)
        strip.extra = extra
        return strip

    def in_the_middle(self, points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return both with equal sides if those of the mix are."""
        values = values.clone()
        if self.objective.is_mono:
            for place, parameter in enumerate(self.extra.parameters):
                if parameter.name in ("position", "width"):
                    values[:, place] = parameter.to_normalised(0.0)
        return self.objective.in_the_middle(points), values

    def signals(self, points: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return what feeds the returns, and the result, ``(points, 1 or 2, samples)``.

        A single point serves all of the module's values, and what comes before the module is
        rendered once.
        """
        settings, own = denormalize(points), self.extra.physical(values)
        audio = self.objective.raw.expand(len(points), -1, -1)
        most = max(len(points), len(values))

        def of(module: str) -> dict[str, Tensor]:
            start = f"{module}."
            return {
                k[len(start) :]: v.expand(len(audio))
                for k, v in settings.items()
                if k.startswith(start)
            }

        audio = equalizer(audio, PAIR_RATE, settings)
        if self.extra.place == "before":
            audio = self.extra.process(audio.expand(most, -1, -1), **own)
        audio = compressor(audio, PAIR_RATE, **of("compressor"))
        if self.extra.place == "after":
            audio = self.extra.process(audio.expand(most, -1, -1), **own)
        room = of("reverb")
        decays = (room[name] for name in ("decay_s", "low_ratio", "high_ratio"))
        seconds = reverb_seconds(*decays, audio.shape[-1])
        result = pan(audio, **of("pan")) + reverb(audio, PAIR_RATE, **room, seconds=seconds)
        if self.extra.place == "return":
            result = result + self.extra.process(audio.expand(most, -1, -1), **own)
        return audio, result

    @torch.no_grad()
    def scanned(self, points: Tensor, values: Tensor) -> Tensor:
        """Return the distance on a part of the frames, of each point or of all values at one."""
        rows = [(points, some) for some in values.split(TOGETHER)] if len(points) == 1 else []
        return torch.cat(
            [
                self.objective.distance(self.signals(p, v)[1], part=(0, SCAN_PART))
                for p, v in rows or [(points, values)]
            ]
        )

    @torch.no_grad()
    def distance(self, points: Tensor, values: Tensor) -> Tensor:
        """Return each point's exact distance."""
        return self.exact.distance(self.signals(points, values)[1] * self.level)

    def begin(self, point: Tensor, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the best of the module's starts that are apart, with the strip's point."""
        points = point.repeat(count, 1)
        if self.extra.name in CONTROLS:
            # As many starts as the others have: the best of several is nearer by chance alone.
            noise = torch.from_numpy(rng.normal(0.0, JITTER, points.shape)).to(points)
            noise[0] = 0.0
            noise[:, [INDEX[key] for key in BLIND]] = 0.0
            return self.in_the_middle((points + noise).clamp(0.0, 1.0), points[:, :0])
        with torch.no_grad():
            send, result = self.having(EXTRAS["control"]).signals(point[None], point[None, :0])
        starts = self.extra.starts(send[0], self.objective.mix[0] - result[0])
        values = self.extra.normalised(starts)
        _, values = self.in_the_middle(points, values)
        chosen: list[Tensor] = []
        for number in self.scanned(point[None], values).argsort().tolist():
            if all(float((values[number] - other).abs().sum()) > APART for other in chosen):
                chosen.append(values[number])
        found = torch.stack(chosen[:count])
        return self.in_the_middle(points[: len(found)], found)

    def rescanned(self, points: Tensor, values: Tensor) -> Tensor:
        """Return the module's settings with the best of what gradients do not move."""
        for name in self.extra.blind:
            place = [p.name for p in self.extra.parameters].index(name)
            tried = values.repeat(SCAN + 1, 1)
            tried[1:, place] = torch.linspace(0.0, 1.0, SCAN)
            values = tried[self.scanned(points, tried).argmin()][None]
        return values

    def search(self, point: Tensor, effort: Effort) -> tuple[float, Tensor]:
        """Return the exact distance and the module's settings, 0…1, after the search."""
        rng = np.random.default_rng(CONTROLS.index("again") if self.extra.name == "again" else 0)
        points, values = self.begin(point, effort.starts, rng)
        width = points.shape[1]
        held = [INDEX[key] for key in BLIND]
        held += [
            width + n for n, p in enumerate(self.extra.parameters) if p.name in self.extra.blind
        ]
        leaf = torch.cat((points, values), dim=1).requires_grad_()
        adam = torch.optim.Adam([leaf], betas=(0.8, 0.95), eps=1e-4)
        for step in range(effort.steps):
            if step == effort.steps // 3 and len(leaf) > 1:
                leaf, adam = self.best(leaf.detach(), width, adam)
            adam.zero_grad()
            part = (int(rng.integers(STEP_PART)), STEP_PART)
            _, result = self.signals(leaf[:, :width], leaf[:, width:])
            self.objective.distance(result, part=part).sum().backward()
            leaf.grad.nan_to_num_(0.0, 0.0, 0.0)
            leaf.grad[:, held] = 0.0
            cosine = 0.5 + 0.5 * math.cos(math.pi * step / effort.steps)
            adam.param_groups[0]["lr"] = STEP_SIZE * (0.05 + 0.95 * cosine)
            adam.step()
            with torch.no_grad():
                leaf.clamp_(0.0, 1.0)
                leaf.copy_(torch.cat(self.in_the_middle(leaf[:, :width], leaf[:, width:]), dim=1))
        found = leaf.detach()
        return float(self.distance(found[:, :width], found[:, width:])[0]), found[0, width:]

    def best(
        self, both: Tensor, width: int, adam: torch.optim.Adam
    ) -> tuple[Tensor, torch.optim.Adam]:
        """Return the nearest of some points, its blind settings found anew, and its optimizer."""
        least = self.scanned(both[:, :width], both[:, width:]).argmin()
        point, values = both[least : least + 1].split((width, both.shape[1] - width), dim=1)
        leaf = torch.cat((point, self.rescanned(point, values)), dim=1).requires_grad_()
        (state,) = adam.state.values()
        after = torch.optim.Adam([leaf], betas=(0.8, 0.95), eps=1e-4)
        moments = {k: state[k][least : least + 1].clone() for k in ("exp_avg", "exp_avg_sq")}
        after.state[leaf] = {"step": state["step"], **moments}
        return leaf, after


def kept(path: Path | None, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a file of the cache holds, made if it is not there yet."""
    if path is not None and path.exists():
        return json.loads(path.read_text())
    found = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found) + "\n")
    return found


def matched(pair: Pair) -> dict[str, Any]:
    """Where the usual match of a pair ends, without its uncertainty, which takes as long again."""
    with patch("diffconsole.training.matching.search.estimate_sensitivity", return_value={}):
        (found,), _ = search([pair], replace(USUAL, trial=None))
    return {"point": found.point.tolist()}


def searched(strip: Strip, point: Tensor, effort: Effort) -> dict[str, Any]:
    """What one module brings to a pair."""
    began = time.monotonic()
    distance, values = strip.search(point, effort)
    settings = {k: round(float(v), 4) for k, v in strip.extra.physical(values[None]).items()}
    return {"distance": distance, "settings": settings, "seconds": time.monotonic() - began}


def measure(
    folder: Path, names: list[str], effort: Effort, cache: Path | None, say: Talk
) -> dict[str, float]:
    """Return a song's distance by module, and that of its match."""
    pair = load_pair(PairFiles(folder.name, folder / "raw.mp3", folder / "mixed.mp3"))

    def place(what: str) -> Path | None:
        return cache / f"{folder.name}.{what}.json" if cache else None

    point = torch.tensor(kept(place("point"), lambda: matched(pair))["point"])
    strip = Strip(pair, EXTRAS["control"])
    distances = {"match": float(strip.distance(point[None], point[None, :0]))}
    say(f"{folder.name}: match {distances['match']:.3f}")
    for name in names:
        one_more = functools.partial(searched, strip.having(EXTRAS[name]), point, effort)
        found = kept(place(f"{name}.{effort.steps}x{effort.starts}"), one_more)
        distances[name] = found["distance"]
        told = ", ".join(f"{k} {v:.4g}" for k, v in found["settings"].items())
        say(f"  {name} {found['distance']:.3f} in {found['seconds']:.0f} s; {told}")
    return distances


def table(figures: dict[str, dict[str, float]], names: list[str]) -> list[str]:
    """Return the lines: a song each, the mean, and how far each module is below the control."""
    columns = ["match", *names]
    means = {c: float(np.mean([row[c] for row in figures.values()])) for c in columns}
    width = [max(len(c), 7) + 2 for c in columns]

    def line(title: str, cells: list[str]) -> str:
        return f"{title:<24}" + "".join(f"{c:>{w}}" for c, w in zip(cells, width, strict=True))

    lines = [line("song", columns)]
    for song, row in [*figures.items(), ("mean", means)]:
        lines.append(line(song, [f"{row[c]:.3f}" for c in columns]))
    falls = {c: [row["control"] - row[c] for row in figures.values()] for c in columns}
    for title, of in (("mean fall", np.mean), ("least fall", np.min), ("largest fall", np.max)):
        lines.append(line(title, [f"{float(of(falls[c])):.3f}" for c in columns]))
    return lines


def songs(wanted: str) -> list[Path]:
    """The folders of so many pairs, or of those named, by commas."""
    folders = {p.name.removeprefix("MusicDelta_"): p for p in sorted(REAL.glob("*/"))}
    order = [*(n for n in FIRST if n in folders), *(n for n in folders if n not in FIRST)]
    chosen = order[: int(wanted)] if wanted.isdigit() else wanted.split(",")
    return [folders[name] for name in chosen]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--songs", default="9", help="how many, or their names by commas")
    parser.add_argument("--steps", type=int, default=120, help="of Adam, for each module")
    parser.add_argument("--starts", type=int, default=3, help="of each module")
    parser.add_argument("--extras", help=f"by commas, of {', '.join(EXTRAS)}")
    parser.add_argument("--cache", type=Path, help="folder in which a stopped run goes on")
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    arguments = parser.parse_args()
    names = arguments.extras.split(",") if arguments.extras else list(EXTRAS)
    if not set(names) <= set(EXTRAS):
        parser.error(f"--extras {arguments.extras}: not of {', '.join(EXTRAS)}")
    if not REAL.exists():
        print(f"no {REAL}: nothing to measure on")
        return 2
    # A fall means nothing without what the steps alone bring.
    names = ["control", *(name for name in names if name != "control")]
    say = Talk(arguments.json)
    effort = Effort(arguments.steps, arguments.starts)
    # More threads gain little on steps this small, and would share the processor less well.
    torch.set_num_threads(1)
    figures: dict[str, dict[str, float]] = {}
    for folder in songs(arguments.songs):
        figures[folder.name] = measure(folder, names, effort, arguments.cache, say)
    say("")
    for line in table(figures, names):
        say(line)
    if arguments.json:
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
