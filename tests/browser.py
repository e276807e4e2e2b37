"""A browser to try pages in: Chromium without a screen, without a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

REQUIRED = "TINYGRAD_SEQ_TEST_BROWSER"  # set to 1, a test that finds no browser fails
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _missing() -> str | None:
    """What is not there, if anything."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "Selenium"
    if not any(map(shutil.which, BROWSERS)):
        return "Chromium"
    return None if shutil.which("chromedriver") else "chromedriver"


@contextmanager
def browser(width: int = 1280, height: int = 800, dark: bool = False) -> Iterator[Any]:
    """A Selenium driver, whose window shows nothing yet. The test is skipped where there is none."""
    if missing := _missing():
        why = f"takes {missing}: Debian's chromium and chromium-driver, and Selenium of the group test"
        pytest.fail(why) if os.environ.get(REQUIRED) == "1" else pytest.skip(why)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, BROWSERS)))
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",  # no network
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        theme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": theme})
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        yield driver
    finally:
        driver.quit()
