"""The entry point: listing, errors, exit codes, signals and broken pipes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import hrpose
from hrpose.cli import main
from hrpose.errors import HrposeError, InputError, MemoryLimitError, OutputError, WeightsError

REPO = Path(__file__).resolve().parents[2]


def fail_with(monkeypatch: pytest.MonkeyPatch, body: Callable[[], object]) -> None:
    """Puts a command `schema` in place that does nothing but `body`."""

    @click.command()
    def schema() -> object:
        return body()

    monkeypatch.setattr(main.Root, "get_command", lambda *_: schema)


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_row_is_a_command_of_its_name(name: str) -> None:
    command = main.root.get_command(click.Context(main.root), name)
    assert command is not None
    assert command.name == name
    assert command.get_short_help_str() != ""


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main.root, ["--help"])
    assert result.exit_code == 0
    for name, row in main.COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert row.help.split()[-1] in result.stdout


def test_version_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr() == (f"hrpose {hrpose.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["a\x1b[2Jb"], r"No such command 'a\x1b[2Jb'"),
    ],
    ids=["command", "option", "control"],
)
def test_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert said.replace("'", "") in error.replace("'", "").replace("option: ", "option ")
    assert hint == "hint: see hrpose --help"


def test_no_words_show_the_help_and_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == 2
    assert "Usage: hrpose" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (HrposeError("a"), 1),
        (InputError("a"), 3),
        (WeightsError("a"), 4),
        (OutputError("a"), 5),
        (MemoryLimitError("a"), 6),
        (MemoryError(), 6),
        (KeyboardInterrupt(), 130),
        (main.Terminated(), 143),
        (ZeroDivisionError("a"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail_with(monkeypatch, raising(error))
    assert main.run(["schema"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err


@pytest.mark.parametrize(("value", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_returns_its_code(
    value: int | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, lambda: value)
    assert CliRunner().invoke(main.root, ["schema"]).exit_code == code


def test_error_and_hint_are_one_escaped_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = InputError("bad \x1b[2J\nname\udcff \u202e.jpg", hint="try\rthis")
    fail_with(monkeypatch, raising(error))
    assert main.run(["schema"]) == 3
    _, err = capsys.readouterr()
    assert err == "error: bad \\x1b[2J\\nname\\udcff \\u202e.jpg\nhint: try\\rthis\n"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a"), InputError("a")], ids=["bug", "expected"]
)
def test_debug_shows_the_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(monkeypatch, raising(error))
    main.run(["--debug", "schema"])
    _, err = capsys.readouterr()
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith(("error: ", "hint: "))


def child(body: str) -> subprocess.Popen[str]:
    """A process whose command `schema` is the given function body."""
    code = f"""
import sys, click
from hrpose.cli import main
@click.command()
def schema():
{body}
main.Root.get_command = lambda *_: schema
sys.argv = ["hrpose", "schema"]
main.main()
"""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPO, stdout=pipe, stderr=pipe, text=True
    )


@pytest.mark.parametrize(
    ("signal_name", "code", "said"),
    [("SIGTERM", 143, "error: terminated\n"), ("SIGINT", 130, "error: interrupted\n")],
)
def test_signals_unwind(signal_name: str, code: int, said: str) -> None:
    process = child(f"""
    import os, signal, time
    try:
        os.kill(os.getpid(), signal.{signal_name})
        time.sleep(20)
    finally:
        print("kept")
""")
    out, err = process.communicate(timeout=15)
    assert (process.returncode, out, err) == (code, "kept\n", said)


def test_reader_gone_is_quiet() -> None:
    process = child("""
    for _ in range(100_000):
        print("line")
""")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(timeout=15)) == ("", 141)
    process.stderr.close()


def test_odd_bytes_on_stdout_do_not_end_the_run() -> None:
    out, err = child("""
    print("name\\udcff")
""").communicate(timeout=15)
    assert (out, err) == ("name\\udcff\n", "")
