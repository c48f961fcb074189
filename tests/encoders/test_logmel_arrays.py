"""The log-mel encoder on arrays gives what the network gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffconsole.encoders.logmel import LogMelEncoder
from diffconsole.encoders.logmel_arrays import LogMelArrays, gelu, mel_bank
from diffconsole.encoders.logmel_shape import LogMelShape
from diffconsole.encoders.torchaudio_loader import load_torchaudio

from ..synthetic import RATE, voice

SHAPES = (
    LogMelShape(),
    LogMelShape((16, 32), 8, 33, 2048, 1500, 700),
    LogMelShape((16,), 4, 8, 65, 17, 16),
    LogMelShape((16, 16, 32, 16, 16, 48), 12, 40, 1024, 1024, 512),
)


def trained(shape: LogMelShape) -> LogMelEncoder:
    """An encoder whose normalisations have seen something."""
    torch.manual_seed(3)
    encoder = LogMelEncoder(**vars(shape))
    with torch.no_grad():
        for name, value in encoder.named_buffers():
            if name.endswith("running_mean"):
                value.normal_(0.0, 0.3)
            if name.endswith("running_var"):
                value.uniform_(0.3, 3.0)
        for weight in encoder.parameters():
            if weight.ndim == 1:
                weight.add_(0.2 * torch.randn_like(weight))
    return encoder.eval()


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{len(shape.widths)} stages")
@pytest.mark.parametrize("seconds", [0.0001, 0.3, 1.7])
def test_features_are_those_of_the_network(shape, seconds):
    encoder = trained(shape)
    weights = {name: value.numpy() for name, value in encoder.state_dict().items()}
    assert {name: value.shape for name, value in weights.items()} == shape.tensors()
    assert (encoder.dim, encoder.pool) == (shape.dim, shape.pool)
    audio = np.stack([voice(1.7, seed)[: int(seconds * RATE)] for seed in (1, 2)])[:, None]
    found = LogMelArrays(shape, weights)(audio)
    with torch.inference_mode():
        wanted = encoder(torch.from_numpy(audio)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-4)


def test_two_channels_are_encoded_as_their_mean():
    encoder = trained(SHAPES[1])
    arrays = LogMelArrays(SHAPES[1], {k: v.numpy() for k, v in encoder.state_dict().items()})
    both = np.stack((voice(0.5, 1), voice(0.5, 2)))[None]
    np.testing.assert_allclose(arrays(both), arrays(both.mean(axis=1, keepdims=True)), atol=1e-6)


@pytest.mark.parametrize(("n_fft", "mels"), [(4096, 128), (2048, 33), (1024, 8)])
def test_the_bank_is_torchaudios(n_fft, mels):
    bins = n_fft // 2 + 1
    wanted = load_torchaudio().functional.melscale_fbanks(
        bins, 20.0, 20000.0, mels, RATE, norm="slaney", mel_scale="slaney"
    )
    found = mel_bank(bins, mels, RATE)
    assert found.dtype == np.float32
    # Of the top of each triangle, single precision of the edges being 2 mHz at 20 kHz.
    assert np.all(np.abs(found - wanted.numpy()) <= 2e-5 * wanted.numpy().max(axis=0))


def test_gelu_is_that_of_the_normal_distribution():
    values = np.concatenate((np.linspace(-12.0, 12.0, 100_001), [0.0, 1e30, -1e30]))
    wanted = torch.nn.functional.gelu(torch.from_numpy(values)).numpy()
    found = gelu(values.astype(np.float32))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=2e-6)


def test_numbers_of_which_no_network_is_made():
    with pytest.raises(ValueError, match="widths"):
        LogMelShape((24,)).tensors()
    with pytest.raises(ValueError, match="hop is 1"):
        LogMelShape(hop=1)
