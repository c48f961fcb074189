"""The same jobs done by us and by each peer that is installed, as closures to be timed.

A peer that defines a processor otherwise than we do (dasp-pytorch's compressor ignores the
release, torchcomp smooths the gain) does its own thing here: what is compared is the time for an
EQ, a compressor, a reverb with a gradient. Errors are against the float64 reference of our
definition, with the peer's settings translated where its own meaning can be.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffconsole import Console
from diffconsole.console import compressor, equalizer
from diffconsole.encoders.torchaudio_loader import load_torchaudio
from diffconsole.kernels import operators as kernels
from diffconsole.modules.equalizer.process import equalizer_sections
from diffconsole.modules.reverb.process import impulse_response, reverb
from diffconsole.strip.parameters import EQ_BANDS

PEERS = ("dasp_pytorch", "torchcomp", "torchaudio", "scipy", "pedalboard")
PASSES = frozenset({"eq.high_pass", "eq.low_pass"})
NOT_DRY = frozenset({"pan", "reverb"})
REVERB_SECONDS = 2.0

Settings = dict[str, Tensor]


@dataclass(frozen=True)
class Contender:
    """One program on one job."""

    name: str
    forward: Callable[[], Any] | None
    """Forward alone, without a graph."""
    step: Callable[[], Any] | None = None
    """Forward and backward, to the audio and to every setting."""
    off: frozenset[str] = frozenset()
    """What it leaves out of the strip that the reference is made for."""
    hard_knee: bool = False
    comparable: bool = True
    """Whether it claims the processor that the reference defines."""
    slow: bool = False


def missing() -> dict[str, str]:
    """Return the peers that cannot run here, and why."""
    return {name: why for name in PEERS if (why := _why_not(name))}


@functools.cache
def _why_not(name: str) -> str:
    if importlib.util.find_spec(name) is None:
        return "not installed"
    if name == "torchaudio":
        extension = importlib.import_module(f"{load_torchaudio().__name__}._extension")
        if not extension._IS_TORCHAUDIO_EXT_AVAILABLE:
            return "its compiled filter does not load: the wheel wants CUDA's libraries"
    return ""


def _has(name: str) -> bool:
    return not _why_not(name)


def _pair(
    function: Callable[..., Tensor], audio: Tensor, settings: Sequence[Tensor], sides: int = 0
) -> tuple[Callable[[], Tensor], Callable[[], Any]]:
    """Forward without a graph, and forward with backward from a given output gradient."""
    leaves = [audio.clone().requires_grad_(), *(s.clone().requires_grad_() for s in settings)]
    shape = (len(audio), sides or audio.shape[1], audio.shape[2])
    generator = torch.Generator().manual_seed(1)
    gradient = torch.randn(shape, generator=generator).to(audio)

    def forward() -> Tensor:
        with torch.no_grad():
            return function(*leaves)

    def step() -> Any:
        # Some peers ignore a setting: it has no gradient then.
        return torch.autograd.grad(function(*leaves), leaves, gradient, allow_unused=True)

    return forward, step


def _ours(
    audio: Tensor, settings: Settings, rate: int, bypass: frozenset[str], kernel: str = ""
) -> tuple[Callable[[], Tensor], Callable[[], Any]]:
    console = Console(rate, bypass=bypass, reverb_seconds=REVERB_SECONDS)
    keys = list(settings)
    sides = 2 if not bypass >= NOT_DRY else 0

    def run(x: Tensor, *values: Tensor) -> Tensor:
        return console(x, dict(zip(keys, values, strict=True)))

    forward, step = _pair(run, audio, [settings[k] for k in keys], sides)
    if not kernel:
        return forward, step

    def forced(function: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with kernels.use(kernel):
                return function()

        return call

    return forced(forward), forced(step)


# --- dasp-pytorch ----------------------------------------------------------------------------


def _dasp_eq_settings(settings: Settings) -> list[Tensor]:
    bands = ("low_shelf", "peak_1", "peak_2", "peak_3", "peak_4", "high_shelf")
    parts = ("gain_db", "freq_hz", "q")
    return [settings[f"eq.{band}.{part}"] for band in bands for part in parts]


def _dasp_compressor_settings(settings: Settings) -> list[Tensor]:
    parts = ("threshold_db", "ratio", "attack_ms", "release_ms", "knee_db", "makeup_db")
    return [settings[f"compressor.{part}"] for part in parts]


def _dasp(audio: Tensor, settings: Settings, rate: int, job: str) -> Contender:
    import dasp_pytorch

    eq, dynamics = _dasp_eq_settings(settings), _dasp_compressor_settings(settings)

    def run_eq(x: Tensor, *values: Tensor) -> Tensor:
        return dasp_pytorch.parametric_eq(x, rate, *values)

    def run_compressor(x: Tensor, *values: Tensor) -> Tensor:
        return dasp_pytorch.compressor(x, rate, *values)

    def run_chain(x: Tensor, *values: Tensor) -> Tensor:
        return run_compressor(run_eq(x, *values[: len(eq)]), *values[len(eq) :])

    function, values = {
        "chain": (run_chain, eq + dynamics),
        "eq": (run_eq, eq),
        "compressor": (run_compressor, dynamics),
    }[job]
    name = "dasp-pytorch" if job == "compressor" else "dasp-pytorch (6 bands)"
    return Contender(
        name, *_pair(function, audio, values), off=PASSES, comparable=job == "eq", slow=True
    )


def dasp_reverb(audio: Tensor, rate: int) -> Contender:
    """dasp-pytorch's reverb with the same tail: its step alone, since it takes minutes."""
    import dasp_pytorch

    ones = torch.ones(len(audio), device=audio.device)
    values = [0.5 * ones for _ in range(24)] + [0.3 * ones]
    taps = math.ceil(REVERB_SECONDS * rate)

    def run(x: Tensor, *parts: Tensor) -> Tensor:
        return dasp_pytorch.noise_shaped_reverberation(x, rate, *parts, num_samples=taps)

    _, step = _pair(run, audio, values, 2)
    return Contender("dasp-pytorch", None, step, comparable=False, slow=True)


