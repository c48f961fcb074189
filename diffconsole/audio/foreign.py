"""Audio that only ffmpeg decodes: what phones, browsers and messengers record (AAC, ALAC, WMA, …).

The format is found by content here and given to ffmpeg by name, so that a playlist or a list of
other files, whatever its ending says, never makes ffmpeg open them. ffmpeg runs without a shell,
reads nothing but that file, and is stopped when it writes too much or nothing for too long.
"""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import AudioError

__all__ = ["conversion", "decode_foreign", "demuxer_of"]

# First bytes, their offset, ffmpeg's name of the format. None of these formats opens other files.
_SIGNATURES = (
    (b"ftyp", 4, "mov"),
    (b"moov", 4, "mov"),
    (b"mdat", 4, "mov"),
    (b"wide", 4, "mov"),
    (b"\x1a\x45\xdf\xa3", 0, "matroska"),
    (bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), 0, "asf"),
    (b"#!AMR", 0, "amr"),
    (b"MAC ", 0, "ape"),
    (b"wvpk", 0, "wv"),
    (b"TTA1", 0, "tta"),
    (b"DSD ", 0, "dsf"),
    (b".snd", 0, "au"),
    (b"\x0b\x77", 0, "ac3"),
)
_SILENT_SECONDS = 20.0
_CHUNK_BYTES = 1 << 20
_LARGEST_BUFFER = 1 << 28
_SHOWN = 200
_STDERR_BYTES = 1 << 14


def demuxer_of(head: bytes) -> str | None:
    """Return ffmpeg's name of the format that a file's first bytes show, None for all others."""
    for signature, at, name in _SIGNATURES:
        if head[at : at + len(signature)] == signature:
            return name
    # ADTS: twelve set bits, layer 0, a sampling rate.
    adts = len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] & 0x3C < 0x34
    return "aac" if adts else None


def conversion(path: Path) -> str:
    """Return the command that makes a WAV file of a file."""
    target = path.with_suffix(".wav")
    if target == path:
        target = path.with_name(f"{path.stem}.converted.wav")
    return f"ffmpeg -i {shlex.quote(str(path))} {shlex.quote(str(target))}"


def decode_foreign(
    path: Path, demuxer: str, largest_bytes: int
) -> tuple[np.ndarray, int, tuple[str, ...]]:
    """Decode the first audio stream of a file.

    Parameters
    ----------
    path : Path
        The file.
    demuxer : str
        What :func:`demuxer_of` returned for it.
    largest_bytes : int
        Of the decoded float32 samples.

    Returns
    -------
    samples : ndarray
        float32 ``(channels, samples)``.
    sample_rate : int
        Hz.
    messages : tuple of str
        What the user should know.

    Raises
    ------
    AudioError
        There is no ffmpeg, or it cannot decode the file; the message ends with the command that
        converts it. Or the file is too long.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{path}: needs ffmpeg, which is not installed; install it, or convert the file "
            f"elsewhere: {conversion(path)}"
        )
    command: list[str | bytes] = [
        program, "-nostdin", "-hide_banner", "-v", "error", "-max_alloc", str(_LARGEST_BUFFER),
        "-protocol_whitelist", "file", "-f", demuxer, "-i", b"file:" + os.fsencode(path),
        "-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-bitexact",
        "-c:a", "pcm_f32le", "-f", "wav", "pipe:1",
    ]  # fmt: skip
    if os.name != "posix":
        command = [os.fsdecode(word) for word in command]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise AudioError(
                f"{path}: ffmpeg cannot be run ({error.strerror}); convert the file elsewhere: "
                f"{conversion(path)}"
            ) from None
        assert process.stdout is not None
        try:
            content, ended = _bounded(process, process.stdout, largest_bytes)
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        said = _last_line(errors)
    if content is None:
        raise AudioError(
            f"{path}: would take more than {largest_bytes / 2**30:.0f} GiB of memory; cut it into "
            "shorter parts"
        )
    try:
        if not ended:
            raise ValueError(f"nothing came for {_SILENT_SECONDS:g} s")
        samples, rate = _of_wav(content)
    except ValueError as error:
        raise AudioError(
            f"{path}: is damaged, or of a kind that this ffmpeg cannot decode ({said or error}); "
            f"convert it elsewhere: {conversion(path)}"
        ) from None
    messages = (f"ffmpeg met damage in this file, parts may be missing ({said})",) if said else ()
    return samples, rate, messages


def _bounded(
    process: subprocess.Popen[bytes], output: IO[bytes], largest_bytes: int
) -> tuple[bytearray | None, bool]:
    """Collect a program's output: None if it is too much; whether it ended by itself."""
    content = bytearray()
    while True:
        late = threading.Event()

        def stop(late: threading.Event = late) -> None:
            late.set()
            process.kill()

        timer = threading.Timer(_SILENT_SECONDS, stop)
        timer.daemon = True
        timer.start()
        try:
            chunk = output.read(_CHUNK_BYTES)
        finally:
            timer.cancel()
        if late.is_set():
            return content, False
        if not chunk:
            return content, True
        content += chunk
        if len(content) > largest_bytes + _CHUNK_BYTES:
            return None, True


def _of_wav(content: bytearray) -> tuple[np.ndarray, int]:
    """Read a WAV file of float32 samples that was written into a pipe.

    Raises
    ------
    ValueError
        It is none, or has no samples.
    """
    position, channels, rate = 12, 0, 0
    while position + 8 <= len(content):
        name, length = struct.unpack("<4sI", content[position : position + 8])
        position += 8
        if name == b"fmt ":
            channels, rate = struct.unpack("<HI", content[position + 2 : position + 8])
        if name == b"data":
            break
        position += length + length % 2
    frames = (len(content) - position) // (4 * channels) if channels else 0
    if frames <= 0:
        raise ValueError("it holds no sound")
    flat = np.frombuffer(content, "<f4", frames * channels, position)
    return np.ascontiguousarray(flat.reshape(frames, channels).T), rate


def _last_line(errors: IO[bytes]) -> str:
    size = errors.seek(0, 2)
    errors.seek(max(0, size - _STDERR_BYTES))
    lines = [line.strip() for line in errors.read().decode("utf-8", "replace").splitlines()]
    found = next((line for line in reversed(lines) if line), "")
    return found.partition("] ")[2][:_SHOWN] if found.startswith("[") else found[:_SHOWN]
