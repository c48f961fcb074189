"""Later modules on three minutes, beside pedalboard's; what one costs that is off.

``python -m tests.benchmarks.modules`` prints the time of three minutes mono at 44.1 kHz, forward,
float32: each module alone, and pedalboard's equals, in turns, so that all of them meet the same
load. Its ``Delay`` has neither cuts nor sides: on one channel, with its high- and low-pass behind
it, it comes closest to ours of width 0, and to fill both sides it runs on two. Its ``Distortion``
is a tanh without antialiasing: its equal is the one between its own resamplers, at eight times the
rate. Then the chain of version 1.0 where nothing is said of the later modules, and where they are
bypassed by name: both are to take the same time, and to give the same samples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from diffconsole.console import Console
from diffconsole.strip.parameters import CHAIN, MODULES, PARAMETERS
from tests.synthetic import voice

RATE = 44100
MOST_OFF = 1.05
OVERSAMPLED = 8
PEERS = {
    "gate": "NoiseGate",
    "compressor_2": "Compressor",
    "delay of width 0": "Delay, its filters",
    "delay": "Delay, two channels",
    "saturation": f"Distortion, {OVERSAMPLED} times the rate",
}
"""Of pedalboard, beside each module: what comes closest to the same work."""


def in_turns(runs: Mapping[str, Callable[[], object]], times: int) -> dict[str, np.ndarray]:
    """Return the seconds of every run, the runs one after the other in each round."""
    for run in runs.values():
        run()
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(times):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            found[name].append(time.perf_counter() - start)
    return {name: np.array(seconds) for name, seconds in found.items()}


def alone(key: str, audio: torch.Tensor, **changes: float) -> Callable[[], torch.Tensor]:
    """Return a run of one module at the table's defaults, but for what is given by short name."""
    console = Console(RATE, bypass=set(MODULES) - {key})
    own = {p.key: changes.get(p.name, p.default) for p in PARAMETERS if p.module == key}
    settings = {name: torch.tensor([value]) for name, value in own.items()}
    return lambda: console(audio, settings)


def noise_gate(samples: np.ndarray) -> Callable[[], object]:
    """Return a run of pedalboard's gate at the settings of ours, which has a range and a hold."""
    import pedalboard

    own = {p.name: p.default for p in PARAMETERS if p.module == "gate"}
    effect = pedalboard.NoiseGate(
        own["threshold_db"], own["ratio"], own["attack_ms"], own["release_ms"]
    )
    return lambda: effect(samples, RATE)


def compressor(samples: np.ndarray) -> Callable[[], object]:
    """Return a run of pedalboard's compressor, which has no knee, at the settings of our second."""
    import pedalboard

    own = {p.name: p.default for p in PARAMETERS if p.module == "compressor_2"}
    times = (2.0 * np.pi * own[name] for name in ("attack_ms", "release_ms"))
    effect = pedalboard.Compressor(own["threshold_db"], own["ratio"], *times)
    return lambda: effect(samples, RATE)


def feedback_delay(samples: np.ndarray, cuts: bool = False) -> Callable[[], object]:
    """Return a run of pedalboard's delay, which has no sides; its cuts can only lie behind it."""
    import pedalboard

    own = {p.name: p.default for p in PARAMETERS if p.module == "delay"}
    effects = [pedalboard.Delay(own["time_ms"] / 1000.0, own["feedback"], mix=1.0)]
    if cuts:
        effects.append(pedalboard.HighpassFilter(own["low_cut_hz"]))
        effects.append(pedalboard.LowpassFilter(own["high_cut_hz"]))
    chain = pedalboard.Pedalboard(effects)
    return lambda: chain(samples, RATE)


def distortion(samples: np.ndarray) -> Callable[[], object]:
    """Return a run of pedalboard's tanh at the drive of our saturation."""
    import pedalboard

    own = {p.name: p.default for p in PARAMETERS if p.module == "saturation"}
    effect = pedalboard.Distortion(own["drive_db"])
    return lambda: effect(samples, RATE)


def oversampled_distortion(samples: np.ndarray) -> Callable[[], object]:
    """Return a run of that tanh at eight times the rate, between pedalboard's resamplers."""
    from pedalboard import Distortion, Resample
    from pedalboard.io import StreamResampler

    # Worse ones hardly resample: aliases of a 5 kHz tone are as high as without them.
    quality = Resample.Quality.WindowedSinc8

    own = {p.name: p.default for p in PARAMETERS if p.module == "saturation"}
    effect, rate = Distortion(own["drive_db"]), OVERSAMPLED * RATE

    def run() -> object:
        up = StreamResampler(RATE, rate, 1, quality)
        down = StreamResampler(rate, RATE, 1, quality)
        parts = []
        for first in range(0, samples.shape[1], RATE):
            bent = effect(up.process(samples[:, first : first + RATE]), rate, reset=first == 0)
            parts.append(down.process(bent))
        return np.concatenate(parts, axis=1)

    return run


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=180.0)
    options.add_argument("--times", type=int, default=7)
    given = options.parse_args()
    torch.set_num_threads(1)
    part = voice(min(given.seconds, 20.0), 1, RATE)
    samples = np.resize(part, int(given.seconds * RATE)).astype(np.float32)[None]
    audio = torch.from_numpy(samples)[None]
    later = [module.key for module in CHAIN if not module.is_on_by_default]
    chain = Console(RATE, bypass={"pan", "reverb"})
    first = chain.defaults(1)
    every = {p.key: torch.tensor([p.default]) for p in PARAMETERS}
    with torch.inference_mode():
        runs = {key: alone(key, audio) for key in later}
        runs["delay of width 0"] = alone("delay", audio, width=0.0)
        runs["pedalboard NoiseGate"] = noise_gate(samples)
        runs["pedalboard Compressor"] = compressor(samples)
        runs["pedalboard Delay"] = feedback_delay(samples)
        runs["pedalboard Delay, its filters"] = feedback_delay(samples, cuts=True)
        runs["pedalboard Delay, two channels"] = feedback_delay(np.repeat(samples, 2, axis=0))
        runs["pedalboard Distortion"] = distortion(samples)
        runs["chain, nothing said of later modules"] = lambda: chain(audio, first)
        runs["chain, later modules bypassed"] = lambda: chain(audio, every, bypass=later)
        assert torch.equal(chain(audio, first), chain(audio, every, bypass=later))
        found = in_turns(runs, given.times)
        # It takes seconds.
        oversampled = f"pedalboard Distortion, {OVERSAMPLED} times the rate"
        found |= in_turns({oversampled: oversampled_distortion(samples)}, 1)
    print(f"{given.seconds:g} s mono at {RATE} Hz, forward, one core, {given.times} times in turns")
    for name, seconds in found.items():
        low, middle, high = 1000.0 * np.quantile(seconds, (0.0, 0.5, 1.0))
        print(f"{name:40} {middle:8.1f} ms ({low:.1f} … {high:.1f})")
    # By the fastest turns: other programs only add to the time.
    for key, name in [*PEERS.items(), ("delay of width 0", "Delay")]:
        ours, peer = found[key].min(), found[f"pedalboard {name}"].min()
        print(f"{key} against pedalboard's {name}: {peer / ours:.2f} times as fast")
    said = found["chain, nothing said of later modules"].min()
    bypassed = found["chain, later modules bypassed"].min()
    print(f"later modules off: {said / bypassed:.3f} of the time with them bypassed by name")
    if said > MOST_OFF * bypassed:
        raise SystemExit("a module that is off costs time")


if __name__ == "__main__":
    main()
