"""What `--address` says of a cluster before Ray is asked: a gRPC server stands for its head."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, environment_of_commands, start_command
from tests.salt_tune.conftest import MINUTES

ASKING = """
import grpc, json, os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

folder, token = Path(sys.argv[1]), "a" * 64
os.environ.update(HOME=str(folder), RAY_TMPDIR=str(folder))
for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
    os.environ.pop(name, None)
from salt_tune.ray_backend import cluster_address
from salt_tune.ray_backend.cluster_address import ASKED, find_cluster
from ray._raylet import AuthenticationTokenLoader
from trainable.errors import UserError

class Head(grpc.GenericRpcHandler):
    demanded = token
    def service(self, call):
        assert call.method == ASKED
        shown = dict(call.invocation_metadata).get("authorization")
        def answer(request, context):
            if self.demanded and shown != f"Bearer {self.demanded}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
            return b""
        return grpc.unary_unary_rpc_method_handler(answer)

head, server = Head(), grpc.server(ThreadPoolExecutor())
server.add_generic_rpc_handlers((head,))
address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
server.start()
said = []
cluster_address.console.warn = lambda text: said.append(f"warning: {text}")

def ask(given, **variables):
    AuthenticationTokenLoader.instance().reset_cache()
    os.environ.update(variables)
    said.clear()
    try:
        found = find_cluster(given)
    except UserError as error:
        found = f"error: {error}"
    finally:
        for name in variables:
            os.environ.pop(name, None)
    return [found.replace(address, "HEAD"), *(line.replace(address, "HEAD") for line in said)]

told = {"no token": ask(address), "wrong token": ask(address, RAY_AUTH_TOKEN="b" * 64)}
told["in"] = ask(address, RAY_AUTH_TOKEN=token)
told["without"] = ask(address, RAY_AUTH_MODE="disabled")
os.environ["RAY_AUTH_MODE"] = "token"
(folder / ".ray").mkdir()
(folder / ".ray" / "auth_token").write_text(token)
told["from home"] = ask(address)
told["auto, nothing"] = ask("auto")
told["auto, variable"] = ask("auto", RAY_ADDRESS=address)
(folder / "ray").mkdir()
file = folder / "ray" / "ray_current_cluster"
file.write_text(address)
told["auto, file"] = ask("auto")
if os.geteuid() == 0:
    os.chown(file, 4242, -1)
    told["auto, another's"] = ask("auto")
file.unlink()
told["no port"] = ask("head")
told["a scheme"] = ask("ray://head:10001")
told["nobody"] = ask("127.0.0.1:1")
head.demanded = None
told["open"] = ask(address)
print(json.dumps(told))
server.stop(0)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is found, and said, in each case; in a process of its own, as Ray reads its environment once."""
    done = subprocess.run(
        [sys.executable, "-c", ASKING, str(tmp_path_factory.mktemp("home"))],
        cwd=ROOT, env=environment_of_commands(), capture_output=True, text=True, timeout=MINUTES, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("case", ["in", "from home", "auto, variable", "auto, file"])
def test_a_cluster_that_takes_our_token_is_found(case: str, told: dict[str, list[str]]) -> None:
    assert told[case] == ["HEAD"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no token", "--address = HEAD: no token is found; put that of the cluster into ~/.ray/auth_token (mode 0600)"),
        ("wrong token", "--address = HEAD: refuses our token; take that of the cluster"),
        ("without", "--address = HEAD: wants a token, and is shown none"),
        ("auto, nothing", "--address = auto: no Ray runs on this machine; give HOST:PORT"),
        ("no port", "--address = head: must be HOST:PORT, such as head:6379, or auto"),
        ("a scheme", "--address = ray://head:10001: must be HOST:PORT, such as head:6379, or auto"),
        ("nobody", "--address = 127.0.0.1:1: no Ray answers there within 5 s (unavailable); is its port open?"),
        ("auto, another's", "--address = auto: "),
    ],
)
def test_what_is_wrong_is_a_line(case: str, words: str, told: dict[str, list[str]]) -> None:
    if case not in told:
        pytest.skip("needs root, to give a file to another user")
    error, *_ = told[case]
    assert error.startswith(f"error: {words}") and "\n" not in error


def test_another_users_word_is_not_taken(told: dict[str, list[str]]) -> None:
    if "auto, another's" not in told:
        pytest.skip("needs root, to give a file to another user")
    assert told["auto, another's"][0].endswith("ray_current_cluster belongs to user 4242; give HOST:PORT")


def test_a_cluster_that_lets_all_in_is_told(told: dict[str, list[str]]) -> None:
    found, line = told["open"]
    assert found == "HEAD"
    assert line.startswith("warning: HEAD lets in all that reach it, without a token: they can run code as you")


def test_a_wrong_address_ends_the_command(tmp_path: Path) -> None:
    words = ("--store", tmp_path, "--runs", tmp_path / "runs", "--address", "127.0.0.1:1")
    process = start_command(tmp_path, "search", *words, env={"RAY_AUTH_TOKEN": "a" * 64})
    output, errors = process.communicate(timeout=MINUTES)
    assert (process.returncode, output) == (2, "")
    assert (
        errors == "error: --address = 127.0.0.1:1: no Ray answers there within 5 s (unavailable); is its port open?\n"
    )
    assert not (tmp_path / "runs").exists()
