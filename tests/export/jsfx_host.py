"""What REAPER gives to a JSFX effect: memory, transforms whose bins are permuted, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


class Host:
    """What the program around the effect gives: memory, transforms and files."""

    def __init__(self, folder: Path, memory: list[float]) -> None:
        self.folder, self.memory = folder, memory
        self.files: dict[int, tuple[np.ndarray, int, int]] = {}

    def sprintf(self, form: str, *values: float) -> str:
        return form % tuple(int(value) for value in values)

    def memset(self, at: float, value: float, length: float) -> None:
        self.reach(at + length)
        self.memory[int(at) : int(at + length)] = [value] * int(length)

    def memcpy(self, to: float, source: float, length: float) -> None:
        self.memory[int(to) : int(to + length)] = self.memory[int(source) : int(source + length)]

    def reach(self, end: float) -> None:
        self.memory.extend([0.0] * (int(end) - len(self.memory)))

    def bins(self, at: float, size: float) -> np.ndarray:
        assert 16 <= size <= 32768 and int(size).bit_count() == 1
        assert at // 65536 == (at + 2 * size - 1) // 65536, "crosses a multiple of 65536"
        return np.array(self.memory[int(at) : int(at + 2 * size)]).view(np.complex128)

    def store(self, at: float, bins: np.ndarray) -> None:
        values = np.ascontiguousarray(bins).view(np.float64).tolist()
        self.memory[int(at) : int(at) + len(values)] = values

    def fft(self, at: float, size: float) -> None:
        self.store(at, np.fft.fft(self.bins(at, size))[self.order(size)])

    def ifft(self, at: float, size: float) -> None:
        natural = np.empty(int(size), np.complex128)
        natural[self.order(size)] = self.bins(at, size)
        self.store(at, np.fft.ifft(natural) * size)

    def order(self, size: float) -> np.ndarray:
        return np.random.default_rng(int(size)).permutation(int(size))

    def convolve_c(self, to: float, source: float, size: float) -> None:
        self.store(to, self.bins(to, size) * self.bins(source, size))

    def file_open(self, name: str) -> float:
        if not (self.folder / name).is_file():
            return -1.0
        samples, rate = soundfile.read(self.folder / name, dtype="float64", always_2d=True)
        handle = len(self.files) + 1
        self.files[handle] = (samples.ravel(), samples.shape[1], rate)
        return float(handle)

    def file_close(self, handle: float) -> None:
        del self.files[int(handle)]

    def file_riff(self, handle: float, channels: float, rate: float) -> tuple[float, float]:
        _, own, rate_there = self.files[int(handle)]
        assert int(channels).to_bytes(4, "big") == b"rqsr"
        assert rate == rate_there, "the response is not resampled here"
        return float(own), float(rate_there)

    def file_avail(self, handle: float) -> float:
        return float(len(self.files[int(handle)][0]))

    def file_mem(self, handle: float, at: float, length: float) -> float:
        samples, channels, rate = self.files[int(handle)]
        values = samples[: int(length)].tolist()
        self.memory[int(at) : int(at) + len(values)] = values
        self.files[int(handle)] = (samples[int(length) :], channels, rate)
        return float(len(values))
