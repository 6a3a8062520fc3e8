"""The entry point `salt-tune`, and what all commands have in common."""

import os
import subprocess
import sys

import pytest

from salt_tune.cli import COMMANDS, MODULES, main
from tests.conftest import ROOT, Command


def salt_tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from salt_tune.cli import main; main(prog_name='salt-tune')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_help_names_the_commands() -> None:
    done = salt_tune("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


def test_the_version_is_the_packages() -> None:
    done = salt_tune("--version")
    assert done.returncode == 0
    assert "0.1.0" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["serch"], ["search", "--trails", "3"], ["search", "--trials", "0"], ["promote", "nowhere"]]
)
def test_an_error_is_one_line(arguments: list[str]) -> None:
    done = salt_tune(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.count("error: ") == 1


def test_without_a_command_it_lists_them() -> None:
    done = salt_tune()
    assert (done.returncode, done.stdout) == (2, "")
    assert all(f"\n  {name} " in done.stderr for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_what_it_takes(command: Command, name: str) -> None:
    done = command(MODULES[name], "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: python -m salt_tune.{MODULES[name]} ")
    assert "Options:" in done.stdout


@pytest.mark.parametrize(
    "words",
    [(), *((name,) for name in COMMANDS), *(("prepare", job) for job in ("append", "subset", "verify", "repair"))],
    ids=" ".join,
)
def test_help_fits_a_screen_or_is_grouped_and_ends_with_an_example(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main.main(args=[*words, "--help"], prog_name="salt-tune")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    headings = [line for line in lines[1:] if line.endswith(":") and not line.startswith(" ")]
    assert len(lines) <= 40 or len(headings) >= 4, text
    assert max(map(len, lines)) <= 100
    assert headings[-1] == "Example:" and lines[-1].startswith("  ")
    typed = " ".join(lines[lines.index("Example:") + 1 :])
    assert f"salt-tune {' '.join(words)}".strip() in typed or f"salt_tune.{' '.join(words)}" in typed


def test_an_unknown_command_is_told_the_nearest() -> None:
    assert salt_tune("serch").stderr == "error: serch: unknown command; did you mean 'search'?\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_only_helps_loads_neither_torch_nor_ray(name: str) -> None:
    program = f"import sys, salt_tune.{name}; print(*sorted({{'ray', 'torch', 'timm', 'wandb'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_package_itself_is_the_same_command() -> None:
    arguments = [sys.executable, "-m", "salt_tune", "--help"]
    done = subprocess.run(
        arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


def test_the_help_says_what_each_command_does_and_loads_none() -> None:
    program = (
        "import sys\nfrom salt_tune.cli import NAMES, main\n"
        "try: main.main(args=['--help'])\n"
        "finally: print(*[name for name in NAMES if f'salt_tune.{name}' in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() in ("", "report")  # a package of that name is none of the commands
    for name, command in COMMANDS.items():
        first = " ".join((command.help or "").split()).partition(". ")[0].removesuffix(".")
        shown = done.stdout.partition("Commands:")[2]
        assert f"  {name} " in shown and first.split()[0] in shown
        assert first in " ".join(shown.split())


@pytest.mark.parametrize("command", ["search", "promote"])
def test_the_help_of_a_command_loads_nothing_that_trains(command: str) -> None:
    program = (
        "import sys\nfrom salt_tune.cli import main\n"
        f"try: main.main(args=['{command}', '--help'])\n"
        "finally: print(*sorted({'ray', 'torch', 'pandas', 'numpy', 'optuna', 'scipy', 'pydantic'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
