"""Serves the page of runs to browsers of this machine, always as the runs are by now."""

import hashlib
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from analysis.errors import RunError
from analysis.run_directory.paths import RunDirectory
from analysis.tables.runs import load
from analysis.text import printable
from salt_tune.report.page.page import Sources, render_page
from trainable.errors import UserError

HOST: Final = "127.0.0.1"
PROBLEM: Final = "<!doctype html><html lang=en><meta charset=utf-8><title>cannot be read</title><p>{}</p>"


class Pages:
    """The page of some runs, made again when one of their files has changed.

    Args:
        runs: the run directories.
        sources: see `write_page`.
    """

    def __init__(self, runs: Sequence[RunDirectory], sources: Sources) -> None:
        self._runs, self._sources = runs, sources
        self._lock = threading.Lock()
        self._made: tuple[str, str] = ("", "")

    def version(self) -> str:
        """Returns a word that changes when the page would."""
        seen = []
        for run in self._runs:
            finals = [
                file
                for final in run.finals()
                for file in (final.promotion, final.reports, final.evaluation, final.card, final.error, final.lock)
            ]
            for file in (run.manifest, run.decisions, run.reports, run.summary, *finals):
                try:
                    status = file.stat()
                    seen.append((str(file), status.st_mtime_ns, status.st_size))
                except OSError:
                    seen.append((str(file), 0, 0))
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    def html(self) -> str:
        """Returns the page; of runs that cannot be read, one that says why."""
        with self._lock:
            version = self.version()
            if self._made[0] != version:
                self._made = version, self._render()
            return self._made[1]

    def _render(self) -> str:
        from markupsafe import escape

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a last line that is being written
                runs = load(tuple(run.path for run in self._runs))
        except RunError as error:
            return PROBLEM.format(escape(printable(str(error))))
        return render_page(runs, self._sources, follow=True)


@contextmanager
def serve(runs: Sequence[RunDirectory], port: int, sources: Sources) -> Iterator[tuple[str, Callable[[], None]]]:
    """Serves the page of some runs until the block is left.

    Args:
        runs: the run directories, which are there.
        port: 0: a free one.
        sources: see `write_page`.

    Yields:
        The address, and what waits for ever.

    Raises:
        RunError: a run cannot be read now.
        UserError: the port is taken.
    """
    load(tuple(run.path for run in runs))
    pages = Pages(runs, sources)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A page elsewhere may have its own name lead here (DNS rebinding): it must not read the run.
            if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
                self.send_error(403)
            elif self.path == "/":
                self._answer(pages.html(), "text/html; charset=utf-8")
            elif self.path == "/version":
                self._answer(pages.version(), "text/plain; charset=utf-8")
            else:
                self.send_error(404)

        def _answer(self, text: str, kind: str) -> None:
            content = text.encode()
            self.send_response(200)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(content))),
                                ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing of single requests."""

    try:
        server = ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; give another --port") from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/", thread.join
    finally:
        server.shutdown()
        server.server_close()
