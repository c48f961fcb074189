"""Saturation on the page: played, rendered, edited and saved as the package does."""

from __future__ import annotations

import pytest

from diffconsole import Preset
from diffconsole.strip.preset import find_preset
from tests.reference import error_db

from .test_browser import DRY_BAR_DB

pytestmark = pytest.mark.slow

DRY = find_preset("dry_controlled").without({"reverb"}).strip
SATURATION = {"drive_db": 12.0, "bias": 0.4, "mix": 70.0}
PRESETS = {
    "plain": Preset(DRY),
    "saturation": Preset({"saturation": SATURATION}),
    "hard": Preset({**DRY, "saturation": {"drive_db": 20.0, "bias": -0.8}}),
    "without drive": Preset({**DRY, "saturation": {**SATURATION, "drive_db": 0.0}}),
}
EDITED = Preset({**DRY, "saturation": {"drive_db": 6.0, "bias": -0.8}})


@pytest.mark.parametrize("name", PRESETS)
def test_sounds_as_apply(module_page, tmp_path, name):
    module_page.select(name)
    expected = module_page.render(PRESETS[name])
    if name not in ("plain", "without drive"):
        assert error_db(module_page.render(PRESETS["plain"]), expected) > -60.0
    assert module_page.worst_error_db(name, tmp_path) < DRY_BAR_DB <= -90.0


def test_an_edit_is_rendered_and_saved(module_page, tmp_path):
    module_page.select("hard")
    module_page.opened.type('[data-key="saturation.drive_db"]', "6")
    samples = module_page.saved_audio(tmp_path)
    assert error_db(samples, module_page.render(EDITED)) < DRY_BAR_DB
    saved = module_page.saved_preset(tmp_path)
    assert saved["version"] == "1.2"
    assert saved["saturation"]["drive_db"] == 6.0
    module_page.opened.click("#reset")
    module_page.select("plain")
    plain = module_page.saved_preset(tmp_path)
    assert plain["version"] == "1.0" and "saturation" not in plain
