"""A program of the user's that cleans a take before its strip is predicted: file in, file out.

Any denoiser that reads one audio file and writes another can serve. It gets a 32-bit float WAV at
the take's own rate in a temporary folder. What it writes is brought to the take's rate, channels
and length; it is never moved in time, and a notice says where it does not lie with the take.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..audio import read_audio, resample, write_audio
from ..errors import AudioError, EnhanceError, SettingsError

__all__ = ["Enhancer", "enhance", "split_command"]

PLACEHOLDERS = ("{in}", "{out}")
PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))
LENGTH_NOTICE_SECONDS = 0.05
LATE_NOTICE_SECONDS = 0.001
GRACE_SECONDS = 2.0
STDERR_BYTES = 1 << 16
SHOWN = 300


@dataclass(frozen=True)
class Enhancer:
    """A program to run on each take.

    Attributes
    ----------
    command : str
        As one would type it, with ``{in}`` and ``{out}`` for the files. No shell sees it.
    timeout_seconds : float, optional
        After which it is stopped; by default it may take as long as it wants.

    Raises
    ------
    SettingsError
        The command cannot be split, or lacks a placeholder.
    """

    command: str
    timeout_seconds: float | None = None

    def __post_init__(self) -> None:
        split_command(self.command)


def split_command(command: str) -> list[str]:
    """Split a command as a POSIX shell splits words; nothing else of a shell is done.

    Raises
    ------
    SettingsError
        A quotation mark is open, or a placeholder is missing.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(
            f"--enhance {command!r}: cannot be split into words ({str(error).lower()})"
        ) from None
    for placeholder in PLACEHOLDERS:
        if not any(placeholder in word for word in words[1:]):
            raise SettingsError(
                f"--enhance {command!r}: no {placeholder} behind the program's name; write "
                "PROGRAM {in} {out}, with its options where it wants them"
            )
    return words


def enhance(
    samples: np.ndarray, sample_rate: int, enhancer: Enhancer
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Run a take through a program.

    Parameters
    ----------
    samples : ndarray
        ``(channels, samples)``.
    sample_rate : int
        Hz.
    enhancer : Enhancer
        The program.

    Returns
    -------
    samples : ndarray
        The program's result in the shape of the take, at its rate.
    notices : tuple of str
        What the user should know: another length, another number of channels, a delay.

    Raises
    ------
    EnhanceError
        The program is not there, failed, took too long, or wrote no audio that can be used.
    """
    words = split_command(enhancer.command)
    with tempfile.TemporaryDirectory(prefix="diffconsole-", ignore_cleanup_errors=True) as folder:
        files = {"{in}": Path(folder) / "in.wav", "{out}": Path(folder) / "out.wav"}
        write_audio(files["{in}"], samples, sample_rate)
        # One pass: the folder's own name is not searched again.
        arguments = [PLACEHOLDER.sub(lambda hit: str(files[hit[0]]), word) for word in words[1:]]
        _run([words[0], *arguments], enhancer.timeout_seconds, Path(folder) / "stderr")
        result, rate = _result(files["{out}"], words[0])
    return _fitted(resample(result, rate, sample_rate), samples, sample_rate)


def _result(path: Path, program: str) -> tuple[np.ndarray, int]:
    if not os.path.lexists(path):
        raise EnhanceError(f"{program}: ended well but wrote nothing to {{out}}; check the command")
    try:
        result, rate = read_audio(path)
    except AudioError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise EnhanceError(f"{program}: what it wrote to {{out}} {reason}") from None
    if not result.any():
        raise EnhanceError(f"{program}: what it wrote to {{out}} is silent")
    return result, rate


def _fitted(
    result: np.ndarray, raw: np.ndarray, sample_rate: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The result in the shape of the take, and what was done for it."""
    from ..pairs import LOWEST_CORRELATION, PAIR_RATE, align, one_channel

    notices = []
    if len(result) != len(raw):
        notices.append(f"enhanced: {len(result)} channels instead of {len(raw)}")
        mono = result.mean(axis=0, keepdims=True, dtype=np.float32)
        result = np.repeat(mono, len(raw), axis=0)
    spare = result.shape[1] - raw.shape[1]
    if abs(spare) > LENGTH_NOTICE_SECONDS * sample_rate:
        done, what = ("longer", "cut") if spare > 0 else ("shorter", "filled up with silence")
        notices.append(
            f"enhanced: {1000 * abs(spare) / sample_rate:.0f} ms {done} than the take; {what} at "
            "the end"
        )
    result = np.pad(result[:, : raw.shape[1]], ((0, 0), (0, max(-spare, 0))))
    ours, theirs = (one_channel(resample(x, sample_rate, PAIR_RATE)) for x in (raw, result))
    if ours.any():
        lag, _, correlation = align(ours, theirs)
        late = lag / PAIR_RATE
        if correlation >= LOWEST_CORRELATION and abs(late) >= LATE_NOTICE_SECONDS:
            notices.append(
                f"enhanced: lies {1000 * abs(late):.1f} ms {'later' if late > 0 else 'earlier'} "
                "than the take, and so do the results; it is not moved"
            )
    return np.ascontiguousarray(result), tuple(notices)


def _run(command: list[str], timeout_seconds: float | None, stderr: Path) -> None:
    """Run a program to its end; whatever stops this stops it and its children, too."""
    program = command[0]
    own_group = os.name == "posix"
    with stderr.open("wb") as errors:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # A group of its own: a script's children can be stopped with it.
                start_new_session=own_group,
            )
        except FileNotFoundError:
            raise EnhanceError(
                f"{program}: no such program; install it, or give its whole path in --enhance"
            ) from None
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise EnhanceError(f"{program}: cannot be run ({reason})") from None
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise EnhanceError(
                f"{program}: stopped after {timeout_seconds:g} s; give it more by --enhance-timeout"
            ) from None
        finally:
            if process.poll() is None:
                _stop(process, own_group)
    if code != 0:
        how = f"ended with exit code {code}" if code > 0 else f"was ended by signal {-code}"
        raise EnhanceError(f"{program}: {how}: {_last_line(stderr)}")


def _stop(process: subprocess.Popen[Any], own_group: bool) -> None:
    """End a program: ask first, then insist."""
    if not own_group:
        process.kill()
        process.wait()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    # The group outlives its leader where a child of it does not listen.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(stderr: Path) -> str:
    with stderr.open("rb") as file:
        file.seek(max(0, stderr.stat().st_size - STDERR_BYTES))
        text = file.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:SHOWN] if lines else "it said nothing on stderr"
