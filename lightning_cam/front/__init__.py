"""What a person sees: one page, of one script, one style sheet and one template. It knows no run."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

MODULES = ("base", "maps", "tiles", "curves", "dialog", "mistakes", "surest", "masks", "address", "controls", "mount")


@cache
def source(name: str) -> str:
    """A file of this folder."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


@cache
def script() -> str:
    """Everything that `mount` needs, as one script: a page that opens from disk may not import modules."""
    return "\n".join(source(f"{name}.js") for name in MODULES)


def report(context: Mapping[str, Any]) -> str:
    """The whole page as one text that asks for nothing. ``context`` has what `report.html.j2` names."""
    return _page("report.html.j2", "boot.js", context)


def comparison(context: Mapping[str, Any]) -> str:
    """Several runs beside each other, likewise. ``context`` has what `compare.html.j2` names."""
    return _page("compare.html.j2", "compare.js", context)


def masks(context: Mapping[str, Any]) -> str:
    """Masks to look at and to correct, likewise. ``context`` has what `masks.html.j2` names."""
    return _page("masks.html.j2", "review.js", context)


def _page(template: str, boot: str, context: Mapping[str, Any]) -> str:
    scripts = [script(), source(boot)]
    return _template(template).render(context, style=source("page.css"), scripts=scripts, policy=_policy(boot))


def words(verdict: Mapping[str, Any]) -> str:
    """A verdict alone, as an element of another page and in its style."""
    return _template("verdict.html.j2").render(verdict=verdict)


def embedded(entry: object) -> str:
    r"""JSON in one line that cannot leave the element that holds it.

    >>> embedded("</script>")
    '"\\u003c/script>"'
    """
    return json.dumps(entry, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def script_digests() -> tuple[str, ...]:
    """Of the scripts on a page, as a policy names them."""
    return _digests("boot.js")


@cache
def _digests(boot: str) -> tuple[str, ...]:
    return tuple(map(_digest, (script(), source(boot))))


@cache
def _policy(boot: str) -> str:
    """Nothing is fetched, and no style or script runs but ours, told by its digest."""
    style, *scripts = (f"'sha256-{digest}'" for digest in (_digest(source("page.css")), *_digests(boot)))
    rest = "base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; img-src data:; style-src {style}; script-src {' '.join(scripts)}; {rest}"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template(name: str) -> "jinja2.Template":
    import jinja2  # here, since TensorBoard imports this module at its start

    template: jinja2.Template = jinja2.Template(  # its constructor is typed as giving anything
        source(name),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return template