# --- torchaudio, torchcomp -------------------------------------------------------------------


def _lfilter(audio: Tensor, coefficients: Tensor) -> Tensor:
    """torchaudio's filter, once a section: every row is a channel with its own coefficients."""
    lfilter = load_torchaudio().functional.lfilter

    batch, channels, samples = audio.shape
    rows = audio.reshape(1, batch * channels, samples)
    wide = coefficients.repeat_interleave(channels, dim=0).to(audio.dtype)
    one = torch.ones_like(wide[:, 0, :1])
    for s in range(wide.shape[1]):
        a = torch.cat((one, wide[:, s, 3:]), dim=-1)
        rows = lfilter(rows, a, wide[:, s, :3], clamp=False, batching=True)
    return rows.reshape(audio.shape)


def _torchcomp(audio: Tensor, *values: Tensor) -> Tensor:
    import torchcomp

    threshold, ratio, attack, release, makeup = values
    # The peer smooths the gain, with no knee, and takes coefficients in place of times.
    level = audio.abs().amax(dim=1)
    zeros = torch.full_like(threshold, -120.0)
    gains = torchcomp.compexp_gain(
        level, threshold, ratio, zeros, torch.full_like(ratio, 0.5), attack, release
    )
    return audio * gains.unsqueeze(1) * (10.0 ** (makeup / 20.0)).view(-1, 1, 1)


def _torchcomp_settings(settings: Settings, rate: int) -> list[Tensor]:
    def coefficient(name: str) -> Tensor:
        return 1.0 - torch.exp(-1000.0 / (settings[f"compressor.{name}"] * rate))

    parts = [settings[f"compressor.{part}"] for part in ("threshold_db", "ratio", "makeup_db")]
    return [parts[0], parts[1], coefficient("attack_ms"), coefficient("release_ms"), parts[2]]


# --- the contenders of a job -----------------------------------------------------------------


def _pedalboard(audio: Tensor, settings: Settings, rate: int, job: str) -> Contender:
    import pedalboard

    v = {key: float(value[0]) for key, value in settings.items()}
    bands: list[Any] = []
    for band in EQ_BANDS if job != "compressor" else ():
        if f"eq.{band}" in PASSES:
            continue
        kind = {"low_shelf": pedalboard.LowShelfFilter, "high_shelf": pedalboard.HighShelfFilter}
        bands.append(
            kind.get(band, pedalboard.PeakFilter)(
                v[f"eq.{band}.freq_hz"], v[f"eq.{band}.gain_db"], v[f"eq.{band}.q"]
            )
        )
    if job != "eq":
        # JUCE's time constant is 2π of ours.
        times = (v[f"compressor.{part}"] * 2.0 * math.pi for part in ("attack_ms", "release_ms"))
        threshold, ratio = v["compressor.threshold_db"], v["compressor.ratio"]
        bands.append(pedalboard.Compressor(threshold, ratio, *times))
        bands.append(pedalboard.Gain(v["compressor.makeup_db"]))
    board = pedalboard.Pedalboard(bands)
    rows = audio[0].numpy()
    return Contender(
        "pedalboard" if job == "compressor" else "pedalboard (6 bands)",
        lambda: torch.from_numpy(board(rows, rate))[None],
        off=PASSES | {"input_gain", "output_gain"},
        hard_knee=True,
    )


def _copies(audio: Tensor) -> Iterator[Contender]:
    """Yield a copy to a new array, what each program makes, and one to an array that is there."""
    target = torch.empty_like(audio)
    yield Contender("memory copy", lambda: audio.clone(), comparable=False)
    yield Contender("memory copy in place", lambda: target.copy_(audio), comparable=False)


