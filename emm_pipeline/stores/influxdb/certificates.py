"""INFLUXDB_CA_FILE: the certificate of the authority that issued InfluxDB's."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from emm_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path


def require_ca_file(file: Path | None) -> None:
    """Check that certificates can be read from the file, if there is one.

    Raises:
        ConfigurationError: it cannot be read, or contains no certificate.
    """
    if file is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except (OSError, ssl.SSLError) as err:
        reason = err.strerror or str(err)
        raise ConfigurationError(f"INFLUXDB_CA_FILE={file} is not a file with certificates (PEM): {reason}") from None
