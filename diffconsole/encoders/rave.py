"""RAVE and BRAVE: the latents of realtime autoencoders, from their TorchScript exports.

The networks of A. Caillon and P. Esling, "RAVE: A variational autoencoder for fast and
high-quality neural audio synthesis" (2021), and of F. Caspe and others' BRAVE (2025), as their
``export`` writes them (``.ts``); no package of theirs is needed. Such a file runs its author's
code: use files that you trust. What is relied on is what the host nn~ relies on, too: the method
``encode`` and the tensor ``encode_params``, which holds channels and ratio of what goes in, then
of what comes out. The rate is in ``sampling_rate`` or ``sr``; files without either want
``--encoder-rate``.

How a published export is made to serve as an encoder:

- A variational one draws its latents around their mean. The draws from the normal distribution
  are answered with zeros, which gives the mean. Whatever else is random gets a fixed seed.
- A streaming one keeps the end of each buffer for the next. Before each call all that a trial saw
  change is set to zero, as at the start of a stream, so no file depends on what came before it.
- After the first phase of training the encoder cuts its gradient off (``warmed_up``); this is
  undone.

What these networks make of the level is not known, so each frame's level is one more feature.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import ModelError
from .base import scaled_level
from .torchscript import FileEncoder, last_line, load_script, parts_of, read_file

__all__ = ["RaveEncoder"]

RATES = ("sampling_rate", "sr")
COMBINED = "_rave"
TRIAL_SECONDS = 0.5
LARGEST_DIM, LARGEST_RATIO = 4096, 1 << 16
MOST_CHANNELS = 2
NORMAL_DRAWS = ("aten::randn", "aten::randn_like")


class RaveEncoder(FileEncoder):
    """See the module. One frame each ratio: 2048 samples as published, 128 of BRAVE.

    Parameters
    ----------
    file : bytes
        The export.
    sample_rate : int, optional
        Hz; None if the file states it.
    about : str
        Which network it is.
    """

    name = "rave"

    def __init__(self, file: bytes, sample_rate: int | None, about: str = "") -> None:
        network = load_script(file)
        super().__init__(file, _rate(network, sample_rate), about)
        self.network = network
        self.channels, self.latents, self.ratio = _shape(network)
        self.dim = self.latents + 1
        self.frames_per_second = self.sample_rate / self.ratio
        # Files that hold a prior, too, have the network one floor down.
        whole = getattr(network, COMBINED, network)
        self.encoder_name = "encoder." if whole is network else f"{COMBINED}.encoder."
        if not hasattr(whole, "encoder"):
            raise ValueError("no export of RAVE or BRAVE: lacks encoder")
        for name, value in network.named_buffers():
            if name.startswith(self.encoder_name) and name.endswith("warmed_up"):
                value.zero_()
        # What comes behind the latents is neither run nor trained, nor are fixed filters before.
        for name, weights in network.named_parameters():
            weights.requires_grad_(name.startswith(self.encoder_name))
        self.state: list[str] = []
        self.rows: int | None = None
        self.random = False
        self.about = ", ".join([self.title, *self._try_out()])

    def forward(self, audio: Tensor) -> Tensor:
        """Turn ``(batch, channels, samples)`` at `sample_rate` into ``(batch, frames, dim)``."""
        mono = audio.mean(dim=1, keepdim=True)
        network_input = (
            audio if audio.shape[1] == self.channels else mono.expand(-1, self.channels, -1)
        )
        spare = -audio.shape[-1] % self.ratio
        network_input, mono = (nn.functional.pad(x, (0, spare)) for x in (network_input, mono))
        latents = torch.cat(
            [self._encode(rows)[0] for rows in network_input.split(self.rows or len(network_input))]
        )
        power = nn.functional.adaptive_avg_pool1d(mono.square(), latents.shape[-1])
        return torch.cat((latents, scaled_level(power)), dim=1).transpose(1, 2)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """Return the parts of the encoder that have weights, from the input up."""
        whole = getattr(self.network, COMBINED, self.network)
        return parts_of(cast(nn.Module, whole.encoder), self.encoder_name)

    @classmethod
    def open(
        cls, source: str | None, sample_rate: int | None, *, trust: bool = False
    ) -> RaveEncoder:
        """Build from an export."""
        if source is None:
            raise ModelError("encoder 'rave': give an export of RAVE or BRAVE, as rave:voice.ts")
        path = Path(source)
        return cls.of_file(read_file(path), path, sample_rate=sample_rate, about=path.name)

    def _encode(self, audio: Tensor) -> tuple[Tensor, bool]:
        """Return the latents' means, and whether the file wanted to draw around them."""
        self._forget()
        seeded = _seeded(audio.device) if self.random else contextlib.nullcontext()
        with seeded, _NoDraws() as draws:
            latents: Tensor = cast(Any, self.network).encode(audio)
        return latents, draws.met

    def _forget(self) -> None:
        buffers = dict(self.network.named_buffers())
        for name in self.state:
            buffers[name].detach_().zero_()

    @torch.no_grad()
    def _try_out(self) -> list[str]:
        """Find out what the network keeps between calls, how many rows it takes, what it draws.

        Returns
        -------
        list of str
            What to say of it.

        Raises
        ------
        ValueError
            It fails, or gives something else than it says.
        """
        generator = torch.Generator().manual_seed(0)
        samples = -(-int(TRIAL_SECONDS * self.sample_rate) // self.ratio) * self.ratio
        noise = 0.1 * torch.randn(2, self.channels, samples, generator=generator)
        before = {name: value.clone() for name, value in self.network.named_buffers()}
        try:
            found, drawn = self._encode(noise[:1])
        except Exception as error:  # noqa: BLE001 - the author's code may raise anything.
            said = last_line(error)
            raise ValueError(f"no RAVE: encode gave an error, {said}") from None
        wanted = (1, self.latents, samples // self.ratio)
        if not isinstance(found, Tensor) or found.shape != wanted:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"no RAVE: encode gave {shape}, not {wanted} as its encode_params say")
        if not bool(found.isfinite().all()):
            raise ValueError("no RAVE: encode gave NaN or infinity")
        if torch.equal(found, found.round()) and bool(found.any()):
            raise ValueError(
                "its latents are the numbers of codebook entries, which have no order and no "
                "gradient; give a variational or Wasserstein export"
            )
        changed = {
            name: value
            for name, value in self.network.named_buffers()
            if not torch.equal(value, before[name])
        }
        self.state = list(changed)
        # Caches have a row for each of a batch, as many as cached_conv was given.
        self.rows = min(
            (max(1, len(value)) for value in changed.values() if value.ndim), default=None
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            first = self._encode(noise[:1])[0]
            self.random = not torch.equal(first, self._encode(noise[:1])[0])
        notices = ["the means of its latents"] if drawn else []
        notices += ["what it draws with a fixed seed"] if self.random else []
        return notices + (["its stream starts again with each vocal"] if self.state else [])


class _NoDraws(TorchDispatchMode):
    """Answers draws from the normal distribution with zeros, the mean; in TorchScript, too."""

    met = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.name().split(".")[0] in NORMAL_DRAWS:
            self.met = True
            return torch.zeros_like(result)
        return result


@contextlib.contextmanager
def _seeded(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def _shape(network: nn.Module) -> tuple[int, int, int]:
    """Channels that go in, latents, and samples a frame.

    Raises
    ------
    ValueError
        The file has no encode, or says something that cannot be.
    """
    missing = [name for name in ("encode", "encode_params") if not hasattr(network, name)]
    if missing:
        raise ValueError(
            f"no export of RAVE or BRAVE: lacks {' and '.join(missing)}; any other network is "
            "opened by script:FILE"
        )
    stated = network.encode_params
    numbers = [int(n) for n in stated.reshape(-1).tolist()] if isinstance(stated, Tensor) else []
    highest = (MOST_CHANNELS, 1, LARGEST_DIM, LARGEST_RATIO)
    if len(numbers) != len(highest) or not all(
        1 <= n <= most for n, most in zip(numbers, highest, strict=True)
    ):
        raise ValueError(
            f"no export of RAVE or BRAVE: its encode_params are {numbers}, not channels, 1, "
            f"latents, ratio of at most {highest}"
        )
    return numbers[0], numbers[2], numbers[3]


def _rate(network: nn.Module, given: int | None) -> int:
    """The rate that the file states, else the given one.

    Raises
    ------
    ValueError
        There is none, or they differ.
    """
    stated = None
    places = (network, getattr(network, COMBINED, network))
    for value in (getattr(place, name, None) for place in places for name in RATES):
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, (int, float)) and value > 0:
            stated = int(value)
            break
    if stated is None and given is None:
        raise ValueError("does not state its sample rate; give it by --encoder-rate")
    if stated is not None and given is not None and stated != given:
        raise ValueError(f"says that it takes {stated} Hz, not {given}; leave --encoder-rate out")
    return stated or given or 0
