"""HTML pages from templates: one layout and one stylesheet, nothing fetched, everything escaped.

Every text is escaped by jinja2, and what controls a terminal or the direction of text is replaced.
Besides, the policy in each page forbids scripts and everything from elsewhere.
"""

import base64
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from edgesr.report.charts import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def render_page(template: str, **values: object) -> str:
    """Render a template of this package.

    Args:
        template: Its file name.
        values: Its variables; strings are escaped, `Markup` is not.
    """
    return _environment().get_template(template).render(**values)


def image(content: bytes, kind: str, label: str) -> Markup:
    """Make an image element that holds its file.

    Args:
        content: The file.
        kind: MIME subtype: png or svg+xml.
        label: Alternative text.
    """
    data = base64.b64encode(content).decode()
    return Markup('<img alt="{}" src="data:image/{};base64,{}">').format(
        printable(label), kind, data
    )


def short_names(names: Sequence[str]) -> Mapping[str, str]:
    """Shorten paths to file names, where these stay different."""
    found = {name: Path(name).name or name for name in names}
    return {
        name: short if list(found.values()).count(short) == 1 else name
        for name, short in found.items()
    }


@functools.cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("edgesr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable_text,
    )


def _printable_text(value: object) -> object:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
