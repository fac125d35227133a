"""The entry point: the group of all commands, and the one place where errors become exit codes.

0 is success, 1 a failure, 2 wrong usage, 130 an interruption. Every failure is one line on standard error; ``--debug``
shows the traceback too.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten

import click

from .exits import INTERRUPTED
from .lazy import LazyGroup

# Errors that speak to the user. Anything else is a fault of ours and says so.
_EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError, MemoryError)

# Numba's messages fill a screen.
_LONGEST = 300


@dataclass
class Settings:
    """What the group's options say, for the error handling outside of it."""

    debug: bool = False


@click.group(
    cls=LazyGroup,
    modules={
        "train": ".train",
        "eval": ".eval",
        "predict": ".predict",
        "plot": ".plot",
        "bench": ".bench",
        "summary": ".summary",
        "warmup": ".warmup",
        "operators": ".operators",
        "info": ".info",
        "data": ".data",
    },
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(package_name="numbaconv", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def application(settings: Settings, debug: bool) -> None:
    """Train and run convolutional networks whose every kernel is Python, compiled by Numba.

    `numbaconv train` needs nothing else: it trains LeNet-5 on the handwritten digits that ship with the package.
    """
    settings.debug = debug
    warnings.showwarning = lambda message, *_: _complain(f"numbaconv: warning: {message}")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: what follows the program's name; those of the process by default.
    """
    settings = Settings()
    try:
        code = application.main(arguments, prog_name="numbaconv", standalone_mode=False, obj=settings)
        # With standalone_mode off, Click returns the code of an early exit (--help), else what the command returned.
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "numbaconv"
        _complain(f"{path}: {error.format_message().rstrip('.')} (see {path} --help)")
        return error.exit_code
    except click.ClickException as error:
        _complain(f"numbaconv: {error.format_message()}")
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        _complain(f"numbaconv: {_describe(error)}")
        return 1


def main() -> None:
    """Run the command line and leave the process with its exit code."""
    sys.exit(run())


def _describe(error: Exception) -> str:
    message = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        return f"out of memory ({message})"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, _EXPECTED):
        return message
    message = shorten(message, _LONGEST, placeholder=" ...")
    return f"unexpected {type(error).__name__}: {message} (please report it with what numbaconv --debug shows)"


def _complain(message: str) -> None:
    """Print a message as one line, whatever line breaks it holds."""
    click.echo(" ".join(message.split()), err=True)
