"""The entry point: finds the command, runs it, turns whatever happens into lines and a code.

Exit codes: 0 all done (no people is success), 1 unexpected, 2 usage, 3 some inputs failed,
4 weights, 5 output, 6 memory, 130 interrupted, 141 reader of the output gone, 143 terminated.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

import click
from click.shell_completion import shell_complete

from hrpose import __version__
from hrpose.cli.report import report, report_error
from hrpose.errors import HrposeError, MemoryLimitError

_SYSTEM_LIBRARY = "; OpenCV wants libGL, or `pip install opencv-python-headless` instead"


class Row(NamedTuple):
    """Where a command lives and what it does, so that listing commands imports none."""

    target: str
    help: str


COMMANDS = {
    "image": Row("hrpose.cli.image:image", "Find people in pictures; draw them and write JSON."),
    "video": Row("hrpose.cli.video:video", "Find people in a video; draw them and write JSON."),
    "batch": Row("hrpose.cli.batch:batch", "Find people in all pictures below a folder."),
    "models": Row("hrpose.cli.models:models", "List, download and import models."),
    "convert": Row("hrpose.cli.convert:convert", "Turn result files into another format."),
    "schema": Row("hrpose.cli.schema:schema", "Print the JSON Schema of the result files."),
    "train": Row("hrpose.cli.train:train", "Train a pose model or a person detector."),
    "evaluate": Row("hrpose.cli.evaluate:evaluate", "Measure models on labelled pictures."),
}


class Terminated(KeyboardInterrupt):
    """SIGTERM; a kind of KeyboardInterrupt, so that what Ctrl-C keeps is kept here too."""


class Root(click.Group):
    """The group of all commands, loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].target.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command), COMMANDS[cmd_name].target
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in COMMANDS.items()])

    def main(  # type: ignore[override]  # click's own turns Ctrl-C and EPIPE into exit code 1
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **_: object
    ) -> NoReturn:
        sys.exit(run(sys.argv[1:] if args is None else args))


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hrpose", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def root(debug: bool) -> None:
    """People in pictures and videos to keypoints."""


def main() -> NoReturn:
    """Runs the command line of this process and exits."""
    root.main()


def run(arguments: Sequence[str]) -> int:
    """Runs one command line.

    Args:
        arguments: Words after the program's name.

    Returns:
        The exit code; what went wrong has been said on stderr.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file name of odd bytes must not end a run
        sys.stdout.reconfigure(errors="backslashreplace")
    if instruction := os.environ.get("_HRPOSE_COMPLETE"):
        return shell_complete(root, {}, "hrpose", "_HRPOSE_COMPLETE", instruction)
    with _sigterm_raises():
        return _guarded(list(arguments))


def _guarded(arguments: list[str]) -> int:
    debug = False
    try:
        with root.make_context("hrpose", arguments) as context:
            debug = context.params["debug"]
            code = root.invoke(context)
        sys.stdout.flush()
        return code or 0
    except (click.ClickException, click.exceptions.Exit) as stop:
        return _stopped_by_click(stop)
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt as stop:
        return _interrupted(stop)
    except HrposeError as error:
        _trace(error, debug)
        report_error(error)
        return error.exit_code
    except MemoryError as error:
        _trace(error, debug)
        report("error", "not enough memory")
        report("hint", "smaller pictures or smaller batches need less")
        return MemoryLimitError.exit_code
    except ImportError as error:  # `libGL.so.1: cannot open ...` on servers without a desktop
        _trace(error, debug)
        report("error", f"a package of hrpose cannot be used: {error}")
        report("hint", f"reinstall it{_SYSTEM_LIBRARY if 'libGL' in str(error) else ''}")
        return 1
    except Exception as error:  # noqa: BLE001  # the last resort: people get a line, not a traceback
        _trace(error, debug)
        advice = "" if debug else "; re-run with --debug"
        report("error", f"unexpected {type(error).__name__}: {error}{advice}")
        report("hint", "hrpose --debug COMMAND ... shows where it happened; please report it")
        return 1


def _stopped_by_click(stop: click.ClickException | click.exceptions.Exit) -> int:
    if isinstance(stop, click.exceptions.Exit):
        return stop.exit_code
    if isinstance(stop, click.exceptions.NoArgsIsHelpError):
        stop.show()
        return stop.exit_code
    report("error", " ".join(stop.format_message().split()).removesuffix("."))
    context = getattr(stop, "ctx", None)
    report("hint", f"see {context.command_path if context else 'hrpose'} --help")
    return stop.exit_code


def _interrupted(stop: KeyboardInterrupt) -> int:
    terminated = isinstance(stop, Terminated)
    report("error", "terminated" if terminated else "interrupted")
    return 143 if terminated else 130


def _reader_gone() -> int:
    # The interpreter flushes stdout once more at exit and would complain about the same pipe
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 141


def _trace(error: BaseException, debug: bool) -> None:
    if debug:
        traceback.print_exception(error, file=sys.stderr)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Makes SIGTERM unwind like Ctrl-C: by default Python would run no ``finally``."""

    def handler(number: int, frame: object) -> NoReturn:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
