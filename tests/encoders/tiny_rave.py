"""Tiny exports with the parts, names and habits of those that RAVE's ``export`` writes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BANDS, CAPACITY, FULL, LATENTS = 4, 6, 5, 3
STRIDES = (2, 4)
RATIO = BANDS * 8
ROWS = 4
KERNEL = 3


class Cache(nn.Module):
    """Streaming: what came before stands where zeros would; it holds rubbish of a warm-up."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.register_buffer("pad", torch.full((ROWS, channels, padding), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        if self.padding > 0:
            x = torch.cat((self.pad[: x.shape[0]], x), -1)
            self.pad[: x.shape[0]].copy_(x[..., -self.padding :])
        return x


class Convolution(nn.Conv1d):
    """Centred with zeros on both sides, or streaming with all of it in the past."""

    def __init__(
        self, before: int, after: int, kernel: int, stride: int = 1, dilation: int = 1,
        streaming: bool = False, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(before, after, kernel, stride, dilation=dilation, bias=bias)
        reach = (kernel - 1) * dilation if stride == 1 else kernel - stride
        self.left, self.right = (reach, 0) if streaming else (reach - reach // 2, reach // 2)
        self.streaming = streaming
        self.cache = Cache(before, reach if streaming else 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.streaming:
            x = self.cache(x)
        else:
            x = nn.functional.pad(x, (self.left, self.right))
        return nn.functional.conv1d(
            x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups
        )


class Bands(nn.Module):
    """A filter bank, every other sample of every other band turned."""

    def __init__(self, streaming: bool) -> None:
        super().__init__()
        self.forward_conv = Convolution(1, BANDS, 4 * BANDS, BANDS, streaming=streaming, bias=False)
        self.inverse_conv = Convolution(BANDS, BANDS, 3, streaming=streaming, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_conv(x)
        mask = torch.ones_like(x)
        mask[..., 1::2, ::2] = -1
        return x * mask


class Dilated(nn.Module):
    def __init__(self, width: int, dilation: int, streaming: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LeakyReLU(0.2),
            Convolution(width, width, KERNEL, dilation=dilation, streaming=streaming),
            nn.LeakyReLU(0.2),
            Convolution(width, width, 1, streaming=streaming),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class Trunk(nn.Module):
    """The encoder of the second version."""

    def __init__(self, channels: int, out: int, streaming: bool) -> None:
        super().__init__()
        width = CAPACITY
        net: list[nn.Module] = [Convolution(channels * BANDS, width, 7, streaming=streaming)]
        for stride in STRIDES:
            net += [Dilated(width, dilation, streaming) for dilation in (1, 2)]
            net += [
                nn.LeakyReLU(0.2),
                Convolution(width, 2 * width, 2 * stride, stride, streaming=streaming),
            ]
            width *= 2
        net += [nn.LeakyReLU(0.2), Convolution(width, out, KERNEL, streaming=streaming)]
        self.net = nn.Sequential(*net)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Variational(nn.Module):
    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.encoder = trunk
        self.register_buffer("warmed_up", torch.tensor(1))

    def reparametrize(self, z: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = z.chunk(2, 1)
        deviation = nn.functional.softplus(scale) + 1e-4
        drawn = torch.randn_like(mean) * deviation + mean
        return drawn, (mean * mean).sum(1).mean()

    def forward(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        if self.warmed_up:
            z = z.detach()
        return z


class Decoder(nn.Module):
    def __init__(self, streaming: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(Convolution(FULL, RATIO, KERNEL, streaming=streaming))

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z)


class Second(nn.Module):
    """As version 2 is exported: the rate in ``sr``, methods registered for nn~."""

    def __init__(
        self, streaming: bool = False, channels: int = 1, rate: int | None = 16000
    ) -> None:
        super().__init__()
        self.full, self.latent_size = FULL, LATENTS
        if rate is not None:
            self.sr = rate
        self.pqmf = Bands(streaming)
        self.encoder = Variational(Trunk(channels, 2 * FULL, streaming))
        self.decoder = Decoder(streaming)
        self.register_buffer("latent_pca", torch.linalg.qr(torch.randn(FULL, FULL))[0])
        self.register_buffer("latent_mean", torch.randn(FULL))
        self.register_buffer("encode_params", torch.tensor([channels, 1, LATENTS, RATIO]))

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        x = self.pqmf(x.reshape(-1, 1, x.shape[-1]))
        z = self.encoder(x.reshape(rows, -1, x.shape[-1]))
        z = self.encoder.reparametrize(z)[0]
        z = z - self.latent_mean.unsqueeze(-1)
        z = nn.functional.conv1d(z, self.latent_pca.unsqueeze(-1))
        return z[:, : self.latent_size]

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        noise = torch.randn(z.shape[0], self.full - z.shape[1], z.shape[2])
        return self.decoder(torch.cat((z, noise), 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Pair(nn.Module):
    """The first version's encoder: two outputs, normalised by what batches had."""

    def __init__(self) -> None:
        super().__init__()
        net: list[nn.Module] = [Convolution(BANDS, CAPACITY, 7)]
        width = CAPACITY
        for stride in STRIDES:
            norm = nn.BatchNorm1d(width)
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            net += [norm, nn.LeakyReLU(0.2), Convolution(width, 2 * width, 2 * stride, stride)]
            width *= 2
        net += [nn.LeakyReLU(0.2), Convolution(width, 2 * FULL, 5)]
        self.net = nn.Sequential(*net)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = self.net(x).chunk(2, 1)
        return mean, scale


class First(nn.Module):
    """As version 1 is exported: the rate in ``sampling_rate``."""

    def __init__(self) -> None:
        super().__init__()
        self.pqmf = Bands(False)
        self.encoder = Pair()
        self.decoder = Decoder(False)
        self.register_buffer("sampling_rate", torch.tensor(16000))
        self.register_buffer("latent_pca", torch.linalg.qr(torch.randn(FULL, FULL))[0])
        self.register_buffer("latent_mean", torch.randn(FULL))
        self.register_buffer("encode_params", torch.tensor([1, 1, LATENTS, RATIO]))

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        mean, scale = self.encoder(self.pqmf(x))
        z = torch.randn_like(mean) * nn.functional.softplus(scale) + mean
        z = z - self.latent_mean.unsqueeze(-1)
        return nn.functional.conv1d(z, self.latent_pca.unsqueeze(-1))[:, : self.encode_params[2]]

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encode(x))


class Combined(nn.Module):
    """A network and a prior in one file."""

    def __init__(self, rave: nn.Module) -> None:
        super().__init__()
        self._prior, self._rave = nn.Linear(2, 2), rave
        self.register_buffer("encode_params", rave.encode_params)

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return self._rave.encode(x)

    def forward(self, x: Tensor) -> Tensor:
        return self._rave(x)