def contenders(
    job: str, audio: Tensor, settings: Settings, rate: int, kernel: str = ""
) -> Iterator[Contender]:
    """Yield us first, then every installed peer that can do a job.

    Parameters
    ----------
    job : str
        ``chain`` (EQ of 8 sections, compressor, gains), ``eq`` or ``compressor``.
    audio : Tensor
        ``(batch, channels, samples)``.
    settings : dict of str to Tensor
        The strip's, ``(batch,)`` each.
    rate : int
        Hz.
    kernel : str
        Force one of our kernels.
    """
    on_cpu = audio.device.type == "cpu"
    eq_keys = {k: v for k, v in settings.items() if k.startswith("eq.")}
    own_keys = {k: v for k, v in settings.items() if k.startswith("compressor.")}
    if job == "chain":
        yield Contender("diffconsole", *_ours(audio, settings, rate, NOT_DRY, kernel))
    elif job == "eq":
        values = list(eq_keys.values())
        run = _pair(
            lambda x, *v: equalizer(x, rate, dict(zip(eq_keys, v, strict=True))), audio, values
        )
        yield Contender("diffconsole", *run)
    else:
        names = [k.split(".")[1] for k in own_keys]
        run = _pair(
            lambda x, *v: compressor(x, rate, **dict(zip(names, v, strict=True))),
            audio,
            list(own_keys.values()),
        )
        yield Contender("diffconsole", *run)
        yield from _copies(audio)
    if _has("dasp_pytorch"):
        yield _dasp(audio, settings, rate, job)
    coefficients = equalizer_sections(rate, eq_keys)
    dynamics = _torchcomp_settings(settings, rate)
    if job == "eq" and _has("torchaudio"):
        yield Contender("torchaudio lfilter", *_pair(_lfilter, audio, [coefficients]))
    if job == "compressor" and _has("torchcomp"):
        yield Contender("torchcomp", *_pair(_torchcomp, audio, dynamics), comparable=False)
    if job == "chain" and _has("torchaudio") and _has("torchcomp"):
        both = _pair(
            lambda x, sos, *v: _torchcomp(_lfilter(x, sos), *v), audio, [coefficients, *dynamics]
        )
        yield Contender("torchaudio + torchcomp", *both, comparable=False)
    if not on_cpu:
        return
    if job == "eq" and _has("scipy"):
        yield _scipy(audio, coefficients)
    if len(audio) == 1 and _has("pedalboard"):
        yield _pedalboard(audio, settings, rate, job)


def _scipy(audio: Tensor, coefficients: Tensor) -> Contender:
    from scipy import signal

    one = np.ones((len(coefficients), coefficients.shape[1], 1))
    sos = coefficients.numpy()
    full = np.concatenate((sos[..., :3], one, sos[..., 3:]), axis=-1)
    rows = audio.numpy()

    def run() -> Tensor:
        return torch.from_numpy(
            np.stack([signal.sosfilt(full[i], rows[i]) for i in range(len(rows))])
        )

    return Contender("scipy sosfilt", run)


def our_reverb(audio: Tensor, settings: Settings, rate: int) -> Contender:
    """Our reverb with the tail of :func:`dasp_reverb`."""
    values = {k.split(".")[1]: v for k, v in settings.items() if k.startswith("reverb.")}

    def run(x: Tensor, *parts: Tensor) -> Tensor:
        named = dict(zip(values, parts, strict=True))
        return reverb(x, rate, **named, seconds=REVERB_SECONDS)

    return Contender("diffconsole", *_pair(run, audio, list(values.values()), 2), comparable=False)


def training_parts(
    audio: Tensor, settings: Settings, rate: int, kernel: str = ""
) -> Iterator[Contender]:
    """Yield the whole console with pan and reverb, and its parts alone: where the time goes."""
    modules = frozenset({"input_gain", "eq", "compressor", "pan", "reverb", "output_gain"})
    yield Contender("diffconsole", *_ours(audio, settings, rate, frozenset(), kernel))
    for part in ("eq", "compressor", "pan", "reverb"):
        yield Contender(f"{part} alone", *_ours(audio, settings, rate, modules - {part}, kernel))
    console = Console(rate, bypass=modules - {"reverb"}, reverb_seconds=REVERB_SECONDS)
    keys = [k for k in settings if k.startswith("reverb.") and k != "reverb.wet_db"]

    def response(_: Tensor, *values: Tensor) -> Tensor:
        named = dict(zip((k.split(".")[1] for k in keys), values, strict=True))
        return impulse_response(console.sample_rate, **named, seconds=REVERB_SECONDS)

    values = [settings[k].clone().requires_grad_() for k in keys]
    shape = response(audio, *values).shape
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(audio)

    def forward() -> Tensor:
        with torch.no_grad():
            return response(audio, *values)

    def step() -> Any:
        return torch.autograd.grad(response(audio, *values), values, gradient)

    yield Contender("impulse response alone", forward, step)
