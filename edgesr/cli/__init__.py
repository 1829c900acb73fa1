"""The command line: one small file per command, imported only when it is called."""

import importlib
import os
import sys

import click

from edgesr import __version__
from edgesr.cli.native_log import silence_native_log
from edgesr.cli.termination import TerminatedError, terminated_as_exit
from edgesr.errors import EdgeSRError

#: Command name -> (module that holds it as `command`, one line for `edgesr --help`).
_COMMANDS: dict[str, tuple[str, str]] = {
    "bench": ("edgesr.cli.bench", "Measure files here or on phones; compare and show the records."),
    "convert": ("edgesr.cli.convert", "Convert a checkpoint to a .tflite, proven equal to it."),
    "doctor": ("edgesr.cli.doctor", "Show what this machine has for edgesr, and what is missing."),
    "eval": ("edgesr.cli.eval", "Measure networks and files on pictures, side by side."),
    "fold": ("edgesr.cli.fold", "Fold a checkpoint in training form into plain weights."),
    "info": ("edgesr.cli.info", "Count what a network costs, as papers do."),
    "inspect": ("edgesr.cli.inspect", "Show what is in a .tflite and whether a GPU takes it."),
    "metrics": ("edgesr.cli.metrics", "Measure how alike pictures are, as papers do."),
    "models": ("edgesr.cli.models", "List the networks that can be converted."),
    "report": ("edgesr.cli.report_page", "Write a page on what networks cost, fit and do."),
    "train": ("edgesr.cli.train", "Train a network by a recipe."),
    "upscale": ("edgesr.cli.upscale", "Upscale pictures with a .tflite."),
    "verify": ("edgesr.cli.verify", "Prove a .tflite equal to its PyTorch checkpoint."),
}


class _LazyGroup(click.Group):
    """Imports a command's module only when that command runs, so that `--help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return importlib.import_module(_COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: edgesr convert --model rtc --fp16",
)
@click.version_option(__version__, prog_name="edgesr")
def cli() -> None:
    """From a PyTorch super-resolution checkpoint to a .tflite that a phone's GPU runs whole."""


def main() -> None:
    """Run the CLI; every expected error ends as one line on stderr and a non-zero status."""
    silence_native_log()
    try:
        with terminated_as_exit():
            status = cli.main(prog_name="edgesr", standalone_mode=False)
    except EdgeSRError as error:
        click.echo(f"edgesr: error: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        _show(error)
        sys.exit(error.exit_code)
    except OSError as error:
        # With no file named it is stdout that takes nothing: a full disk, a closed pipe.
        what = f"cannot use {error.filename}" if error.filename else "cannot print the result"
        _give_up_stdout()
        click.echo(f"edgesr: error: {what}: {error.strerror or error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("edgesr: interrupted; nothing was written", err=True)
        sys.exit(130)
    except TerminatedError:
        click.echo("edgesr: terminated; nothing was written", err=True)
        raise
    sys.exit(status if isinstance(status, int) else 0)


def _show(error: click.ClickException) -> None:
    """Show wrong usage as click does, but with the line that begins as all our errors do."""
    message = error.format_message()
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is not None and message == context.get_help():  # `edgesr` alone
        click.echo(message, err=True)
        return
    if context is not None:
        hint = f"Try '{context.command_path} --help' for help."
        click.echo(f"{context.get_usage()}\n{hint}\n", err=True)
    click.echo(f"edgesr: error: {message}", err=True)


def _give_up_stdout() -> None:
    """Keep the interpreter from printing once more, at its end, what could not be printed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
