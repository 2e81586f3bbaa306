"""Find the type that a person names, in the database or in the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emm_pipeline.catalog import load_catalogue
from emm_pipeline.errors import ConfigurationError
from emm_pipeline.suggesting import suggestion

if TYPE_CHECKING:
    from emm_pipeline.fleet import Fleet, MeterType


def find_type(fleet: Fleet, name: str, *, in_database: bool = False) -> MeterType:
    """Return a type from the database, or from the catalogue if the database does not have it.

    Args:
        fleet: The fleet, with all types of the database.
        name: The type's name; spaces around it are ignored.
        in_database: Whether it must be in the database.

    Raises:
        ConfigurationError: There is no such type. The message says what to do, or which names are close.
    """
    name = name.strip()
    if name in fleet.types:
        return fleet.types[name]
    catalogue = load_catalogue()
    if name not in catalogue:
        known = {*fleet.types, *catalogue}
        raise ConfigurationError(
            f"there is no type {name!r}, neither in the database ({', '.join(sorted(fleet.types)) or 'none'}) nor in "
            f"the catalogue (emm types list){suggestion(name, known)}"
        )
    if in_database:
        raise ConfigurationError(f"type {name} is not in the database; the catalogue has it: emm types install {name}")
    return catalogue[name].meter_type
