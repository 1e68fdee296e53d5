"""`report.html` is for everybody: contrast in dark and in light, and a name for whatever a person may press."""

import json
import re
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path

import pytest

from house.browser import in_chromium, opened
from house.pages import bad_news
from house.report_pages import audited, driven, page, portraits, report, written

LIGHT, DARK = 1, 0  # what Chromium calls them

# Of each text its contrast to the nearest ground behind it (WCAG 2, 1.4.3), and everything to press with its name.
LOOKING = """
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (colour) => { const [r, g, b] = parts(colour).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  function ground(element) {
    const { backgroundColor } = getComputedStyle(element);
    const alpha = parts(backgroundColor)[3] ?? 1;
    return alpha === 1 || !element.parentElement ? backgroundColor : ground(element.parentElement);
  }
  function contrast(element) {
    const [one, other] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  }
  for (const details of document.querySelectorAll("details")) details.open = true;
  setTimeout(() => {
    const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const texts = [...document.body.querySelectorAll("*")].filter((each) => !["SCRIPT", "STYLE", "NOSCRIPT"].includes(each.tagName) && own(each));
    const low = texts.filter((each) => contrast(each) < 4.5).map((each) => `${each.tagName}.${each.className} ${contrast(each).toFixed(1)}`);
    const pressed = [...document.querySelectorAll("button, select, input, summary")];
    const name = (each) => each.getAttribute("aria-label") || each.textContent.trim() || (each.labels && each.labels[0] && each.labels[0].textContent.trim());
    document.body.dataset.seen = JSON.stringify({
      texts: texts.length, low: [...new Set(low)], pressed: pressed.length,
      nameless: pressed.filter((each) => !name(each)).map((each) => each.outerHTML),
      silent: [...document.images].filter((each) => !each.hasAttribute("alt")).length,
      ground: getComputedStyle(document.body).backgroundColor,
      headings: [...document.querySelectorAll("h1, h2, h3")].map((each) => Number(each.tagName[1])),
    });
  }, 300);
"""  # noqa: E501 - a line of another language


def seen(folder: Path, scheme: int) -> dict[str, object]:
    shown = portraits(6, 64)
    last = replace(page(9, shown, probe_accuracy=0.5), audit=audited(()))
    html = report(page(1, shown, probe_accuracy=0.2), last, bad_news(9))
    dom, console = opened(
        written(folder, driven(html, LOOKING)), "#probe=5", f"--blink-settings=preferredColorScheme={scheme}"
    )
    found = re.search('data-seen="([^"]*)"', dom)
    assert console == []
    assert found is not None
    looked: dict[str, object] = json.loads(unescape(found[1]))
    return looked


@in_chromium
@pytest.mark.parametrize(("scheme", "ground"), [(LIGHT, "rgb(251, 251, 253)"), (DARK, "rgb(19, 19, 23)")])
def test_every_text_can_be_read_and_every_control_has_a_name(tmp_path: Path, scheme: int, ground: str) -> None:
    looked = seen(tmp_path, scheme)

    assert looked["ground"] == ground
    assert int(str(looked["texts"])) > 60
    assert int(str(looked["pressed"])) > 15
    assert looked["low"] == []
    assert looked["nameless"] == []
    assert looked["silent"] == 0
    headings = looked["headings"]
    assert isinstance(headings, list)
    assert headings.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(headings))
