"""`edgesr web`: a page that runs `.tflite` files in a phone's browser."""

import click

from edgesr.cli.support.lazy_group import LazyGroup

_COMMANDS = {
    "build": ("edgesr.cli.web.build", "Build the page as a static folder for any host."),
    "serve": ("edgesr.cli.web.serve", "Serve the page, and receive its benchmarks."),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    epilog="""\b
Examples:
  edgesr web serve --lan
  edgesr web build site
""",
)
def command() -> None:
    """Run .tflite files in a browser: a page with tiles, a slider, a benchmark and a proof."""
