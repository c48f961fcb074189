"""A room that is kept gives the same return as one that is made each time, but for rounding."""

from __future__ import annotations

import pytest
import torch

from diffconsole import Console
from diffconsole.modules.reverb import kept
from diffconsole.strip.parameters import MODULES, default_settings

RATE = 44100


def settings(**changed: float) -> dict[str, torch.Tensor]:
    values = {**default_settings(), "reverb.wet_db": -12.0, **changed}
    return {key: torch.tensor([value], dtype=torch.float64) for key, value in values.items()}


def wet(
    console: Console, noise: torch.Tensor, room: dict[str, float], off: set[str]
) -> torch.Tensor:
    """The return alone: what the strip makes less what it makes without the reverb."""
    own = settings(**room)
    return console(noise, own, off) - console(noise, own, off | {"reverb"})


def furthest(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@torch.inference_mode()
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("samples", "most"), [(60000, 1e-4), (9000, 1e-2)])
def test_the_same_return_in_any_order(channels, samples, most):
    console, off = Console(RATE), set(MODULES) - {"reverb", "eq"}
    noise = torch.randn((1, channels, samples), generator=torch.Generator().manual_seed(0))
    rooms = [
        {"reverb.decay_s": 0.4 + 0.1 * (i % 6), "eq.peak_1.gain_db": float(i)} for i in range(9)
    ]
    rooms += [
        {**rooms[0], **changed}
        for changed in (
            {"reverb.wet_db": -20.0}, {"reverb.pre_delay_ms": 11.5}, {"reverb.pre_delay_ms": 0.0},
            {"reverb.width": 0.3}, {"reverb.low_cut_hz": 700.0, "reverb.high_cut_hz": 2000.0},
            {"reverb.low_ratio": 1.6},
        )
    ]  # fmt: skip
    alone = [wet(console, noise, room, off) for room in rooms]
    with kept.keep_rooms():
        for _ in range(2):
            for room, expected in zip(rooms, alone, strict=True):
                found = wet(console, noise, room, off)
                assert furthest(found, expected) < most
                assert torch.equal(found, wet(console, noise, room, off))
        half = wet(console, noise[..., :4000], rooms[0], off)
    assert furthest(half, wet(console, noise[..., :4000], rooms[0], off)) < 1e-2


def test_only_where_it_is_asked_for(monkeypatch):
    made: list[int] = []

    def counted(plain):
        def call(*args, **kwargs):
            made.append(1)
            return plain(*args, **kwargs)

        return call

    monkeypatch.setattr(kept.room, "send_response", counted(kept.room.send_response))
    monkeypatch.setattr(kept, "_colored", counted(kept._colored))
    console, noise, off = Console(RATE), torch.ones((1, 1, 2000)), set(MODULES) - {"reverb"}

    def renders(decay_s: float, audio: torch.Tensor = noise) -> int:
        made.clear()
        for _ in range(3):
            console(audio, settings(**{"reverb.decay_s": decay_s}), off)
        return len(made)

    assert renders(0.5) == 3
    with kept.keep_rooms():
        assert renders(0.5) == 3  # gradients are possible
        with torch.inference_mode():
            assert renders(0.5) == 1
            assert sum(renders(0.3 + i / 100) for i in range(3)) == 3
            assert renders(0.5) == 0
            assert sum(renders(0.2 + i / 10) for i in range(6)) == 5  # one of them was there
            assert renders(0.5, noise.double()) == 3
            with kept.keep_rooms(False):
                assert renders(0.5) == 3
    with torch.inference_mode():
        assert renders(0.5) == 3


def test_a_function_keeps_rooms_for_one_call_only():
    @kept.keep_rooms()
    def rooms() -> kept.Rooms | None:
        return kept._kept.get()

    first = rooms()
    assert isinstance(first, kept.Rooms)
    assert rooms() is not first
    assert kept._kept.get() is None
