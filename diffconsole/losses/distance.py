"""Distance of a processed vocal to the engineer's mix, differentiable, as it is reported.

``total = MSS(L, R) + 0.5·MSS(M, S) + 0.5·MLDR(L, R) + 0.25·MLDR(M, S)``, the weights and terms of
Yu et al., *DiffVox* (DAFx 2025):

- MSS: per STFT resolution (128, 512, 2048, hop a quarter, Hann) of the A-weighted signals, the
  spectral convergence ``‖|Y| − |X|‖ / ‖|Y|‖`` plus the mean of ``|log|Y| − log|X||``; the mean
  over the resolutions.
- MLDR: the mean of ``|r(x) − r(y)|``, ``r`` the log ratio of short-term to long-term energy,
  for 50/1000 ms and 100/2000 ms: what a compressor does to the micro-dynamics.

:class:`MixTarget` keeps what depends on the mix alone, for many distances to the same one. On the
CPU compiled loops (:mod:`.distance_cpu`) serve, where numba is; elsewhere torch operations do.

The side of a nearly mono mix lies 60 dB and more below its mid. As reported, the distance compares
it with the side of a reverb all the same, and comes to some ten times what it is elsewhere, for
differences that are inaudible. With ``bounded`` neither mid nor side counts as lower than 40 dB
below the other one of the mix, in each bin of the spectra and each average of the energies: for
what is trained and chosen by the distance.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ..kernels import operators as kernels
from ..kernels.shapes import fast_length
from ..modules.equalizer.sections_operator import sections
from .figures import ENERGY_TIMES_MS, FFT_SIZES, MASKED_DB, POWER_FLOOR
from .terms import REPORTED, Term, combined_weights
from .weighting import a_weighted, a_weighting, short_spectrum

__all__ = ["MixTarget", "mix_distance", "mix_distance_terms", "spectral_distance"]

# Frames that a part of the spectra takes or leaves together.
FRAME_RUN = 32


def _power(spectrum: Tensor) -> Tensor:
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=POWER_FLOOR)


def _compare(predicted: Tensor, target: Tensor) -> Tensor:
    """Spectral convergence and log distance of two complex spectra, ``(batch,)``."""
    return _compare_powers(_power(predicted), _power(target))


def _compare_powers(predicted: Tensor, target: Tensor) -> Tensor:
    p, t = predicted.flatten(1), target.flatten(1)
    p_root, t_root = p.sqrt(), t.sqrt()
    error = torch.linalg.vector_norm(t_root - p_root, dim=1)
    convergence = error / torch.linalg.vector_norm(t_root, dim=1)
    return convergence + 0.5 * (p.log() - t.log()).abs().mean(dim=1)


def spectral_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the multi-resolution STFT distance of ``(batch, channels, samples)``: ``(batch,)``.

    The norms of the spectral convergence run over all channels of an item.
    """
    terms = [_compare(short_spectrum(predicted, n), short_spectrum(target, n)) for n in FFT_SIZES]
    return torch.stack(terms).mean(dim=0)


