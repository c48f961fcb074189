"""torch.compile sees the console as one graph."""

from __future__ import annotations

import pytest
import torch

from diffconsole import Console
from diffconsole.modules.equalizer.process import longest_ringing
from diffconsole.strip.parameters import DEFAULT_PARAMETERS, PARAMETERS

from ..modules.helpers import noise


@pytest.mark.parametrize("row", [PARAMETERS, DEFAULT_PARAMETERS], ids=["all", "on_by_default"])
@pytest.mark.parametrize("kernel", ["cpu", "generic"])
def test_a_training_step_is_one_graph(kernel, row, monkeypatch):
    monkeypatch.setenv("DIFFCONSOLE_KERNEL", kernel)
    # What was compiled for the other kernel is not asked which kernel it was compiled for.
    torch._dynamo.reset()
    console = Console(16000, reverb_seconds=0.2)
    x = noise(1, 1, 2000).float()
    middle = torch.full((1, len(row)), 0.45)

    def step(audio: torch.Tensor, unit: torch.Tensor) -> torch.Tensor:
        return console(audio, console.denormalize(unit)).square().mean()

    found = []
    for run in (step, torch.compile(step, backend="aot_eager", fullgraph=True)):
        unit = middle.clone().requires_grad_()
        loss = run(x, unit)
        loss.backward()
        found.append((loss.detach(), unit.grad))
    (loss, gradient), (again, gradient_again) = found
    assert torch.allclose(loss, again, rtol=1e-6)
    assert torch.allclose(gradient, gradient_again, rtol=1e-4, atol=1e-9)


def test_lengths_from_the_table_are_constants_of_the_graph():
    def scaled(x: torch.Tensor) -> torch.Tensor:
        return x * longest_ringing(44100.0, frozenset({"eq.high_pass"}))

    compiled = torch.compile(scaled, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(torch.ones(1)), scaled(torch.ones(1)))
