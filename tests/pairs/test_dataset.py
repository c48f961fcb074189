"""A studio's pairs as a dataset of PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader, Subset

from diffconsole.errors import AudioError, PairError
from diffconsole.pairs import PAIR_RATE, Pair, find_pairs, load_pair
from diffconsole.pairs.dataset import VocalPair, VocalPairDataset, pairs_in

from ..synthetic import STUDIO, mixed, voice


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three pairs of other lengths, the mixes 20 ms late; and a raw vocal alone."""
    root = tmp_path_factory.mktemp("pairs")
    for name in ("raw", "mixed"):
        (root / name).mkdir()
    for seed in range(3):
        sung = voice(1.5 + 0.25 * seed, seed)
        late = np.pad(mixed(sung, STUDIO), ((0, 0), (882, 0)))
        soundfile.write(root / "raw" / f"{seed}_raw.wav", sung, PAIR_RATE, subtype="FLOAT")
        soundfile.write(root / "mixed" / f"{seed}_mix.wav", late.T, PAIR_RATE, subtype="FLOAT")
    soundfile.write(root / "raw" / "alone.wav", voice(1.5, 9), PAIR_RATE)
    return root / "raw", root / "mixed"


def test_items_are_aligned_and_read_when_they_are_asked_for(folders):
    data = VocalPairDataset(*folders)
    assert len(data) == 3
    assert [line.partition(": ")[2] for line in data.left_over] == [
        f"no partner in {folders[1]}"
    ]  # fmt: skip
    item = data[1]
    assert isinstance(item, VocalPair)
    assert (item.name, item.rate) == ("1_raw", PAIR_RATE)
    known = load_pair(find_pairs(*folders)[0][1])
    assert known.lag_seconds == pytest.approx(0.02, abs=1e-4)
    assert np.array_equal(item.raw.numpy(), known.raw)
    assert np.array_equal(item.mixed.numpy(), known.mixed)


def test_it_shows_its_folders_and_counts(folders):
    raw, mix = (repr(str(folder)) for folder in folders)
    assert (
        repr(VocalPairDataset(*folders)) == f"VocalPairDataset({raw}, {mix}: 3 pairs, 1 left over)"
    )
    of_length = VocalPairDataset(*folders, seconds=1.5)
    assert repr(of_length) == f"VocalPairDataset({raw}, {mix}, seconds=1.5: 3 pairs, 1 left over)"


def test_listing_the_folders_reads_no_file(tmp_path: Path):
    for name in ("raw", "mixed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(b"no audio")
    data = VocalPairDataset(tmp_path / "raw", tmp_path / "mixed")
    assert len(data) == 1
    with pytest.raises(AudioError, match="a.wav"):
        data[0]


def test_a_loader_with_workers_makes_batches_of_one_length(folders):
    data = VocalPairDataset(*folders, seconds=1.75)
    alone = [data[i] for i in range(3)]
    (batch,) = DataLoader(data, batch_size=3, num_workers=2)
    samples = int(1.75 * PAIR_RATE)
    assert batch.raw.shape == (3, 1, samples)
    assert batch.mixed.shape == (3, 2, samples)
    assert batch.rate.tolist() == [PAIR_RATE] * 3
    assert list(batch.name) == ["0_raw", "1_raw", "2_raw"]
    for row, each in zip(batch.raw, alone, strict=True):
        assert torch.equal(row, each.raw)
    # The shortest is padded at its end, the longest cut to its loudest passage.
    assert not batch.raw[0, :, int(1.6 * PAIR_RATE) :].any()
    whole = VocalPairDataset(*folders)[2].raw[0]
    windows = whole.square().unfold(0, samples, 256).sum(dim=1)
    assert batch.raw[2].square().sum() >= 0.98 * windows.max()
    loose = [item.raw.shape[1] for item in DataLoader(VocalPairDataset(*folders), batch_size=None)]
    assert loose == sorted(loose) and len(set(loose)) == 3


def test_any_dataset_gives_pairs(folders):
    data = VocalPairDataset(*folders)
    known = [data.pair(i) for i in range(3)]
    for given in (known, Subset(data, [0, 1, 2]), data):
        for ours, theirs in zip(pairs_in(given), known, strict=True):
            assert ours.name == theirs.name
            assert np.array_equal(ours.raw, theirs.raw)
            assert np.array_equal(ours.mixed, theirs.mixed)
    # Another's: as read, not aligned, as a tuple or a mapping.
    files = find_pairs(*folders)[0][0]
    raw, mix = (soundfile.read(p, dtype="float32", always_2d=True)[0].T for p in
                (files.raw, files.mixed))  # fmt: skip
    mapping = {
        "raw": torch.from_numpy(raw.copy()),
        "mixed": mix,
        "rate": PAIR_RATE,
        "name": "0_raw",
    }
    for item in (mapping, tuple(mapping.values())):
        (found,) = pairs_in([item])
        assert isinstance(found, Pair)
        assert np.array_equal(found.mixed, known[0].mixed)
        assert found.lag_seconds == known[0].lag_seconds


def test_a_pair_that_cannot_be_used_is_left_out_with_a_warning():
    sung, rate = voice(1.5, 1)[None], PAIR_RATE
    items = [(sung, voice(1.5, 2)[None], rate, "two"), (sung, sung * np.nan, rate, "damaged"),
             (sung, 0.5 * sung, rate, "good")]  # fmt: skip
    with pytest.warns(UserWarning, match="left out: ") as warned:
        assert [each.name for each in pairs_in(items)] == ["good"]
    texts = [str(each.message) for each in warned]
    assert len(texts) == 2
    assert "two, raw and two, mixed: not the same performance" in texts[0]
    assert "no numbers" in texts[1]


@pytest.mark.parametrize(
    "items, words",
    [
        (["a.wav"], "is no pair"),
        ([{"raw": np.zeros((1, 9), np.float32)}], "no sample rate"),
        ([(np.zeros(9, np.float32), None, 44100, "a")], "is no audio"),
        ([(np.zeros((1, 9), np.int16), None, 44100, "a")], "int16"),
        (iter([]), "has no length"),
    ],
)  # fmt: skip
def test_a_dataset_of_another_kind_is_an_error(items, words):
    with pytest.raises(PairError, match=words):
        list(pairs_in(items))


def test_a_length_that_is_none_is_refused(folders):
    for seconds in (0.0, float("nan"), float("inf")):
        with pytest.raises(PairError, match="give the length of a passage"):
            VocalPairDataset(*folders, seconds=seconds)
