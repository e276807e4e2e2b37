"""The page to look into a model, in a browser: what one sees, by pointer and by keyboard, without a network."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from examples.char_lm.checkpoint import Judgement, Run
from examples.char_lm.look import REACH
from examples.char_lm.page import contents, html
from examples.char_lm.vocabulary import Vocabulary

from ..browser import browser
from .pages import NASTY, TEXT, data_of, unpacked, untrained


def of_some_temper() -> Run:
    """A model that was not trained, but with weights large enough for states of all sizes, and a curve."""
    run = untrained(Vocabulary(TEXT), layers=2)
    run.model.load_state_dict({name: 4 * value for name, value in run.model.state_dict().items()})
    run.losses, run.judged = [(20, 3.0), (40, 2.5)], [Judgement(20, 1.0, 3.0, 3.1), Judgement(40, 2.0, 2.5, 2.7)]
    return run


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_what_one_sees(tmp_path: Path, width: int, dark: bool) -> None:
    run = of_some_temper()
    made = html(contents(run, run.vocabulary.encode(TEXT, "the text"), "a text", "cpu", False, run, ()))
    page, data = tmp_path / "page.html", data_of(made)
    page.write_bytes(made)
    with browser(width, dark=dark) as driver:
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.by import By
        from selenium.webdriver.common.keys import Keys

        def seen(selector: str) -> list[str]:
            return [element.text for element in driver.find_elements(By.CSS_SELECTOR, selector)]

        def colours() -> list[str]:
            found: list[str] = driver.execute_script(
                "return [...document.querySelectorAll('#text > span')].map(x => getComputedStyle(x).backgroundColor)"
            )
            return found

        driver.get(page.as_uri())
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        assert (
            "".join(driver.execute_script("return document.getElementById('text').textContent")).replace("↵", "")
            == TEXT
        )
        by_surprisal = colours()
        assert len(set(by_surprisal)) > 10

        # pointing at a character shows the five that were expected
        characters = driver.find_elements(By.CSS_SELECTOR, "#text > span")
        likeliest = unpacked(data["likeliest"], np.uint8, 5)
        nats = unpacked(data["nats"], "<f4")
        for n in (0, 12, 45):
            ActionChains(driver).move_to_element(characters[n]).perform()
            assert f"Character {n + 1}:" in driver.find_element(By.ID, "which").text
            names = [text.removesuffix(" ✓") for text in seen("#expected li code")]
            assert names == [data["names"][k].replace(" ", "␣").replace("\n", "↵") for k in likeliest[n]]
            assert f"{nats[n]:.3f} nats" in driver.find_element(By.ID, "surprise").text

        # a click on a unit changes the colours to those of its state
        buttons = driver.find_elements(By.CSS_SELECTOR, "#units button")
        buttons[0].click()
        by_unit = colours()
        assert by_unit != by_surprisal
        states = unpacked(data["units"][data["ranking"][0]["units"][0][0]]["states"], np.int8)
        blue = [[int(x) for x in re.findall(r"\d+", colour)[:3]] for colour in by_unit]
        assert all((b > r) == (state < 0) for (r, _, b), state in zip(blue, states, strict=True) if abs(state) > 5)
        buttons[7].click()
        assert colours() != by_unit
        assert buttons[7].get_attribute("aria-pressed") == "true"
        assert (
            data["units"][data["ranking"][1]["units"][2][0]]["name"] in driver.find_element(By.ID, "gates-title").text
        )

        # the gradient's reach: what stands before the character is coloured, and nothing after it
        n = data["reach"]["positions"][12]
        driver.find_element(By.CSS_SELECTOR, "input[value=reach]").click()
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", characters[n])
        characters[n].click()
        coloured = [k for k, colour in enumerate(colours()) if not re.search(r"(, 0\)|/ 0\))$", colour)]
        assert coloured
        assert n - REACH <= coloured[0]
        assert coloured[-1] == n - 1
        assert "‖∂L/∂c‖" in driver.find_element(By.ID, "reach-said").text

        # with the keyboard alone
        driver.find_element(By.ID, "text").send_keys(Keys.HOME, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        assert "Character 3:" in driver.find_element(By.ID, "which").text
        driver.find_element(By.ID, "text").send_keys(Keys.ARROW_DOWN)
        assert "Character 24:" in driver.find_element(By.ID, "which").text  # below the first line of 21
        driver.find_element(By.ID, "text").send_keys(Keys.ARROW_UP)
        assert "Character 3:" in driver.find_element(By.ID, "which").text
        buttons[1].send_keys(Keys.ENTER)
        assert buttons[1].get_attribute("aria-pressed") == "true"

        assert len(seen("#settings dt")) > 10
        assert driver.find_elements(By.CSS_SELECTOR, "#curve circle")
        assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
        assert driver.get_log("browser") == []


def test_a_nasty_text(tmp_path: Path) -> None:
    vocabulary = Vocabulary(NASTY)
    run = untrained(vocabulary)
    path = tmp_path / "nasty.html"
    path.write_bytes(html(contents(run, vocabulary.encode(NASTY, "it"), NASTY, "cpu", False, run, ())))
    with browser() as driver:
        driver.get(path.as_uri())  # an alert would make what follows fail
        shown = driver.execute_script("return document.getElementById('text').textContent")
        assert "</script><script>alert(1)</script><!-- <script> \"'&amp;\\ \\x07\\x1b[31m" in shown
        assert len(driver.execute_script("return [...document.querySelectorAll('#text > span')]")) == len(NASTY)
        assert driver.get_log("browser") == []
