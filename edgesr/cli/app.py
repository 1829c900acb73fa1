"""The group of all commands, and how an error of any of them ends."""

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from edgesr import __version__
from edgesr.cli.support.lazy_group import LazyGroup
from edgesr.cli.support.native_log import silence_library_log, silence_native_log
from edgesr.cli.support.termination import TerminatedError, report_stopped, terminated_as_exit
from edgesr.common.text import printable
from edgesr.errors import EdgeSRError

#: Command name -> (module that holds it as `command`, one line for `edgesr --help`).
_COMMANDS: dict[str, tuple[str, str]] = {
    "bench": (
        "edgesr.cli.bench",
        "Measure latency on this host, on devices or in a browser; compare.",
    ),
    "convert": ("edgesr.cli.convert", "Convert a checkpoint to a .tflite, verified against it."),
    "doctor": ("edgesr.cli.doctor", "Show what this machine has for edgesr, and what is missing."),
    "eval": ("edgesr.cli.eval", "Evaluate networks and files on images: PSNR and SSIM."),
    "fold": ("edgesr.cli.fold", "Fold a checkpoint in training form into plain weights."),
    "info": ("edgesr.cli.info", "Count the cost of a network, as papers do."),
    "inspect": ("edgesr.cli.inspect", "Show what is in a .tflite and whether a GPU accepts it."),
    "metrics": ("edgesr.cli.metrics", "Compute PSNR and SSIM between images, as papers do."),
    "models": ("edgesr.cli.models", "List the networks that can be converted."),
    "report": ("edgesr.cli.report", "Write a page on the cost, quality and features of networks."),
    "train": ("edgesr.cli.train", "Train a network by a recipe."),
    "upscale": ("edgesr.cli.upscale", "Upscale images with a .tflite."),
    "verify": ("edgesr.cli.verify", "Verify a .tflite against its PyTorch checkpoint."),
    "web": ("edgesr.cli.web", "Run .tflite files in a browser, on a phone too."),
}


@click.group(
    cls=LazyGroup,
    lazy=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: edgesr convert --model rtc --fp16",
)
@click.version_option(__version__, prog_name="edgesr")
def cli() -> None:
    """Convert PyTorch super-resolution networks to .tflite files that run on a device's GPU."""
    silence_library_log()


def run() -> None:
    """Run the CLI; every error ends as one line on stderr and a non-zero status."""
    try:
        silence_native_log()
        with terminated_as_exit():
            status = cli.main(prog_name="edgesr", standalone_mode=False)
    except EdgeSRError as error:
        _fail(str(error), 1)
    except click.ClickException as error:
        _show_usage(error)
        _fail(" ".join(error.format_message().split()) + _hint(error), error.exit_code)
    except OSError as error:
        _give_up_stdout()
        _fail(_reason(error), 1)
    except MemoryError:
        _fail("out of memory; free some, or give smaller inputs", 1)
    except (KeyboardInterrupt, click.Abort):
        report_stopped(terminated=False)
        sys.exit(130)
    except TerminatedError:
        report_stopped(terminated=True)
        raise
    except Exception as error:
        if "can't start new thread" in str(error):
            _fail("no thread can be started; use fewer --threads, or raise the limits of memory", 1)
        # Imported here, since what it needs would be a seventh of every command's start.
        from edgesr.cli.support.unexpected import INTERNAL_ERROR, report_unexpected

        report_unexpected(error)
        sys.exit(INTERNAL_ERROR)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str, status: int) -> NoReturn:
    """End with one line, whatever text out of files is in the message."""
    click.echo(f"edgesr: error: {printable(message)}", err=True)
    sys.exit(status)


def _reason(error: OSError) -> str:
    """What the operating system refused, and where."""
    reason = error.strerror or str(error)
    if error.filename:
        return f"cannot use {error.filename}: {reason}"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"cannot open another file: {reason}; allow more with `ulimit -n`"
    try:
        Path.cwd()
    except OSError:
        return "the current folder does not exist any more; change to another and try again"
    # With no file named it is stdout that accepts nothing: a full disk, a closed pipe.
    return f"cannot print the result: {reason}"


def _show_usage(error: click.ClickException) -> None:
    """Show how the command is used, as click does; `edgesr` alone shows its help and ends."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return
    if error.format_message() == context.get_help():
        click.echo(error.format_message(), err=True)
        sys.exit(error.exit_code)
    hint = f"Try '{context.command_path} --help' for help."
    click.echo(f"{context.get_usage()}\n{hint}\n", err=True)


def _hint(error: click.ClickException) -> str:
    """How to name a file that is taken for an option."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    words = (word for word in sys.argv[1:] if word.startswith(error.option_name))
    word = next((word for word in words if Path(word).suffix), None)
    return f" If {word} is a file, write ./{word}, or -- before it." if word else ""


def _give_up_stdout() -> None:
    """Keep the interpreter from printing the rest of stdout once more when it ends."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
