"""`edgesr bench`: latency of files on this host, on Android devices and in a browser."""

import click

from edgesr.cli.support.lazy_group import LazyGroup

_COMMANDS = {
    "android": ("edgesr.cli.bench.android", "Measure files on Android devices, over adb."),
    "browser": ("edgesr.cli.bench.browser", "Measure a file in a headless browser."),
    "compare": ("edgesr.cli.bench.compare", "Compare two records: is the second one slower?"),
    "host": ("edgesr.cli.bench.host", "Measure files on this host."),
    "report": ("edgesr.cli.bench.report", "Make one HTML page of records."),
}
_PLACES = ("host", "android", "browser")


class _Bench(LazyGroup):
    """A group that also accepts `FILE... --on PLACE`, its form until 2026-11."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the group's part of the arguments, `--on` in any place."""
        return super().parse_args(ctx, _place_first(ctx, args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand; a file in its place is wrong usage."""
        if args[0] not in self.lazy:
            names = ", ".join(self.list_commands(ctx))
            ctx.fail(f"got {args[0]!r}, allowed {names}; name one, as in `edgesr bench host FILE`")
        return super().resolve_command(ctx, args)


def _place_first(ctx: click.Context, args: list[str]) -> list[str]:
    """Move the value of `--on`, if any, to the subcommand's place."""
    at = next((i for i, word in enumerate(args) if word.split("=")[0] == "--on"), None)
    if at is None or args[0] in _COMMANDS:
        return args
    after = at + 1 if "=" in args[at] else at + 2
    place = "=".join(args[at:after]).removeprefix("--on").removeprefix("=")
    if place not in _PLACES:
        ctx.fail(f"got {place or 'nothing'} for --on, allowed {', '.join(_PLACES)}")
    return [place, *args[:at], *args[after:]]


@click.group(
    cls=_Bench,
    lazy=_COMMANDS,
    epilog="""\b
Examples:
  edgesr bench host a.tflite b.tflite --backend cpu --backend cpu-fp16 --threads 2 -o host.json
  edgesr bench android imdn-rtc_x2_720x480_fp16.tflite -o device.json
  edgesr bench compare old.json new.json --max-regression 5%
  edgesr bench report host.json device.json -o report.html
""",
)
def command() -> None:
    """Measure the latency of .tflite files; compare and show the records.

    `edgesr bench FILE... --on PLACE` does the same as `edgesr bench PLACE FILE...`, PLACE being
    host, android or browser.
    """
