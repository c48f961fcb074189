"""Gate and de-esser on the page: played, rendered, edited and saved as the package does."""

from __future__ import annotations

import pytest

from diffconsole import Preset
from diffconsole.strip.preset import find_preset
from tests.reference import error_db

from .test_browser import DRY_BAR_DB

pytestmark = pytest.mark.slow

GATE = {"threshold_db": -24.0, "ratio": 4.0, "range_db": 30.0, "hold_ms": 7.3, "release_ms": 40.0}
DEESSER = {"freq_hz": 3500.0, "threshold_db": -30.0, "range_db": 12.0}
DRY = find_preset("dry_controlled").without({"reverb"}).strip
PRESETS = {
    "plain": Preset(DRY),
    "gate": Preset({"gate": GATE}),
    "no hold": Preset({"gate": {**GATE, "hold_ms": 0.0}, "output_gain": {"gain_db": -3.0}}),
    "deesser": Preset({"deesser": DEESSER}),
    "both": Preset({**DRY, "gate": GATE, "deesser": DEESSER}),
}
EDITED = Preset({**DRY, "gate": {**GATE, "range_db": 9.0}, "deesser": DEESSER})


@pytest.mark.parametrize("name", PRESETS)
def test_sounds_as_apply(module_page, tmp_path, name):
    module_page.select(name)
    expected = module_page.render(PRESETS[name])
    if name != "plain":
        assert error_db(module_page.render(PRESETS["plain"]), expected) > -60.0
    assert module_page.worst_error_db(name, tmp_path) < DRY_BAR_DB <= -90.0


def test_an_edit_is_rendered_and_saved(module_page, tmp_path):
    module_page.select("both")
    module_page.opened.type('[data-key="gate.range_db"]', "9")
    samples = module_page.saved_audio(tmp_path)
    assert error_db(samples, module_page.render(EDITED)) < DRY_BAR_DB
    saved = module_page.saved_preset(tmp_path)
    assert saved["version"] == "1.1"
    assert saved["gate"]["range_db"] == 9.0
    order = [key for key in saved if key in ("gate", "eq", "compressor", "deesser")]
    assert order == ["gate", "eq", "compressor", "deesser"]
    module_page.opened.click("#reset")
    module_page.select("plain")
    plain = module_page.saved_preset(tmp_path)
    assert plain["version"] == "1.0" and "gate" not in plain and "deesser" not in plain
