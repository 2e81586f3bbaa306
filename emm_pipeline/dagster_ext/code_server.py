"""The code server: Dagster's own, patched before it serves. `emm code-server` starts it.

Two patches. Runs are forked from a process that has everything imported (`run_processes`). And the check for runs whose
process has died, once a second, survives an error: in Dagster itself an error (PostgreSQL is restarting) ends the
thread that checks, and killed runs are from then on shown as running until their max_runtime has passed.

Dagster's code server: https://docs.dagster.io/deployment/code-locations/workspace-yaml
"""

import logging
import socket
from collections.abc import Callable

from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.internals import run_code_server, wrap_check_for_orphaned_runs
from emm_pipeline.dagster_ext.run_processes import ensure_fork_server, fork_run_processes
from emm_pipeline.errors import ConfigurationError

_log = logging.getLogger(__name__)


def serve(definitions_module: str, preload_module: str, host: str, port: int, log_level: str = "info") -> None:
    """Serve a module's definitions until SIGINT or SIGTERM.

    Args:
        definitions_module: the name of the module that holds the Definitions.
        preload_module: the name of the module that the process imports from which runs are forked.
        host: the address to listen at.
        port: the port to listen at.
        log_level: critical, error, warning, info or debug.

    Raises:
        ConfigurationError: it cannot listen there.
    """
    _check_address(host, port)
    patch_code_servers(preload_module)
    collect_every_minute()
    listen = ["--host", host, "--port", str(port)]
    run_code_server(["--module-name", definitions_module, *listen, "--log-level", log_level])


def _check_address(host: str, port: int) -> None:
    """Raise unless the address is free. gRPC shares it: two servers would answer in turn, with different code."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as err:
        raise ConfigurationError(
            f"cannot listen at {host}:{port} ({err.strerror}): is another code server running? If not, choose another "
            "address with --host and --port"
        ) from None


def patch_code_servers(preload_module: str) -> None:
    """Patch every code server of this process, also one that is serving already."""
    fork_run_processes(preload_module)
    wrap_check_for_orphaned_runs(_check_and_continue)


def _check_and_continue(check: Callable[[], None]) -> None:
    try:
        ensure_fork_server()
        check()
    except Exception as err:  # noqa: BLE001 - whichever it is, the next check may succeed
        reason = " ".join(str(err).split())
        _log.warning("cannot check for runs whose process has died: %s", reason)
