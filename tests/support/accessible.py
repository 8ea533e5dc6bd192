"""What can be held of a page's accessibility without a browser: language, names, headings, tables, contrast."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}
TEXT = ("--ink", "--soft", "--muted", "--accent", "--bad", "--good")
"""Variables that colour text."""
GROUNDS = ("--paper", "--tint")


class _Reader(HTMLParser):
    """Every element with its attributes and its text, in the order of their ends."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.found: list[tuple[str, dict[str, str | None], str, tuple[str, ...]]] = []
        self.headings: list[int] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in VOID:
            self.found.append((tag, dict(attrs), "", tuple(name for name, _, _ in self.open)))
        else:
            self.open.append((tag, dict(attrs), []))

    def handle_data(self, data: str) -> None:
        for _, _, texts in self.open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        name, attributes, texts = self.open.pop()
        assert name == tag, f"<{name}> is closed by </{tag}>"
        self.found.append((tag, attributes, "".join(texts).strip(), tuple(each for each, _, _ in self.open)))


def faults(html: str) -> list[str]:
    """What is wrong with the page, in words; [] if nothing is."""
    page = _Reader(html)
    return [*_structure(page), *_names(page), *_contrast(html)]


def _structure(page: _Reader) -> Iterator[str]:
    tags = [tag for tag, *_ in page.found]
    lang = next(attributes.get("lang") for tag, attributes, *_ in page.found if tag == "html")
    if not lang:
        yield "html has no lang"
    for once in ("title", "main", "h1"):
        if tags.count(once) != 1:
            yield f"{tags.count(once)} elements {once}, expected 1"
    if page.headings[0] != 1:
        yield f"the first heading is h{page.headings[0]}"
    for before, after in zip(page.headings, page.headings[1:], strict=False):
        if after > before + 1:
            yield f"h{after} follows h{before}"
    ids = [str(attributes["id"]) for _, attributes, *_ in page.found if attributes.get("id")]
    for repeated in sorted({one for one in ids if ids.count(one) > 1}):
        yield f"the id {repeated!r} is there twice"
    for _, attributes, *_ in page.found:
        if str(attributes.get("href") or "").startswith("#") and str(attributes["href"])[1:] not in ids:
            yield f"a link to {attributes['href']}, which is nowhere"


def _names(page: _Reader) -> Iterator[str]:
    for tag, attributes, text, inside in page.found:
        named = text or attributes.get("aria-label") or attributes.get("aria-labelledby")
        if tag == "img" and attributes.get("alt") is None:
            yield f"an img without alt: {attributes.get('src')}"
        if attributes.get("role") in ("img", "region", "group") and not attributes.get("aria-label"):
            yield f"a {attributes['role']} without a name: {attributes.get('id') or attributes.get('class')}"
        if tag in ("a", "button", "summary", "title", "figcaption", "th") and not named:
            yield f"an empty {tag} in {'/'.join(inside[-3:])}"
        if tag in ("input", "select", "textarea") and not named and "label" not in inside:
            yield f"an {tag} without a label: {attributes.get('name')}"
        if tag == "th" and attributes.get("scope") not in ("col", "row"):
            yield f"the header {text[:30]!r} does not say what it is the header of"
        scrolls = "scroll" in str(attributes.get("class") or "").split() or tag == "pre"
        if scrolls and attributes.get("tabindex") != "0":
            yield f"a {tag} that may scroll and cannot be reached with the keyboard: {text[:30]!r}"


def _contrast(html: str) -> Iterator[str]:
    """Text on the page's grounds, light and dark: 4.5 to 1 (WCAG 2.2, level AA)."""
    css = " ".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    dark_from = css.index("(prefers-color-scheme: dark)")
    for scheme, block in (("light", css[:dark_from]), ("dark", css[dark_from:].split("}")[0])):
        colours = dict(re.findall(r"(--[a-z]+): (#[0-9a-f]+)", block))
        for text in TEXT:
            for ground in GROUNDS:
                if text in colours and (ratio := contrast(colours[text], colours[ground])) < 4.5:
                    yield f"{scheme}: {text} on {ground} has a contrast of {ratio:.2f}"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, #rgb or #rrggbb, as WCAG 2 defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
              for value in (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