def _part_of(spectrum: Tensor, part: tuple[int, int]) -> Tensor:
    """Every so many-th run of frames; see :meth:`MixTarget.terms`."""
    index, count = part
    frames = spectrum.shape[-1]
    runs = -(-frames // FRAME_RUN)
    count = min(count, runs)
    if count == 1:
        return spectrum
    index, whole = index % count, frames // FRAME_RUN
    # Views by numbers that are known beforehand: a mask would have to wait for the device.
    full = spectrum[..., : whole * FRAME_RUN].unflatten(-1, (whole, FRAME_RUN))
    found = full[..., index::count, :].flatten(-2)
    if whole < runs and whole % count == index:
        found = torch.cat((found, spectrum[..., whole * FRAME_RUN :]), dim=-1)
    return found


def _masked(
    predicted: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mid and side, as energies, none of them lower than :data:`MASKED_DB` below the mix's other.

    First those of the result, then those of the mix.
    """
    ratio = 10.0 ** (MASKED_DB / 10.0)
    mid = torch.maximum(target[0], ratio * target[1])
    side = torch.maximum(target[1], ratio * target[0])
    ours = torch.maximum(predicted[0], ratio * side), torch.maximum(predicted[1], ratio * mid)
    return ours, (mid, side)


def _stereo_distances(
    predicted: Tensor, target: Tensor, part: tuple[int, int], bounded: bool
) -> tuple[Tensor, Tensor]:
    """MSS of left/right, and the mean of those of sum and difference, from the same spectra."""
    left_right, sum_difference = [], []
    for size in FFT_SIZES:
        p, t = (_part_of(short_spectrum(audio, size), part) for audio in (predicted, target))
        left_right.append(_compare(p, t))
        ours, theirs = ((_power(s[:, 0] + s[:, 1]), _power(s[:, 0] - s[:, 1])) for s in (p, t))
        if bounded:
            ours, theirs = _masked(ours, theirs)
        both, apart = (_compare_powers(a, b) for a, b in zip(ours, theirs, strict=True))
        sum_difference.append(0.5 * (both + apart))
    return torch.stack(left_right).mean(dim=0), torch.stack(sum_difference).mean(dim=0)


def _average(energy: Tensor, time_ms: float, sample_rate: float) -> Tensor:
    """Average by a one-pole, ``s[n] = s[n−1] + step·(e[n] − s[n−1])`` from 0, of float64."""
    per_sample = 2200.0 / time_ms / sample_rate
    step = 1.0 - math.exp(-per_sample)
    if kernels.name_for(energy) == "cpu":
        one_pole = torch.tensor([[[step, 0.0, 0.0, step - 1.0, 0.0]]], dtype=torch.float64)
        return sections(energy, one_pole.expand(len(energy), 1, 5))
    # By its response, as long as the sound: nothing wraps around, of which the first averages,
    # that of near silence, would have gradients of any size, and nothing is waited for.
    samples = energy.shape[-1]
    length = fast_length(2 * samples)
    places = torch.arange(samples, dtype=torch.float64, device=energy.device)
    response = torch.fft.rfft(step * torch.exp(-per_sample * places), length)
    return torch.fft.irfft(torch.fft.rfft(energy, length) * response, length)[..., :samples]


def _averages(audio: Tensor, sample_rate: float, stride: int) -> list[list[Tensor]]:
    """For each pair of times the short and the long average, ``(batch, 2, places)``."""
    energy = audio.to(torch.float64).square().clamp(min=POWER_FLOOR)
    found = []
    for short_ms, long_ms in ENERGY_TIMES_MS:
        shift = int(sample_rate * (long_ms - short_ms) * 0.0005)
        short = _average(energy, short_ms, sample_rate)
        long = _average(energy, long_ms, sample_rate)
        long = long.roll(-shift, dims=-1)
        found.append([short[..., ::stride], long[..., ::stride]])
    return found


def _dynamics_distance(
    predicted: Tensor, target: Tensor, sample_rate: float, stride: int, bounded: bool = False
) -> Tensor:
    ours, theirs = (_averages(audio, sample_rate, stride) for audio in (predicted, target))
    distances = []
    for pair in zip(ours, theirs, strict=True):
        if bounded:
            # Of the short averages those of both sounds, then those of the long ones.
            masked = [_masked_rows(p, t) for p, t in zip(*pair, strict=True)]
            pair = ([p for p, _ in masked], [t for _, t in masked])
        (p_short, p_long), (t_short, t_long) = ([a.log() for a in each] for each in pair)
        distances.append((p_short - p_long - (t_short - t_long)).abs().mean(dim=(1, 2)))
    return torch.stack(distances).sum(dim=0).to(predicted.dtype)


def _masked_rows(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`_masked` of averages of mid and side, ``(batch, 2, places)`` each."""
    ours, theirs = _masked((predicted[:, 0], predicted[:, 1]), (target[:, 0], target[:, 1]))
    return torch.stack(ours, dim=1), torch.stack(theirs, dim=1)


def _sum_difference(audio: Tensor) -> Tensor:
    left, right = audio[:, :1], audio[:, 1:]
    return torch.cat((left + right, left - right), dim=1)


def _torch_terms(
    target: Tensor, sample_rate: float, stride: int, bounded: bool = False
) -> Callable[[Tensor, tuple[int, int]], list[Tensor]]:
    weighed, half = a_weighted(target, sample_rate), math.sqrt(0.5)

    def terms(predicted: Tensor, part: tuple[int, int]) -> list[Tensor]:
        p, t = (half * _sum_difference(audio) for audio in (predicted, target))
        return [
            *_stereo_distances(a_weighted(predicted, sample_rate), weighed, part, bounded),
            _dynamics_distance(predicted, target, sample_rate, stride),
            _dynamics_distance(p, t, sample_rate, stride, bounded),
        ]

    return terms


class MixTarget:
    """A mix to which many sounds are compared: what depends on it alone is found once.

    Parameters
    ----------
    audio : Tensor
        ``(batch, 1 or 2, samples)``; mono counts as two equal channels. A batch of one serves
        any number of items.
    sample_rate : float
        Hz; published figures are at 44100.
    stride : int
        The dynamics are compared at each so many samples; 1 is the reported distance, more is
        faster and, the energies being smooth over 50 ms, nearly the same.
    bounded : bool
        Whether neither mid nor side counts as lower than 40 dB below the mix's other one. False
        is the reported distance.
    weights : mapping of str to float, optional
        Weights of terms by name, in place of the reported ones.
    extra : sequence of Term
        Terms beside the four of the reported distance.

    Raises
    ------
    SettingsError
        A weight is for no term, or two terms have one name.

    Notes
    -----
    In the CPU's loops it holds magnitudes as 24 numbers a sample, and 8 more at stride 1: 5.6 MB
    a second of float32 at 44.1 kHz.
    """

    def __init__(
        self,
        audio: Tensor,
        sample_rate: float,
        *,
        stride: int = 1,
        bounded: bool = False,
        weights: Mapping[str, float] | None = None,
        extra: Sequence[Term] = (),
    ) -> None:
        self.weights = combined_weights(weights, extra)
        self.audio = audio.expand(-1, 2, -1)
        self._extra = {term.name: term.prepare(self.audio, sample_rate) for term in extra}
        if self._is_for_loops():
            # Brings numba along, which is not loaded before it is needed.
            prepare = importlib.import_module(".distance_cpu", __package__).loop_terms
            taps = a_weighting(sample_rate)
            masked_db = MASKED_DB if bounded else None
            self._compute = prepare(
                self.audio, taps, FFT_SIZES, ENERGY_TIMES_MS, sample_rate, stride, masked_db
            )
        else:
            self._compute = _torch_terms(self.audio, sample_rate, stride, bounded)

    def _is_for_loops(self) -> bool:
        # The loops know no gradient of the target, and no sound shorter than half a frame.
        audio = self.audio
        return (
            kernels.name_for(audio) == "cpu"
            and not (torch.is_grad_enabled() and audio.requires_grad)
            and audio.dtype in (torch.float32, torch.float64)
            and audio.shape[-1] > max(FFT_SIZES) // 2
            and len(audio) > 0
        )

    def terms(self, predicted: Tensor, *, part: tuple[int, int] = (0, 1)) -> dict[str, Tensor]:
        """Return every term and their weighted total, each ``(batch,)``.

        Parameters
        ----------
        predicted : Tensor
            ``(batch, 1 or 2, samples)``, as long as the mix and of its type.
        part : tuple of int
            ``(index, count)``: the spectra are compared in every `count`-th run of 32 frames
            from number `index` on, at some ``1/count`` of the time. A random index at each step
            makes a fair estimate for an optimiser; ``(0, 1)`` is the reported distance.

        Returns
        -------
        dict of str to Tensor
            ``mss_lr``, ``mss_ms``, ``mldr_lr``, ``mldr_ms``, those that were added, and
            ``total``.
        """
        predicted = predicted.expand(-1, 2, -1)
        if predicted.shape[-1] != self.audio.shape[-1]:
            lengths = f"{predicted.shape[-1]} and {self.audio.shape[-1]}"
            raise ValueError(f"sounds of equal length can be compared, not of {lengths} samples")
        if len(self.audio) not in (1, len(predicted)):
            raise ValueError(f"{len(self.audio)} mixes for {len(predicted)} items")
        if predicted.dtype != self.audio.dtype:
            raise ValueError(f"the mix is {self.audio.dtype}, the sound {predicted.dtype}")
        terms = dict(zip(REPORTED, self._compute(predicted, part), strict=True))
        terms |= {name: compute(predicted) for name, compute in self._extra.items()}
        terms["total"] = torch.stack([self.weights[k] * v for k, v in terms.items()]).sum(dim=0)
        return terms

    def distance(self, predicted: Tensor, *, part: tuple[int, int] = (0, 1)) -> Tensor:
        """Return the total distance of each item, ``(batch,)``; see :meth:`terms`."""
        return self.terms(predicted, part=part)["total"]


def mix_distance_terms(
    predicted: Tensor,
    target: Tensor,
    sample_rate: float,
    *,
    stride: int = 1,
    bounded: bool = False,
    weights: Mapping[str, float] | None = None,
    extra: Sequence[Term] = (),
) -> dict[str, Tensor]:
    """Return every term and their weighted total, each ``(batch,)``.

    For many distances to the same target make a :class:`MixTarget` of it.

    Parameters
    ----------
    predicted, target : Tensor
        ``(batch, 1 or 2, samples)``, equal lengths; mono counts as two equal channels.
    sample_rate : float
        Hz; published figures are at 44100.
    stride : int
        The dynamics are compared at each so many samples; 1 is the reported distance, more is
        faster and, the energies being smooth over 50 ms, nearly the same.
    bounded : bool
        Whether neither mid nor side counts as lower than 40 dB below the mix's other one. False
        is the reported distance.
    weights : mapping of str to float, optional
        Weights of terms by name, in place of the reported ones.
    extra : sequence of Term
        Terms beside the four of the reported distance.

    Returns
    -------
    dict of str to Tensor
        ``mss_lr``, ``mss_ms``, ``mldr_lr``, ``mldr_ms`` and ``total``.
    """
    target = target.to(predicted.dtype)
    mix = MixTarget(
        target, sample_rate, stride=stride, bounded=bounded, weights=weights, extra=extra
    )
    return mix.terms(predicted)


def mix_distance(
    predicted: Tensor,
    target: Tensor,
    sample_rate: float,
    *,
    stride: int = 1,
    bounded: bool = False,
    weights: Mapping[str, float] | None = None,
    extra: Sequence[Term] = (),
) -> Tensor:
    """Return the total distance of each item, ``(batch,)``; see :func:`mix_distance_terms`."""
    terms = mix_distance_terms(
        predicted, target, sample_rate,
        stride=stride, bounded=bounded, weights=weights, extra=extra,
    )  # fmt: skip
    return terms["total"]
