"""Runs with labels, sums and values that are left out: what is stored, and what Dagster shows."""

from dagster import DagsterEventType
from support.meters import SimulatedUnit, encode_text, encode_value, inputs

from emm_pipeline.fleet import DataType


def test_a_run_shows_labels_stores_sums_and_says_what_is_omitted(pipeline, simulated_gateway):
    words = {(4, address): 0 for address in range(80)} | inputs(60, encode_text("SN-1", 4)) | inputs(70, [500, 65535])
    words |= inputs(0, encode_value(230.5, DataType.FLOAT)) | inputs(52, encode_value(1000.0, DataType.FLOAT))
    pipeline.add_meter(1, simulated_gateway({1: SimulatedUnit(words)}).port)
    pipeline.sql("""
        INSERT INTO registers (type, register_address, measurement_name, data_unit, data_type, function_code,
            word_order, byte_order, length, invalid_values, stored) VALUES
        ('sdm630', 60, 'serialNumber', NULL, 17, 4, 2, 2, 4, NULL, true),
        ('sdm630', 70, 'import', 'W', 4, 4, 2, 2, NULL, NULL, false),
        ('sdm630', 71, 'export', 'W', 4, 4, 2, 2, NULL, '{65535}', false)
    """)
    pipeline.sql("""
        INSERT INTO combined_measurements VALUES
        ('sdm630', 'consumption', 'W', 'import', 2, false),
        ('sdm630', 'gridPower', 'W', 'import', 1, false),
        ('sdm630', 'gridPower', 'W', 'export', -1, false)
    """)
    assert pipeline.run("discovery").success
    for _ in range(2):
        result = pipeline.run("poll")
        assert result.success
        (event,) = pipeline.events(result, DagsterEventType.ASSET_MATERIALIZATION)
        metadata = event.event_specific_data.materialization.metadata
        assert metadata["label serialNumber"].value == "SN-1", "also of a poll that did not read it"
    stored = pipeline.sql("SELECT DISTINCT measurement, value FROM readings ORDER BY 1")
    assert [tuple(row) for row in stored] == [("activePower", 1000.0), ("consumption", 1000.0), ("voltageL1", 230.5)]
    (finding,) = pipeline.observation(result)["findings"]
    assert finding.data["notice"] == "left out: gridPower, since the device has no value for its part export"
