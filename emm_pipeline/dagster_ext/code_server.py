"""The code server: Dagster's own, patched before it serves. `emm code-server` starts it.

There are two patches. Runs are forked from a process that has imported all modules (`run_processes`). And the check
for runs whose process has died, once a second, survives an error: in Dagster itself an error (for example because
PostgreSQL restarts) ends the checking thread, and killed runs are then shown as running until their max_runtime has
passed.

Dagster's code server: https://docs.dagster.io/deployment/code-locations/workspace-yaml
"""

import logging
import socket
from collections.abc import Callable

from emm_pipeline.dagster_ext.garbage import collect_every_minute
from emm_pipeline.dagster_ext.internals import run_code_server, wrap_check_for_orphaned_runs
from emm_pipeline.dagster_ext.run_processes import (
    ensure_fork_server,
    fork_run_processes,
    share_memory_with_fork_server,
)
from emm_pipeline.errors import ConfigurationError

_log = logging.getLogger(__name__)


def serve(definitions_module: str, preload_module: str, host: str, port: int, log_level: str = "info") -> None:
    """Serve a module's definitions until SIGINT or SIGTERM.

    Args:
        definitions_module: the name of the module with the Definitions.
        preload_module: the name of the module that is imported before runs are forked.
        host: the address to listen at.
        port: the port to listen at.
        log_level: critical, error, warning, info or debug.

    Raises:
        ConfigurationError: the process cannot listen at the address.
    """
    _check_address(host, port)
    patch_code_servers(preload_module)
    _share_memory(preload_module)
    collect_every_minute()
    listen = ["--host", host, "--port", str(port)]
    run_code_server(["--module-name", definitions_module, *listen, "--log-level", log_level])


def _check_address(host: str, port: int) -> None:
    """Raise if the address is in use, because gRPC would share it: two servers would answer, with different code."""
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
    """Patch every code server of this process, including one that already serves."""
    fork_run_processes(preload_module)
    wrap_check_for_orphaned_runs(_check_and_continue)


def _share_memory(preload_module: str) -> None:
    """Start the fork server from this process; after an error it is started with the first check, without sharing."""
    try:
        share_memory_with_fork_server(preload_module)
    except Exception as err:  # noqa: BLE001 - wrong settings are reported when the definitions are loaded
        reason = " ".join(str(err).split())
        _log.warning("the code server and its fork server do not share memory: %s", reason)


def _check_and_continue(check: Callable[[], None]) -> None:
    try:
        ensure_fork_server()
        check()
    except Exception as err:  # noqa: BLE001 - after any error, the next check may succeed
        reason = " ".join(str(err).split())
        _log.warning("cannot check for runs whose process has died: %s", reason)
