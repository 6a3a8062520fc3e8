"""How commands are written: names that must be known, a default command, help under headings."""

from collections.abc import Callable

import click
import pytest

from salt_tune.ui.commands import Choice, Command, DefaultGroup, Flag

Run = Callable[..., tuple[int, str, str]]


@click.command(cls=Command, example="paint door --colour red")
@click.argument("what", required=False)
@click.option("--colour", cls=Flag, heading="Paint", type=Choice(["red", "green"]), default="red", help="Of the paint.")
@click.option("--coats", cls=Flag, heading="Paint", type=click.IntRange(min=1), default=1, help="How many.")
@click.option("--quiet", cls=Flag, heading="Words", is_flag=True, help="Say nothing.")
@click.option("--secret", cls=Flag, is_flag=True, hidden=True)
def paint(what: str | None, colour: str, coats: int, quiet: bool, secret: bool) -> None:
    """Paint something."""
    click.echo(f"{what} {colour} {coats} {quiet}")


@click.group(cls=DefaultGroup, default=paint)
def main() -> None:
    """Paint, or wash."""


@main.command(cls=Command)
@click.argument("what")
def wash(what: str) -> None:
    """Wash something."""
    click.echo(f"washed {what}")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("COLUMNS", "100")

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main.main(args=[*words], prog_name="paint")
        return int(ended.value.code or 0), *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("door",), "door red 1 False"),
        (("--colour", "green", "door"), "door green 1 False"),
        (("door", "wash"), None),
        ((), "None red 1 False"),
        (("wash", "door"), "washed door"),
        (("./wash",), "./wash red 1 False"),
        (("--", "wash"), "wash red 1 False"),
        (("--quiet", "wash"), "wash red 1 True"),
    ],
)
def test_the_default_command_is_meant_where_no_other_is_named(
    run: Run, words: tuple[str, ...], output: str | None
) -> None:
    code, printed, errors = run(*words)
    assert (code, printed.strip()) == ((0, output) if output else (2, "")), errors


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("door", "--colour", "gren"), "--colour': 'gren' is unknown; did you mean 'green'?"),
        (("door", "--colour", "x"), "'x' is unknown; known are red, green"),
        (("door", "--color", "red"), "--colour"),
        (("wash",), "Missing argument 'WHAT'"),
    ],
)
def test_unknown_names_are_errors_that_name_the_nearest(run: Run, words: tuple[str, ...], error: str) -> None:
    code, printed, errors = run(*words)
    assert (code, printed) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert error in errors


def test_help_has_headings_the_commands_and_an_example(run: Run) -> None:
    code, printed, _ = run("--help")
    assert code == 0
    lines = printed.splitlines()
    assert lines[0] == "Usage: paint [OPTIONS] [WHAT]"
    order = [line for line in lines if line and not line.startswith(" ")][1:]
    assert order == ["Paint:", "Words:", "Options:", "Commands:", "Example:"]
    assert lines[-1] == "  paint door --colour red"
    assert "  --coats N " in printed, "shorter than click's INTEGER RANGE"
    assert "  wash  Wash something." in lines
    assert "--secret" not in printed
    assert "Example:" not in run("wash", "--help")[1]
