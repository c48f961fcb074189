"""Distance of two stereo sounds' spectra on the CPU, in one pass over the frames.

A *group* is 32 frames of a channel, two real ones in each lane of a complex transform. A group's
transform, its magnitudes and what they add to the sums, or to the gradient, are made while they
lie in the near cache; nothing of the predicted sound's spectrum is kept. Groups run in runs of
some 1.5 s, whose sums are added in their order: the result does not depend on the number of
threads.

Arrays are flat to the compiled loops. Measures of a frame are left, right, their sum and their
difference; of a lane, those of its first frame and then those of its second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ...kernels.fourier import LANES, Plan, plan_for, to_bins
from ...kernels.jit import compiled
from ...kernels.threads import run_tasks
from ...kernels.vectors import absolute, broadcast, load, log2, maximum, sqrt, store, sum_lanes

__all__ = [
    "COLUMNS",
    "FLOOR",
    "GROUP",
    "MEASURES",
    "SLACK",
    "Frames",
    "compare",
    "compare_padded",
    "each_run",
    "frames_of",
    "load_frames",
    "pad",
    "pad_for",
    "roots_of",
    "roots_of_padded",
    "unpack",
]

GROUP = 2 * LANES
MEASURES = 8
# Frames of a group and the three that its last one reaches into, and one to make it even.
COLUMNS = GROUP + 4
RUN_SAMPLES = 1 << 16
FLOOR = 1e-8
# Samples beyond the last group that its loops may read.
SLACK = 4


class Frames(NamedTuple):
    """How a sound is cut into the frames of one size, `overlap` of which hold each sample."""

    size: int
    frames: int
    groups: int
    groups_a_run: int
    plan: Plan
    window: np.ndarray
    overlap: int

    @property
    def hop(self) -> int:
        """Samples from a frame to the next."""
        return self.size // self.overlap

    @property
    def bins(self) -> int:
        """Bins of a frame, both ends among them."""
        return self.size // 2 + 1

    @property
    def runs(self) -> int:
        """Runs of groups; one is a task."""
        return -(-self.groups // self.groups_a_run)

    @property
    def padded(self) -> int:
        """Samples that all groups read."""
        return (self.groups * GROUP + SLACK) * self.hop

    def selected(self, index: int, count: int) -> np.ndarray:
        """Mark every `count`-th group from `index` on, at least one."""
        count = min(count, self.groups)
        return np.arange(self.groups) % count == index % count

    def frames_in(self, selected: np.ndarray) -> int:
        """Count the frames of the groups that are marked."""
        last = self.frames - (self.groups - 1) * GROUP
        return int(selected.sum()) * GROUP - (GROUP - last if selected[-1] else 0)


def frames_of(samples: int, size: int, kind: np.dtype, overlap: int = 4) -> Frames:
    """Cut `samples` as ``torch.stft`` does: frames centred on multiples of the hop.

    The hop is the size over `overlap`, 2 or 4.
    """
    hop = size // overlap
    frames = 1 + samples // hop
    groups = -(-frames // GROUP)
    groups_a_run = max(1, RUN_SAMPLES // (GROUP * hop))
    # Two frames in one transform come apart as halves of sums, which the window brings along.
    window = 0.25 - 0.25 * np.cos(2.0 * np.pi * np.arange(size) / size)
    plan = plan_for(size, kind)
    return Frames(size, frames, groups, groups_a_run, plan, window.astype(kind), overlap)


@compiled
def _reflect(x, half, padded):
    """Write `x` with `half` samples mirrored at both ends, then silence."""
    samples = x.shape[0]
    for n in range(samples):
        padded[half + n] = x[n]
    for n in range(half):
        padded[half - 1 - n] = x[n + 1]
        padded[half + samples + n] = x[samples - 2 - n]
    padded[samples + 2 * half :] = 0.0


def pad(audio: np.ndarray, frames: Frames) -> np.ndarray:
    """Return the sound as its frames read it: mirrored at both ends, then silent.

    Smaller frames may be read of the same, from half the difference of the sizes on.
    """
    length = max(frames.padded, audio.shape[-1] + frames.size)
    return _padded(audio, frames.size // 2, length)


def pad_for(audio: np.ndarray, frames: Sequence[Frames]) -> tuple[np.ndarray, list[int]]:
    """Return the sound as frames of several sizes read it, and where those of each begin."""
    half = max(own.size for own in frames) // 2
    origins = [half - own.size // 2 for own in frames]
    reach = max(origin + own.padded for origin, own in zip(origins, frames, strict=True))
    return _padded(audio, half, max(reach, audio.shape[-1] + 2 * half)), origins


def _padded(audio: np.ndarray, half: int, length: int) -> np.ndarray:
    rows = audio.reshape(-1, audio.shape[-1])
    padded = np.empty((len(rows), length), audio.dtype)
    run_tasks(lambda row: _reflect(rows[row], half, padded[row]), len(rows))
    return padded.reshape(*audio.shape[:-1], -1)


# --- a group's frames, there and back --------------------------------------------------------


@compiled
def load_frames(x, first, size, hop, window, frames, turned, re, im):
    """Windowed frames of a group that begins at sample `first`; those past `frames` are silent."""
    overlap = size // hop
    for column in range(GROUP + overlap - 1):
        start = first + column * hop
        for r in range(hop):
            turned[r * COLUMNS + column] = x[start + r]
    for q in range(overlap):
        for r in range(hop):
            row, place, weight = q * hop + r, r * COLUMNS + q, window[q * hop + r]
            store(load(turned, place, 16) * weight, re, row * LANES)
            store(load(turned, place + LANES, 16) * weight, im, row * LANES)
    if frames < GROUP:
        for row in range(size):
            re[row * LANES + min(frames, LANES) : (row + 1) * LANES] = 0.0
            im[row * LANES + max(frames - LANES, 0) : (row + 1) * LANES] = 0.0


@compiled
def unpack(re, im, own, mirror):
    """One bin of the two frames in each lane: real and imaginary parts, first and second."""
    zr, zi = load(re, own * LANES, 16), load(im, own * LANES, 16)
    yr, yi = load(re, mirror * LANES, 16), load(im, mirror * LANES, 16)
    return zr + yr, zi - yi, zi + yi, yr - zr


@compiled
def _root_of(r, i, floor):
    return sqrt(maximum(r * r + i * i, floor))


@compiled
def _roots(lr, li, rr, ri, floor):
    """Magnitudes of a frame's four measures."""
    return (
        _root_of(lr, li, floor),
        _root_of(rr, ri, floor),
        _root_of(lr + rr, li + ri, floor),
        _root_of(lr - rr, li - ri, floor),
    )


