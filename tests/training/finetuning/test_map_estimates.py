"""The settings near a strip that make a pair's mix: what is heard moves, the rest stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffconsole.console import Console
from diffconsole.pairs import PAIR_RATE, Pair
from diffconsole.strip.later import NOT_DRAWN
from diffconsole.strip.parameters import PARAMETERS, default_settings
from diffconsole.training.finetuning import map_estimates
from diffconsole.training.finetuning.map_estimates import map_estimates_of
from diffconsole.training.finetuning.segments import SegmentLoader, SegmentRef

from ...synthetic import pair, small_model

KEYS = [p.key for p in PARAMETERS]


def strip_of(**changes: float) -> torch.Tensor:
    settings = {**default_settings(), "reverb.wet_db": -40.0}
    settings.update({key.replace("__", "."): value for key, value in changes.items()})
    return torch.tensor([float(p.to_normalised(settings[p.key])) for p in PARAMETERS])


def mixed_by(strip: torch.Tensor, number: int) -> Pair:
    """A raw vocal and what the console makes of it, levelled as fine-tuning levels it."""
    from diffconsole.model.predictor import level_gain_db
    from diffconsole.strip.parameters import denormalize

    raw = pair(number, seconds=2.0).raw
    gain = 10.0 ** (level_gain_db(raw, PAIR_RATE)[0] / 20.0)
    with torch.inference_mode():
        mixed = Console(PAIR_RATE, bypass=NOT_DRAWN)(
            torch.from_numpy(raw * gain)[None].float(), denormalize(strip[None])
        )
    return Pair(f"take_{number}", raw, mixed[0].numpy(), 0.0, 1, 1.0)


def found(pairs: list[Pair], strip: torch.Tensor, folder: Path, **more: object) -> torch.Tensor:
    cutter = SegmentLoader(pairs, small_model())
    places = [SegmentRef(number, 0) for number in range(len(pairs))]
    seen = torch.tensor([p.key != "output_gain.gain_db" for p in PARAMETERS])
    prints = [each.name for each in pairs]
    console = Console(PAIR_RATE, bypass=NOT_DRAWN, reverb_seconds=2.0)
    return map_estimates_of(
        cutter, places, prints, strip, seen, console, PAIR_RATE // 4, folder, **more
    )  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffconsole.training.finetuning import segments

    monkeypatch.setattr(segments, "WINDOW_SECONDS", 2.0)


def test_what_makes_the_mix_moves(tmp_path: Path) -> None:
    """One mix is the strip's, one has more presence: the second alone moves, and by its bell."""
    strip = strip_of(eq__peak_3__freq_hz=2500.0)
    brighter = strip_of(eq__peak_3__freq_hz=2500.0, eq__peak_3__gain_db=5.0)
    same, other = found([mixed_by(strip, 1), mixed_by(brighter, 2)], strip, tmp_path)
    gain = KEYS.index("eq.peak_3.gain_db")
    wanted = float(brighter[gain] - strip[gain])
    assert float(other[gain] - strip[gain]) > 0.4 * wanted
    assert abs(float(same[gain] - strip[gain])) < 0.1 * wanted
    assert float((same - strip).abs().max()) < 0.1
    # Nothing of the reverb is heard at −40 dB, and the output gain is not to move.
    for key in ("reverb.decay_s", "reverb.width", "output_gain.gain_db"):
        assert float((other - strip)[KEYS.index(key)].abs()) < 0.05, key


def test_kept_by_pair_and_strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is searched twice; another strip has other settings near it."""
    pairs = [mixed_by(strip_of(), number) for number in (1, 2)]
    first = found(pairs, strip_of(), tmp_path)
    monkeypatch.setattr(map_estimates, "_descend", lambda *_: pytest.fail("searched again"))
    assert torch.equal(found(pairs, strip_of(), tmp_path), first)
    none = found(pairs, strip_of(compressor__ratio=4.0), tmp_path, over=lambda: True)
    assert bool(none.isnan().all())


def test_ctrl_c_is_heard(tmp_path: Path) -> None:
    def report(*_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found([mixed_by(strip_of(), 1)], strip_of(), tmp_path, report=report)
