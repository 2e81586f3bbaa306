"""Descriptions and names with characters beyond ASCII, in databases of any encoding."""

import pytest
from sqlalchemy import create_engine
from support.postgres import administrate

from emm_pipeline.config_db.engine import create_config_engine
from emm_pipeline.config_db.loader import load_fleet
from emm_pipeline.config_db.upgrade import upgrade
from emm_pipeline.errors import ConfigDatabaseError


@pytest.fixture
def database(request, postgres):
    """The URL of an upgraded database of an encoding with a meter, which a client with UTF-8 has written."""
    encoding = request.param
    name = f"in_{encoding.lower()}"
    administrate(
        postgres,
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'",
    )
    url = postgres.url(name)
    engine = create_engine(url, client_encoding="utf8")
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO registers VALUES ('müller', 0, 'temperature', '°C', 3, 4, 2, 2)")
        connection.exec_driver_sql("INSERT INTO energy_meters VALUES (1, '10.0.0.1', 502, 1, 'müller', 'Küche é')")
    engine.dispose()
    yield url
    administrate(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("database", ["UTF8", "LATIN1", "SQL_ASCII"], indirect=True)
def test_a_fleet_is_read_from_a_database_of_any_encoding(database):
    engine = create_config_engine(database)
    fleet = load_fleet(engine)
    engine.dispose()
    assert fleet.issues == ()
    (meter,) = fleet.meters
    assert (meter.type, meter.description) == ("müller", "Küche é")
    assert fleet.types["müller"].registers[0].data_unit == "°C"


@pytest.mark.parametrize("database", ["SQL_ASCII"], indirect=True)
def test_a_text_that_is_not_utf_8_is_named_with_its_database(database):
    engine = create_config_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE energy_meters SET description = E'old K\\xfcche'")
    with pytest.raises(ConfigDatabaseError, match=r"/in_sql_ascii: invalid byte .*0xfc .*again in UTF-8"):
        load_fleet(engine)
    engine.dispose()
