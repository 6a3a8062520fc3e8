"""Which cluster `--address` names, and whether it lets us in: asked before Ray is, which would wait and then exit."""

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from salt_tune.ray_backend.environment import set_cluster_environment
from salt_tune.ui.console import console
from trainable.errors import UserError

if TYPE_CHECKING:
    from grpc import StatusCode

ANSWER_SECONDS: Final = 5.0
ASKED: Final = "/ray.rpc.NodeInfoGcsService/GetClusterId"  # of Ray's global control store (GCS)
OPEN: Final = (
    "{address} lets in all that reach it, without a token: they can run code as you; "
    "start its nodes with RAY_AUTH_MODE=token"
)


def find_cluster(given: str) -> str:
    """Returns the address of a cluster that answers and takes our token; Ray's environment is set for it.

    Args:
        given: HOST:PORT, or "auto": that of RAY_ADDRESS, or of the Ray that was started last on this machine.

    Raises:
        UserError: nothing answers there, or it does not let us in.
    """
    set_cluster_environment()
    address = _current() if given == "auto" else given
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536) or "/" in address:
        where = f" = {address}" if given == "auto" else ""
        raise UserError(f"--address = {given}{where}: must be HOST:PORT, such as head:6379, or auto")
    token = _token(address)
    refused = _refusal(address, token)
    if refused:
        raise UserError(f"--address = {address}: {refused}")
    if token and not _refusal(address, None):
        console.warn(OPEN.format(address=address))
    return address


def _current() -> str:
    """Returns the address that RAY_ADDRESS or a running Ray names.

    Raises:
        UserError: there is none, or another user names it.
    """
    if address := os.environ.get("RAY_ADDRESS"):
        return address
    from ray._common.utils import get_ray_address_file

    file = Path(get_ray_address_file(None))
    try:
        owner = file.lstat().st_uid
        address = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise UserError("--address = auto: no Ray runs on this machine; give HOST:PORT") from None
    if owner not in (0, os.geteuid()):  # whoever writes it gets our token
        raise UserError(f"--address = auto: {file} belongs to {_name_of(owner)}; give HOST:PORT")
    return address


def _name_of(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _token(address: str) -> str | None:
    """Returns the token that Ray will show; None where RAY_AUTH_MODE says that there is none.

    Raises:
        UserError: none is found.
    """
    if os.environ["RAY_AUTH_MODE"] != "token":
        console.warn(f"RAY_AUTH_MODE = {os.environ['RAY_AUTH_MODE']}: the cluster may be open to all")
        return None
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    loader = AuthenticationTokenLoader.instance()
    if not loader.has_token(ignore_auth_mode=True):
        raise UserError(
            f"--address = {address}: no token is found; put that of the cluster into ~/.ray/auth_token (mode 0600), "
            "RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN"
        )
    token: str = loader.get_raw_token(ignore_auth_mode=True)
    return token


def answers(address: str) -> bool:
    """Tells whether the head of a cluster answers, if only that it wants a token."""
    import grpc

    return _answer(address, None) in (None, grpc.StatusCode.UNAUTHENTICATED)


def _refusal(address: str, token: str | None) -> str:
    """Returns why a cluster does not let us in; empty where it does."""
    import grpc

    code = _answer(address, token)
    if code is None:
        return ""
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return "refuses our token; take that of the cluster" if token else "wants a token, and is shown none"
    return f"no Ray answers there within {ANSWER_SECONDS:.0f} s ({code.name.lower()}); is its port open?"


def _answer(address: str, token: str | None) -> "StatusCode | None":
    """Asks the head; returns the error that it answers, or that no answer is; None: it lets us in."""
    import grpc

    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(ASKED)
        try:
            ask(b"", timeout=ANSWER_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            code: StatusCode = error.code()
            return code
    return None
