"""Every setting's effective value and its source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dotenv import dotenv_values
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from emm_pipeline.credentials import EXAMPLES
from emm_pipeline.env_files import require_readable
from emm_pipeline.settings import ENV_FILES, PRODUCT_FILES, Settings, access_values, visible

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def effective_settings(*env_files: Path) -> list[dict[str, str]]:
    """Return each setting's variable, value (valid or not, secrets masked) and source.

    The source is the environment, a file, or the default.
    """
    require_readable(env_files)
    files: list[tuple[str, Mapping[str, str | None]]] = [
        (shown_path(path), dotenv_values(path, encoding="utf-8")) for path in (*ENV_FILES, *env_files)
    ]
    sources = [("EMM_ACCESS_DIR", access_values(*env_files)), ("environment", os.environ), *reversed(files)]
    shown = []
    for name, field in Settings.model_fields.items():
        variable = name.upper()
        default = "" if field.default in {None, PydanticUndefined} else field.default
        source, value = next(
            (
                (source, value)
                for source, values in sources
                if (value := values.get(variable)) and value not in EXAMPLES
            ),
            ("default", default),
        )
        masked = "********" if value != default else ""
        text = masked if isinstance(default, SecretStr) else visible(name, value)
        shown.append({"variable": variable, "value": text, "from": source})
    return shown


def shown_path(path: Path) -> str:
    """Return the path of a file with settings, relative to the product's folder if it is in there."""
    return str(path.relative_to(PRODUCT_FILES) if path.is_relative_to(PRODUCT_FILES) else path)
