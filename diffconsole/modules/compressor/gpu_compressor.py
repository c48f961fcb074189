"""Compressor on the GPU: the recursion in chunks, solved exactly by Newton's method.

A row is cut into chunks that run side by side, one thread each. From a chunk's first level to
its last the recursion is monotone and made of straight lines, convex or concave; its slope is the
product of the coefficients that it took. So a sweep gives for every chunk a tangent, a linear
recurrence over the tangents gives better first levels, and sweeps repeat until no first level
moves: 8 on a voice in the mean, some 20 for the shortest attack with the longest release.

How often is decided on the device. The processor queues the same kernels whatever the data: for
few rows some sweeps over all chunks, then one program a row that finishes alone; many rows fill
a device with these programs from the start. Programs that find a row settled return at once.

Between the passes the levels lie chunk by chunk in columns, ``(batch, CHUNK, chunks)``, so that
threads side by side read side by side.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from .gpu_compressor_gradient import gradients, warps
from .gpu_curve import SETTINGS, curve, mixed, prepare_settings

__all__ = ["compress_backward", "compress_forward"]

LONG_ROW = 1 << 19
SWEEPS = 8
ROWS_THAT_FILL = 32
LANES = 32
MOST_LANES = 1024
TILE = 32

# Rounding moves a first level by some 1e-15 of itself a chunk; −240 dB is far below any bar.
MEET = tl.constexpr(1e-12)
TINY = tl.constexpr(1e-60)


def chunk_samples(samples: int) -> int:
    """Return the samples of a chunk: longer ones for long rows, else the first levels pile up."""
    return 256 if samples <= LONG_ROW else 512


# Loops whose end comes from the processor are written with `while`: older interpreters of Triton
# cannot count them with newer versions of NumPy.

# --- stages ----------------------------------------------------------------------------------


@triton.jit
def _gather_peaks(
    audio, peaks, samples, chunks, CHUNK: tl.constexpr, CHANNELS: tl.constexpr, TILE: tl.constexpr
):
    """Write the loudest channel of each sample in columns."""
    row = tl.program_id(2).to(tl.int64)
    chunk = (tl.program_id(0) * TILE + tl.arange(0, TILE))[:, None]
    place = (tl.program_id(1) * TILE + tl.arange(0, TILE))[None, :]
    sample = chunk * CHUNK + place
    source = audio + row * CHANNELS * samples + sample
    peak = tl.abs(tl.load(source, mask=sample < samples, other=0.0))
    if CHANNELS == 2:
        other = tl.load(source + samples, mask=sample < samples, other=0.0)
        peak = tl.maximum(peak, tl.abs(other))
    target = peaks + row * CHUNK * chunks + place * chunks + chunk
    tl.store(target, peak, mask=(chunk < chunks) & (place < CHUNK))


@triton.jit
def _step(level, peak, attack, release):
    """One sample of the recursion: the new level, whether it rose, its slope."""
    peak = peak.to(tl.float64)
    rises = peak > level
    # Both products are ready before the level is: a step waits for one comparison and one sum.
    added = tl.where(rises, (1.0 - attack) * peak, (1.0 - release) * peak)
    coefficient = tl.where(rises, attack, release)
    return coefficient * level + added, rises, coefficient


@triton.jit
def _run(column, chunks, inside, level, attack, release, CHUNK: tl.constexpr):
    """Run chunks from their first levels: their last levels and the slopes of these."""
    slope = tl.full(level.shape, 1.0, tl.float64)
    for n in tl.range(0, CHUNK, loop_unroll_factor=8):
        peak = tl.load(column + n * chunks, mask=inside, other=0.0)
        level, _, coefficient = _step(level, peak, attack, release)
        slope *= coefficient
    return level, slope


@triton.jit
def _compose(slope, change, later_slope, later_change):
    return slope * later_slope, later_change + later_slope * change


@triton.jit
def _moves(change, level):
    # Written so that NaN does not move: a row of NaN would never settle.
    return (tl.abs(change) > tl.abs(level) * MEET + TINY).to(tl.int32)


@triton.jit
def _sweep(
    peaks, settings, firsts, lasts, slopes, unsettled, chunks,
    CHUNK: tl.constexpr, COLUMNS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Run every chunk of the rows that move from its first level as known so far."""
    row = tl.program_id(1).to(tl.int64)
    if tl.load(unsettled + row) != 0:
        chunk = tl.program_id(0) * LANES + tl.arange(0, LANES)
        inside = chunk < chunks
        at = row * chunks + chunk
        attack, release = tl.load(settings + row * COLUMNS), tl.load(settings + row * COLUMNS + 1)
        level = tl.load(firsts + at, mask=inside, other=0.0)
        column = peaks + row * CHUNK * chunks + chunk
        level, slope = _run(column, chunks, inside, level, attack, release, CHUNK)
        tl.store(lasts + at, level, mask=inside)
        tl.store(slopes + at, slope, mask=inside)


