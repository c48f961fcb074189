"""A room that is kept gives the same samples as one that is made each time."""

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


@torch.inference_mode()
@pytest.mark.parametrize("channels", [1, 2])
def test_bit_for_bit_in_any_order(channels):
    console, off = Console(RATE), set(MODULES) - {"reverb", "eq"}
    noise = torch.randn((1, channels, 9000), generator=torch.Generator().manual_seed(0))
    rooms = [
        {"reverb.decay_s": 0.4 + 0.1 * (i % 6), "eq.peak_1.gain_db": float(i)} for i in range(9)
    ]
    rooms += [{**rooms[0], "reverb.wet_db": -20.0}, {**rooms[0], "reverb.pre_delay_ms": 11.5}]
    alone = [console(noise, settings(**room), off) for room in rooms]
    with kept.keep_rooms():
        for _ in range(2):
            for room, expected in zip(rooms, alone, strict=True):
                assert torch.equal(console(noise, settings(**room), off), expected)
        half = console(noise[..., :4000], settings(**rooms[0]), off)
    assert torch.equal(half, console(noise[..., :4000], settings(**rooms[0]), off))


def test_only_where_it_is_asked_for(monkeypatch):
    made = []
    send_response = kept.room.send_response

    def counted(*args, **kwargs):
        made.append(1)
        return send_response(*args, **kwargs)

    monkeypatch.setattr(kept.room, "send_response", counted)
    console, noise, off = Console(RATE), torch.ones((1, 1, 2000)), set(MODULES) - {"reverb"}

    def renders(decay_s: float) -> int:
        made.clear()
        for _ in range(3):
            console(noise, settings(**{"reverb.decay_s": decay_s}), off)
        return len(made)

    assert renders(0.5) == 3
    with kept.keep_rooms():
        assert renders(0.5) == 3  # gradients are possible
        with torch.inference_mode():
            assert renders(0.5) == 1
            assert sum(renders(0.2 + i / 10) for i in range(6)) == 5  # one of them was there
    with torch.inference_mode():
        assert renders(0.5) == 3
