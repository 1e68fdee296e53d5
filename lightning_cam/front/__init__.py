"""What a person sees: one page, of one module of JavaScript, one style sheet and one template. It knows no run."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


@cache
def source(name: str) -> str:
    """A file of this folder."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def report(context: Mapping[str, Any]) -> str:
    """The whole page as one text that asks for nothing. ``context`` has what `report.html.j2` names."""
    style, scripts = source("page.css"), [source("page.js"), source("boot.js")]
    return _template().render(context, style=style, scripts=scripts, policy=_policy())


@cache
def _policy() -> str:
    """Nothing is fetched, and no style or script runs but ours, told by its digest."""
    style, scripts = _digest(source("page.css")), f"{_digest(source('page.js'))} {_digest(source('boot.js'))}"
    rest = "base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; img-src data:; style-src {style}; script-src {scripts}; {rest}"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _template() -> "jinja2.Template":
    import jinja2  # here, since TensorBoard imports this module at its start

    template: jinja2.Template = jinja2.Template(  # its constructor is typed as giving anything
        source("report.html.j2"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return template