@compiled
def _masked(magnitude, other, masked):
    """A magnitude, no lower than a share of another one."""
    return maximum(magnitude, other * masked)


# --- the target's magnitudes -----------------------------------------------------------------


@compiled
def _keep_roots(
    x, origin, size, hop, window, frames, first, last, order, cosine, sine, masked, roots, squares
):  # fmt: skip
    """Magnitudes of some groups, and the sums of their squares of sides, sum and difference."""
    kind, bins = x.dtype.type, size // 2 + 1
    turned = np.zeros(hop * COLUMNS, x.dtype)
    re, im = np.empty((2, size * LANES), x.dtype), np.empty((2, size * LANES), x.dtype)
    floor, least = broadcast(kind(FLOOR), 16), broadcast(kind(masked), 16)
    for group in range(first, last):
        inside = min(frames - group * GROUP, GROUP)
        for side in range(2):
            start = origin + group * GROUP * hop
            load_frames(x[side], start, size, hop, window, inside, turned, re[side], im[side])
            to_bins(re[side], im[side], size, cosine, sine)
        sides = both = apart = broadcast(kind(0.0), 16)
        for k in range(bins):
            own, mirror = order[k], order[(size - k) % size]
            alr, ali, blr, bli = unpack(re[0], im[0], own, mirror)
            arr, ari, brr, bri = unpack(re[1], im[1], own, mirror)
            a0, a1, a2, a3 = _roots(alr, ali, arr, ari, floor)
            b0, b1, b2, b3 = _roots(blr, bli, brr, bri, floor)
            a = (a0, a1, _masked(a2, a3, least), _masked(a3, a2, least))
            b = (b0, b1, _masked(b2, b3, least), _masked(b3, b2, least))
            at = (group * bins + k) * MEASURES * LANES
            for m in range(4):
                store(a[m], roots, at + m * LANES)
                store(b[m], roots, at + (m + 4) * LANES)
            sides += (a[0] * a[0] + a[1] * a[1]) + (b[0] * b[0] + b[1] * b[1])
            both += a[2] * a[2] + b[2] * b[2]
            apart += a[3] * a[3] + b[3] * b[3]
        absent = (GROUP - inside) * bins * FLOOR
        squares[group, 0] = sum_lanes(sides) - 2.0 * absent
        squares[group, 1] = sum_lanes(both) - absent
        squares[group, 2] = sum_lanes(apart) - absent


