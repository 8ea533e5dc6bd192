"""HTML pages: a template of this folder, with the styles, scripts and plotting library that it carries along."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup


def page_of(name: str, *, parts: Sequence[str], **values: Any) -> str:
    """The template `name`.html with the values it asks for; `parts` names the .css and .js files inside the page."""
    from plotly.offline import get_plotlyjs

    here = files("rlvr.report")
    css, js = (Markup("".join((here / f"{part}.{kind}").read_text(encoding="utf-8") for part in parts))
               for kind in ("css", "js"))
    pages = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=PackageLoader("rlvr.report", ""))
    return pages.get_template(f"{name}.html").render(css=css, js=js, plotly=Markup(get_plotlyjs()), **values)
