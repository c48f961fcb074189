"""A studio's pairs as a dataset of PyTorch, and any dataset as pairs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..audio import resample
from ..errors import AudioError, PairError
from .find import find_pairs
from .pairs import PAIR_RATE, Pair, load_pair, loudest_part, pair_of

__all__ = ["VocalPair", "VocalPairDataset", "pairs_in"]

RATES_HZ = (8_000, 384_000)


class VocalPair(NamedTuple):
    """A pair as a dataset gives it.

    Attributes
    ----------
    raw : Tensor
        ``(1 or 2, samples)`` float32, as the file holds it.
    mixed : Tensor
        ``(2, samples)`` float32, moved to the raw vocal's timing, speed and polarity.
    rate : int
        Sample rate in Hz.
    name : str
        Of the raw file, without its suffix.
    """

    raw: Tensor
    mixed: Tensor
    rate: int
    name: str


class VocalPairDataset(Dataset[VocalPair]):
    """Raw and mixed vocals in two folders, paired by name, aligned when they are read.

    Building it lists the folders; a pair's files are read when it is asked for, so it may be given
    to a ``DataLoader`` with workers. Items have different lengths: use ``batch_size=None``, or
    `seconds`.

    Parameters
    ----------
    raw_dir, mixed_dir : str or Path
        Folders; their subfolders are not searched. Endings such as ``_raw`` and ``_mix`` are
        ignored.
    seconds : float, optional
        Cut each pair to its loudest passage of this length, and pad shorter ones with silence, so
        that they make batches. By default each pair is as long as both files cover, and of more
        than 40 s the loudest 40 s count.

    Attributes
    ----------
    files : list of PairFiles
        In order of the name.
    left_over : list of str
        One line for each file without a partner.

    Raises
    ------
    PairError
        Not a folder, no pair at all, two files of one folder with the same name, or a length that
        is no positive number. An item raises it where its files are not the same performance.
    AudioError
        An item's file cannot be read.

    Examples
    --------
    >>> dataset = VocalPairDataset("raw/", "mixed/", seconds=5.0)  # doctest: +SKIP
    >>> loader = torch.utils.data.DataLoader(dataset, 8, num_workers=2)  # doctest: +SKIP
    """

    def __init__(
        self, raw_dir: str | Path, mixed_dir: str | Path, *, seconds: float | None = None
    ) -> None:
        if seconds is not None and not 1.0 / PAIR_RATE <= seconds < float("inf"):
            raise PairError(f"seconds is {seconds:g}; give the length of a passage, such as 5")
        self.files, self.left_over = find_pairs(raw_dir, mixed_dir)
        self.seconds = seconds
        self._folders = str(raw_dir), str(mixed_dir)

    def __repr__(self) -> str:
        raw_dir, mixed_dir = self._folders
        count, without = len(self.files), len(self.left_over)
        seconds = "" if self.seconds is None else f", seconds={self.seconds:g}"
        left = f", {without} left over" if without else ""
        pairs = "pair" if count == 1 else "pairs"
        name = type(self).__name__
        return f"{name}({raw_dir!r}, {mixed_dir!r}{seconds}: {count} {pairs}{left})"

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> VocalPair:
        pair = self.pair(index)
        raw, mixed = pair.raw, pair.mixed
        if self.seconds is not None:
            missing = int(self.seconds * PAIR_RATE) - raw.shape[1]
            raw, mixed = (np.pad(each, ((0, 0), (0, missing))) for each in (raw, mixed))
        raw, mixed = (np.ascontiguousarray(each) for each in (raw, mixed))
        return VocalPair(torch.from_numpy(raw), torch.from_numpy(mixed), PAIR_RATE, pair.name)

    def pair(self, index: int) -> Pair:
        """Return a pair with what its alignment found, without padding."""
        pair = load_pair(self.files[index])
        return pair if self.seconds is None else loudest_part(pair, self.seconds)


def pairs_in(dataset: Any) -> Iterator[Pair]:
    """Return the pairs of a dataset one by one; a warning for each that is refused.

    Parameters
    ----------
    dataset : Dataset or sequence
        With a length. Its items are :class:`VocalPair` or :class:`diffconsole.pairs.Pair`, which
        are taken as aligned, or others with raw and mixed samples ``(1 or 2, samples)``, their rate
        in Hz and a name, as a tuple or a mapping ``raw``, ``mixed``, ``rate``, ``name``; these are
        resampled, checked and aligned as files are.

    Raises
    ------
    PairError
        It has no length, or an item is of another kind.
    """
    try:
        count = len(dataset)
    except TypeError:
        raise PairError(
            f"the dataset ({type(dataset).__name__}) has no length; give a VocalPairDataset or a "
            "sequence of pairs"
        ) from None
    for index in range(count):
        try:
            yield _pair_at(dataset, index)
        except _KindError:
            raise
        except (AudioError, PairError) as error:
            warnings.warn(f"left out: {error}", stacklevel=3)


class _KindError(PairError):
    """The dataset is of another kind: no other item will do either."""


def _pair_at(dataset: Any, index: int) -> Pair:
    if isinstance(dataset, VocalPairDataset):
        return dataset.pair(index)
    item = dataset[index]
    if isinstance(item, Pair):
        return item
    if isinstance(item, Mapping):
        item = tuple(item.get(name) for name in VocalPair._fields)
    if not (isinstance(item, tuple) and len(item) == len(VocalPair._fields)):
        raise _KindError(
            f"item {index} of the dataset ({type(item).__name__}) is no pair; its items are raw, "
            "mixed, rate and name"
        )
    if not (isinstance(item[2], int) and RATES_HZ[0] <= item[2] <= RATES_HZ[1]):
        raise _KindError(f"item {index} of the dataset has no sample rate in Hz ({item[2]!r:.40})")
    raw, mixed = (_samples(each, item[2], index) for each in item[:2])
    name = str(item[3])
    if isinstance(item, VocalPair):
        return Pair(name, raw, mixed, lag_seconds=0.0, polarity=1, correlation=1.0)
    return pair_of(name, raw, mixed)


def _samples(audio: Any, rate: int, index: int) -> np.ndarray:
    """Return samples at the pairs' rate, checked."""
    array = audio.detach().cpu().numpy() if isinstance(audio, Tensor) else np.asarray(audio)
    if not (array.ndim == 2 and 1 <= array.shape[0] <= 2 and array.dtype.kind == "f"):
        raise _KindError(
            f"item {index} of the dataset: {array.dtype} {array.shape} is no audio; give floating "
            "point samples of shape (1 or 2, samples)"
        )
    if not np.isfinite(array).all():
        raise PairError(f"item {index} of the dataset: holds values that are no numbers")
    return resample(array.astype(np.float32, copy=False), rate, PAIR_RATE)
