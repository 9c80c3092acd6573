"""A drawing of lines and bars as an element of the page, in the colours of the page."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from spice_keras.report.palette import (
    ACCENT,
    CURVES,
    FAINT,
    GRID,
    INK,
    LIGHT,
    MUTED,
    PALE,
    WARNING,
)

# To the variables that style.css gives a light and a dark value.
_VARIABLES = {
    "#ffffff": "--paper",
    "#000000": "--ink",
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PALE: "--pale",
    FAINT: "--faint",
    LIGHT: "--light",
    ACCENT: "--curve-0",
    WARNING: "--curve-1",
    CURVES[2]: "--curve-2",
    CURVES[3]: "--curve-3",
}
_NOT_NEEDED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>"
    r"|<defs>\s*<style.*?</style>\s*</defs>",
    re.DOTALL,
)
_FONT = re.compile(r"font: (?:(\d+) )?([\d.]+px)[^;\"]*")


def page_drawing(svg: str, alternative: str, *, keeps_colors: bool) -> Markup:
    """Makes an SVG file of Matplotlib an element of the page.

    Args:
        svg: the file; the texts in it are escaped already, as XML asks.
        alternative: what it shows, for readers who cannot see it.
        keeps_colors: whether its colours have a meaning and stay, on white.

    Returns:
        The element, without ids that another drawing has too, and without addresses.
    """
    text = _NOT_NEEDED.sub("", svg).strip()
    text = re.sub(r'<g id="[^"]*"', "<g", text)

    def colored(style: re.Match[str]) -> str:
        inside = _FONT.sub(_font, style[0])
        if not keeps_colors:
            inside = re.sub(r"#[0-9a-f]{6}", lambda found: _variable(found[0]), inside)
        return inside

    text = re.sub(r'style="[^"]*"', colored, text)
    box = re.search(r'viewBox="[^"]*"', text)
    label = escape(alternative)
    opening = f'<svg {box[0] if box else ""} role="img" aria-label="{label}">'
    return Markup(re.sub(r"^<svg[^>]*>", lambda _: opening, text))


def _font(found: re.Match[str]) -> str:
    """Size and weight; the family is that of the page."""
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"


def _variable(color: str) -> str:
    return f"var({_VARIABLES[color]})" if color in _VARIABLES else color
