"""The rooms of a search: with a gradient, by transforms in two steps, as far as rounding."""

from __future__ import annotations

import pytest
import torch

from diffconsole import Console
from diffconsole.modules.reverb import kept
from diffconsole.strip.parameters import MODULES

from .test_kept_rooms import RATE, furthest, settings

OFF = set(MODULES) - {"reverb"}
NAMES = tuple(
    f"reverb.{name}"
    for name in (
        "pre_delay_ms", "decay_s", "low_ratio", "high_ratio", "low_cut_hz", "high_cut_hz", "width",
        "wet_db",
    )
)  # fmt: skip
ROOM = {
    "reverb.pre_delay_ms": 13.7,
    "reverb.decay_s": 0.5,
    "reverb.low_ratio": 1.2,
    "reverb.high_ratio": 0.5,
    "reverb.low_cut_hz": 150.0,
    "reverb.high_cut_hz": 6000.0,
    "reverb.width": 0.7,
}


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def wet_and_gradients(
    console: Console, sound: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The return, and the gradients of a weighted sum by the sound and by the room's settings."""
    sound = sound.clone().requires_grad_()
    own = {k: v.expand(len(sound)).clone() for k, v in settings(**ROOM).items()}
    leaves = [own[name].requires_grad_() for name in NAMES]
    wet = console(sound, own, OFF) - sound
    return wet.detach(), list(torch.autograd.grad((wet * weights).sum(), [sound, *leaves]))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_return_and_gradients_are_those_of_the_console(batch, channels):
    console = Console(RATE, reverb_seconds=1.0)
    sound, weights = noise(batch, channels, 70000), noise(batch, 2, 70000)
    # Of a smooth error, as that of a distance: the last bins count for nothing.
    weights = weights.cumsum(-1) - weights.cumsum(-1).mean(-1, keepdim=True)
    expected, by_expected = wet_and_gradients(console, sound, weights)
    with kept.rooms_from(kept.Rooms(of_search=True)):
        found, by_found = wet_and_gradients(console, sound, weights)
        again, by_again = wet_and_gradients(console, sound, weights)
    assert not torch.equal(found, expected), "it was the same way"
    assert furthest(found, expected) < 1e-4
    for one, other in zip(by_found, by_expected, strict=True):
        assert furthest(one.double(), other.double()) < 2e-3
    assert torch.equal(found, again)
    assert all(torch.equal(one, other) for one, other in zip(by_found, by_again, strict=True))


def test_without_a_gradient_it_is_the_same_room():
    console, sound = Console(RATE, reverb_seconds=1.0), noise(1, 1, 70000)
    own = settings(**ROOM)
    with kept.rooms_from(kept.Rooms(of_search=True)):
        found = console(sound, {k: v.clone().requires_grad_() for k, v in own.items()}, OFF)
        with torch.inference_mode():
            for _ in range(2):
                plain = console(sound, own, OFF)
                assert furthest(plain - sound, found.detach() - sound) < 1e-6
            quieter = console(sound, settings(**ROOM, **{"reverb.wet_db": -18.0}), OFF)
            assert furthest(2.0 * (quieter - sound), plain - sound) < 5e-3


def test_the_same_on_any_number_of_threads():
    console, sound, weights = Console(RATE, reverb_seconds=1.0), noise(1, 1, 60000), noise(1, 2, 1)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with kept.rooms_from(kept.Rooms(of_search=True)):
                results.append(wet_and_gradients(console, sound, weights))
    finally:
        torch.set_num_threads(before)
    (one, by_one), (other, by_other) = results
    assert torch.equal(one, other)
    assert all(torch.equal(a, b) for a, b in zip(by_one, by_other, strict=True))


def test_elsewhere_nothing_changes():
    console, sound, weights = Console(RATE, reverb_seconds=0.5), noise(1, 1, 9000), noise(1, 2, 1)
    expected, _ = wet_and_gradients(console, sound, weights)
    with kept.keep_rooms():
        assert torch.equal(wet_and_gradients(console, sound, weights)[0], expected)
    with kept.rooms_from(kept.Rooms(of_search=True)), torch.inference_mode():
        assert torch.equal(
            console(sound.double(), settings(**ROOM), OFF),
            Console(RATE, reverb_seconds=0.5)(sound.double(), settings(**ROOM), OFF),
        )