def roots_of(
    audio: np.ndarray, frames: Frames, masked: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the magnitudes of ``(items, 2, samples)``, and their squares' sums by group.

    Neither the sum's nor the difference's is lower than `masked` times the other.
    """
    return roots_of_padded(pad(audio, frames), 0, frames, masked)


def roots_of_padded(
    padded: np.ndarray, origin: int, frames: Frames, masked: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return :func:`roots_of` a sound that :func:`pad` extended; frames begin at `origin`."""
    roots = np.empty((len(padded), frames.groups * frames.bins * MEASURES * LANES), padded.dtype)
    squares = np.empty((len(padded), frames.groups, 3))

    def task(item: int, first: int, last: int) -> None:
        _keep_roots(
            padded[item], origin, frames.size, frames.hop, frames.window, frames.frames, first,
            last, *frames.plan, masked, roots[item], squares[item],
        )  # fmt: skip

    each_run(task, len(padded), frames)
    return roots, squares


def each_run(task: Callable[[int, int, int], None], items: int, frames: Frames) -> None:
    """Call ``task(item, first, last)`` for every run of groups."""

    def numbered(index: int) -> None:
        item, run = divmod(index, frames.runs)
        first = run * frames.groups_a_run
        task(item, first, min(first + frames.groups_a_run, frames.groups))

    run_tasks(numbered, items * frames.runs)


# --- the distance ----------------------------------------------------------------------------


@compiled
def _square(ours, theirs):
    error = theirs - ours
    return error * error


@compiled
def _octaves(ours, theirs):
    return absolute(log2(ours / theirs))


@compiled
def _compare(
    x, origin, size, hop, window, frames, first, last, selected, order, cosine, sine, roots,
    masked, sums
):  # fmt: skip
    """Sums by group: squared errors of sides, sum and difference, then their octaves apart."""
    kind, bins = x.dtype.type, size // 2 + 1
    turned = np.zeros(hop * COLUMNS, x.dtype)
    re, im = np.empty((2, size * LANES), x.dtype), np.empty((2, size * LANES), x.dtype)
    floor, least = broadcast(kind(FLOOR), 16), broadcast(kind(masked), 16)
    for group in range(first, last):
        if not selected[group]:
            continue
        inside = min(frames - group * GROUP, GROUP)
        for side in range(2):
            start = origin + group * GROUP * hop
            load_frames(x[side], start, size, hop, window, inside, turned, re[side], im[side])
            to_bins(re[side], im[side], size, cosine, sine)
        e0 = e1 = e2 = d0 = d1 = d2 = broadcast(kind(0.0), 16)
        for k in range(bins):
            own, mirror = order[k], order[(size - k) % size]
            alr, ali, blr, bli = unpack(re[0], im[0], own, mirror)
            arr, ari, brr, bri = unpack(re[1], im[1], own, mirror)
            at = (group * bins + k) * MEASURES * LANES
            for half in range(2):
                if half == 0:
                    p0, p1, p2, p3 = _roots(alr, ali, arr, ari, floor)
                else:
                    p0, p1, p2, p3 = _roots(blr, bli, brr, bri, floor)
                t0, t1 = load(roots, at, 16), load(roots, at + LANES, 16)
                t2, t3 = load(roots, at + 2 * LANES, 16), load(roots, at + 3 * LANES, 16)
                p2, p3 = _masked(p2, t3, least), _masked(p3, t2, least)
                e0 += _square(p0, t0) + _square(p1, t1)
                e1 += _square(p2, t2)
                e2 += _square(p3, t3)
                d0 += _octaves(p0, t0) + _octaves(p1, t1)
                d1 += _octaves(p2, t2)
                d2 += _octaves(p3, t3)
                at += 4 * LANES
        sums[group, 0], sums[group, 1], sums[group, 2] = sum_lanes(e0), sum_lanes(e1), sum_lanes(e2)
        sums[group, 3], sums[group, 4], sums[group, 5] = sum_lanes(d0), sum_lanes(d1), sum_lanes(d2)


def compare(
    audio: np.ndarray,
    frames: Frames,
    selected: np.ndarray,
    roots: np.ndarray,
    masked: float = 0.0,
) -> np.ndarray:
    """Return the sums over the groups that are marked, ``(items, 6)``.

    Squared errors of the magnitudes of left and right, of their sum and of their difference,
    then the octaves that they lie apart. `masked` is that of :func:`roots_of`.
    """
    return compare_padded(pad(audio, frames), 0, frames, selected, roots, masked)


def compare_padded(
    padded: np.ndarray,
    origin: int,
    frames: Frames,
    selected: np.ndarray,
    roots: np.ndarray,
    masked: float,
) -> np.ndarray:
    """Return :func:`compare` of a sound that :func:`pad` extended; frames begin at `origin`."""
    sums = np.zeros((len(padded), frames.groups, 6))

    def task(item: int, first: int, last: int) -> None:
        _compare(
            padded[item], origin, frames.size, frames.hop, frames.window, frames.frames, first,
            last, selected, *frames.plan, roots[item % len(roots)], masked, sums[item],
        )  # fmt: skip

    each_run(task, len(padded), frames)
    return sums.sum(axis=1)
