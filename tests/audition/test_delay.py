"""The delay on the page: played, rendered, edited and saved as the package does."""

from __future__ import annotations

import pytest

from diffconsole import Preset
from diffconsole.strip.preset import find_preset
from tests.reference import error_db

pytestmark = pytest.mark.slow

DELAY = {"time_ms": 61.3, "feedback": 0.6, "width": 0.7, "wet_db": -8.0}
ROOM = {"decay_s": 0.2, "pre_delay_ms": 10.0, "wet_db": -8.0}
DRY = find_preset("dry_controlled").without({"reverb"}).strip
PRESETS = {
    "plain": Preset(DRY),
    "delay": Preset({"delay": DELAY}),
    "in the middle": Preset({"delay": {**DELAY, "width": 0.0}, "output_gain": {"gain_db": -3.0}}),
    "beside a reverb": Preset({"delay": DELAY, "reverb": ROOM}),
    "into the reverb": Preset({**DRY, "delay": {**DELAY, "reverb_send_db": 0.0}, "reverb": ROOM}),
}
EDITED = Preset({"delay": {**DELAY, "time_ms": 80.0}})


@pytest.mark.parametrize("name", PRESETS)
def test_sounds_as_apply(module_page, tmp_path, name):
    module_page.select(name)
    expected = module_page.render(PRESETS[name])
    if name != "plain":
        without = module_page.render(PRESETS[name].without({"delay"}), tail_seconds=0.0)
        assert error_db(without, expected[:, : module_page.raw.shape[1]]) > -40.0
    assert module_page.worst_error_db(name, tmp_path) <= -90.0


def test_an_edit_is_rendered_and_saved(module_page, tmp_path):
    module_page.select("delay")
    module_page.opened.type('[data-key="delay.time_ms"]', "80")
    samples = module_page.saved_audio(tmp_path)
    assert error_db(samples, module_page.render(EDITED)) < -90.0
    saved = module_page.saved_preset(tmp_path)
    assert saved["version"] == "1.2"
    assert saved["delay"]["time_ms"] == 80.0
    module_page.opened.click("#reset")
    module_page.select("plain")
    plain = module_page.saved_preset(tmp_path)
    assert plain["version"] == "1.0" and "delay" not in plain
