"""Search a page in a real browser for obstacles to people without a mouse, with poor sight, or on a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESKTOP = {"width": 1400, "height": 860}
PHONE = {"width": 390, "height": 844}
SMALLEST_TARGET = 24
"""Width and height in CSS pixels, as WCAG 2.2 requires (success criterion 2.5.8)."""
THUMB = 40
"""Height of buttons and fields on a phone in CSS pixels."""

_AXE = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
_CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
_WIDTH = {"resultTypes": ["violations"], "runOnly": ["scrollable-region-focusable", "target-size"]}
_WIDER = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("main *, header *")]
    .filter((each) => each.getBoundingClientRect().right > width + 1 && !each.closest(".scroll, pre"))
    .map((each) => each.outerHTML.slice(0, 120)).concat("the page");
}"""
_CONTROLS = """(smallest) => [...document.querySelectorAll("button, input, select, .button, nav a, summary")]
  .filter((each) => each.type !== "hidden" && each.checkVisibility() && !each.classList.contains("hidden"))
  .map((each) => [each, (each.type === "checkbox" && each.closest("label") || each).getBoundingClientRect()])
  .filter(([each, box]) => box.height && box.height < smallest)
  .map(([each, box]) => Math.round(box.height) + " px: " + each.outerHTML.slice(0, 120))"""
_FOCUSED = """() => {
  const each = document.activeElement, style = getComputedStyle(each);
  const isShown = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const text = each.ariaLabel || each.innerText || each.name || "";
  return [each.matches(":focus-visible") && isShown, each.tagName, text.trim()];
}"""


def violations(page: Page) -> list[str]:
    """Return what axe finds, also what it calls minor, each with the elements that it concerns."""
    return _found(page, _AXE)


def contrast_violations(page: Page) -> list[str]:
    """Return the texts that axe finds hard to read, because their colour is close to the one behind them."""
    return _found(page, _CONTRAST)


def phone_violations(page: Page) -> list[str]:
    """Return what axe finds of that which depends on the width of the screen."""
    return _found(page, _WIDTH)


def _found(page: Page, options: dict[str, Any]) -> list[str]:
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [f"{each['impact']}: {each['help']}: {[node['html'][:150] for node in each['nodes']]}" for each in found]


def wider_than_the_screen(page: Page) -> list[str]:
    """Return the elements because of which the page scrolls horizontally."""
    found: list[str] = page.evaluate(_WIDER)
    return found


def small_controls(page: Page, smallest: int = THUMB) -> list[str]:
    """Return the controls that are less high than a thumb needs."""
    found: list[str] = page.evaluate(_CONTROLS, smallest)
    return found


def focused(page: Page) -> tuple[bool, str, str]:
    """Return whether the focus is visible, and the tag and the text of the element that has it."""
    is_visible, tag, text = page.evaluate(_FOCUSED)
    return is_visible, tag, text


def tab_to(page: Page, text: str, most: int = 60) -> None:
    """Press Tab until the element with this text, label or name has the focus, which has to be visible at each step."""
    for _ in range(most):
        page.keyboard.press("Tab")
        is_visible, tag, found = focused(page)
        assert is_visible, f"the focus on {tag} {found!r} cannot be seen"
        if found == text:
            return
    raise AssertionError(f"{text!r} is not reached with Tab")