@triton.jit
def _correct(firsts, lasts, slopes, unsettled, chunks, BLOCK: tl.constexpr):
    """Move the first levels of a row to where the tangents of all chunks meet."""
    row = tl.program_id(0).to(tl.int64)
    if tl.load(unsettled + row) != 0:
        lane = tl.arange(0, BLOCK)
        carried = tl.full((), 0.0, tl.float64)
        moving = tl.full((), 0, tl.int32)
        block = tl.full((), 0, tl.int32)
        while block < chunks:
            at = row * chunks + block + lane
            follows = block + lane + 1 < chunks
            last = tl.load(lasts + at, mask=follows, other=0.0)
            slope = tl.load(slopes + at, mask=follows, other=0.0)
            first = tl.load(firsts + at + 1, mask=follows, other=0.0)
            product, change = tl.associative_scan((slope, last - first), 0, _compose)
            change += product * carried
            tl.store(firsts + at + 1, first + change, mask=follows)
            moves = tl.where(follows, _moves(change, first + change), 0)
            moving = tl.maximum(moving, tl.max(moves, axis=0))
            carried = tl.sum(tl.where(lane == BLOCK - 1, change, 0.0), axis=0)
            block += BLOCK
        tl.store(unsettled + row, moving)


@triton.jit
def _settle(
    peaks, settings, firsts, unsettled, chunks,
    CHUNK: tl.constexpr, COLUMNS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Finish a row that still moves: sweeps over some chunks at a time, in turn.

    The first of these chunks starts from its true level, so each sweep settles at least one
    more of them, and as many sweeps as chunks are enough.
    """
    row = tl.program_id(0).to(tl.int64)
    if tl.load(unsettled + row) != 0:
        attack, release = tl.load(settings + row * COLUMNS), tl.load(settings + row * COLUMNS + 1)
        block = tl.full((), 0, tl.int32)
        while block < chunks:
            chunk = block + tl.arange(0, LANES)
            at = row * chunks + chunk
            inside = chunk < chunks
            follows = chunk + 1 < chunks
            column = peaks + row * CHUNK * chunks + chunk
            sweeps = tl.full((), 0, tl.int32)
            moving = tl.full((), 1, tl.int32)
            while (moving != 0) & (sweeps < LANES):
                level = tl.load(firsts + at, mask=inside, other=0.0)
                last, slope = _run(column, chunks, inside, level, attack, release, CHUNK)
                first = tl.load(firsts + at + 1, mask=follows, other=0.0)
                _, change = tl.associative_scan((slope, last - first), 0, _compose)
                # A thread reads what its neighbour writes: none may run ahead.
                tl.debug_barrier()
                tl.store(firsts + at + 1, first + change, mask=follows)
                tl.debug_barrier()
                moves = tl.where(follows, _moves(change, first + change), 0)
                moving = tl.max(moves, axis=0)
                sweeps += 1
            block += LANES


@triton.jit
def _write_levels(
    peaks, settings, firsts, chunks,
    CHUNK: tl.constexpr, COLUMNS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    """Replace the peaks by the levels, negative where they rose."""
    row = tl.program_id(1).to(tl.int64)
    chunk = tl.program_id(0) * LANES + tl.arange(0, LANES)
    inside = chunk < chunks
    attack, release = tl.load(settings + row * COLUMNS), tl.load(settings + row * COLUMNS + 1)
    level = tl.load(firsts + row * chunks + chunk, mask=inside, other=0.0)
    column = peaks + row * CHUNK * chunks + chunk
    peak = tl.load(column, mask=inside, other=0.0)
    for n in range(CHUNK):
        # The next peak is asked for before this level is stored, so that both are under way.
        more = inside & (n + 1 < CHUNK)
        following = tl.load(column + (n + 1) * chunks, mask=more, other=0.0)
        level, rises, _ = _step(level, peak, attack, release)
        signed = tl.where(rises, -level, level).to(peak.dtype)
        tl.store(column + n * chunks, signed, mask=inside)
        peak = following


@triton.jit
def _apply(
    audio, levels, settings, output, saved, samples, chunks,
    CHUNK: tl.constexpr, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr, KEEP: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """From the levels in columns to the output, and the levels to be kept."""
    row = tl.program_id(2).to(tl.int64)
    chunk = (tl.program_id(0) * TILE + tl.arange(0, TILE))[:, None]
    place = (tl.program_id(1) * TILE + tl.arange(0, TILE))[None, :]
    sample = chunk * CHUNK + place
    # Beside the row's end there is the end of a chunk that is shorter than a tile.
    inside = (sample < samples) & (place < CHUNK)
    source = levels + row * CHUNK * chunks + place * chunks + chunk
    level = tl.load(source, mask=inside, other=0.0)
    factor, _, _, _ = curve(tl.abs(level), settings + row * COLUMNS)
    factor = mixed(factor, settings + row * COLUMNS)
    at = row * CHANNELS * samples + sample
    tl.store(output + at, factor * tl.load(audio + at, mask=inside, other=0.0), mask=inside)
    if CHANNELS == 2:
        at += samples
        tl.store(output + at, factor * tl.load(audio + at, mask=inside, other=0.0), mask=inside)
    if KEEP:
        tl.store(saved + row * samples + sample, level, mask=inside)


# --- passes ----------------------------------------------------------------------------------


def _power_of_two(number: int, least: int, most: int) -> int:
    return min(max(triton.next_power_of_2(number), least), most)


def levels_in_columns(audio: Tensor, settings: Tensor) -> Tensor:
    """Return the level of every sample, negative where it rose.

    Parameters
    ----------
    audio : Tensor
        ``(batch, channels, samples)``, contiguous.
    settings : Tensor
        ``(batch, SETTINGS)`` float64; see :func:`.gpu_curve.prepare_settings`.

    Returns
    -------
    Tensor
        ``(batch, CHUNK, chunks)`` in the type of the audio; the last chunk may be longer than
        the row.
    """
    batch, channels, samples = audio.shape
    chunk = chunk_samples(samples)
    chunks = math.ceil(samples / chunk)
    peaks = audio.new_empty((batch, chunk, chunks))
    # From silence: the first levels then come from below, as the monotone recursion wants it.
    firsts = settings.new_zeros((batch, chunks))
    unsettled = torch.ones(batch, dtype=torch.int32, device=audio.device)
    shape = {"CHUNK": chunk, "COLUMNS": SETTINGS}

    tiles = (math.ceil(chunks / TILE), math.ceil(chunk / TILE), batch)
    _gather_peaks[tiles](audio, peaks, samples, chunks, chunk, channels, TILE)
    columns = (math.ceil(chunks / LANES), batch)
    if chunks > 1:
        if batch < ROWS_THAT_FILL:
            lasts, slopes = torch.empty_like(firsts), torch.empty_like(firsts)
            block = _power_of_two(chunks, 32, 1024)
            for _ in range(SWEEPS):
                _sweep[columns](
                    peaks, settings, firsts, lasts, slopes, unsettled, chunks,
                    **shape, LANES=LANES, num_warps=1,
                )  # fmt: skip
                _correct[(batch,)](
                    firsts, lasts, slopes, unsettled, chunks, block, num_warps=warps(block)
                )
        lanes = _power_of_two(chunks, 32, MOST_LANES)
        _settle[(batch,)](
            peaks, settings, firsts, unsettled, chunks, **shape, LANES=lanes, num_warps=lanes // 32
        )
    _write_levels[columns](peaks, settings, firsts, chunks, **shape, LANES=LANES, num_warps=1)
    return peaks


def compress_forward(audio: Tensor, parameters: Tensor, keep: bool) -> tuple[Tensor, Tensor]:
    """Compress; see :func:`.compressor_operator.compress`.

    Returns the audio and, if kept, the levels: ``(batch, samples)``, negative where they rose.
    """
    audio = audio.contiguous()
    batch, channels, samples = audio.shape
    output = torch.empty_like(audio)
    saved = audio.new_empty((batch, samples if keep else 0))
    with torch.cuda.device_of(audio):
        settings = prepare_settings(parameters)
        levels = levels_in_columns(audio, settings)
        _, chunk, chunks = levels.shape
        tiles = (math.ceil(chunks / TILE), math.ceil(chunk / TILE), batch)
        _apply[tiles](
            audio, levels, settings, output, saved, samples, chunks,
            chunk, channels, SETTINGS, keep, TILE,
        )  # fmt: skip
    return output, saved


def compress_backward(
    gradient: Tensor, audio: Tensor, parameters: Tensor, saved: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the audio and of the parameters, from the levels that were kept."""
    with torch.cuda.device_of(audio):
        grad_audio, sums = gradients(
            gradient.contiguous(), audio.contiguous(), prepare_settings(parameters), saved
        )
        return grad_audio, sums[:, : parameters.shape[1]]
