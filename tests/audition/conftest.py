"""What the tests of single modules on the page share: a browser, and a page of their presets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .browsing import chromium


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser that the tests of a file share."""
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module", params=[1, 2], ids=["mono", "stereo"])
def module_page(
    request: pytest.FixtureRequest, context: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A :class:`.module_page.ModulePage` of the ``PRESETS`` of the file of tests."""
    from .module_page import open_presets

    folder = tmp_path_factory.mktemp("page")
    with open_presets(context, folder, request.module.PRESETS, request.param) as page:
        yield page
