"""HTML pages: a template of this folder with the styles, scripts and plotting library inside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from rlvr.report.style import settle_percent_ticks

if TYPE_CHECKING:
    import plotly.graph_objects as go

PLOTLY = "vendor/plotly-basic.min.js"
"""plotly.js with bars and scatter plots only, a quarter of the whole: the npm package plotly.js-basic-dist-min."""


def page_of(name: str, *, parts: Sequence[str], **values: Any) -> str:
    """The template `name`.html with the values it asks for; `parts` names the .css and .js files inside the page. Names
    are paths from this folder."""
    here = files("rlvr.report")
    css, js = (Markup("".join((here / f"{part}.{kind}").read_text(encoding="utf-8") for part in parts))
               for kind in ("css", "js"))
    plotly = Markup((here / PLOTLY).read_text(encoding="utf-8")) if "figures" in values else ""
    return _templates().get_template(f"{name}.html").render(css=css, js=js, plotly=plotly, **values)


@cache
def _templates() -> Environment:
    """Made once: it keeps the templates that it has compiled, which takes longer than filling them."""
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=PackageLoader("rlvr.report", ""))


def as_json(figures: Mapping[str, go.Figure]) -> dict[str, Any]:
    """Figures as the page embeds them: ticks at round distances, and the page's own background behind them."""
    clear = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"}
    return {name: json.loads(settle_percent_ticks(fig).update_layout(clear).to_json() or "")
            for name, fig in figures.items()}
