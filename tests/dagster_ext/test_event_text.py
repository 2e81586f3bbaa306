"""The serialized form of a meter's events is what Dagster itself writes, in a tenth of the time."""

import json

import pytest
from dagster import (
    AssetKey,
    AssetMaterialization,
    AssetObservation,
    DagsterEvent,
    DagsterEventType,
    EventLogEntry,
    MetadataValue,
    TableRecord,
)
from hypothesis import given
from hypothesis import strategies as st

from emm_pipeline.dagster_ext.event_text import EventTexts
from emm_pipeline.dagster_ext.internals import (
    AssetObservationData,
    StepMaterializationData,
    deserialize_value,
    serialize_value,
)

KEY = AssetKey("meter_readings")


def entry_of(event, message):
    is_observation = isinstance(event, AssetObservation)
    kind = DagsterEventType.ASSET_OBSERVATION if is_observation else DagsterEventType.ASSET_MATERIALIZATION
    return EventLogEntry(
        error_info=None,
        level="info",
        user_message=message,
        run_id="3b8a",
        timestamp=1772366400.25,
        step_key="meter_readings.report_results",
        job_name="poll",
        dagster_event=DagsterEvent(
            event_type_value=kind.value,
            job_name="poll",
            event_specific_data=AssetObservationData(event) if is_observation else StepMaterializationData(event),
            message=message,
        ),
    )


def texts(kind):
    return EventTexts(entry_of, kind, KEY)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["\0value", "\0label", '"\0partition"', '\\u0000message"', "\0metadata", "Zähler ° '\"\\", "\ud800"]
)
VALUES = (
    TEXTS.map(MetadataValue.text)
    | TEXTS.map(MetadataValue.url)
    | st.integers(-(2**70), 2**70).map(MetadataValue.int)
    | st.floats(allow_nan=False).map(MetadataValue.float)
    | st.floats(0, 4e9).map(MetadataValue.timestamp)
    | st.just(MetadataValue.table([TableRecord({"id": 1})]))
    | st.just(MetadataValue.bool(value=True))
)
KINDS = st.sampled_from([AssetMaterialization, AssetObservation])
METADATA = st.dictionaries(TEXTS, VALUES, max_size=5)


@given(KINDS, TEXTS.filter(bool), TEXTS, METADATA, st.none() | TEXTS)
def test_an_event_is_serialized_as_by_dagster(kind, partition, message, metadata, description):
    event = kind(KEY, partition=partition, metadata=metadata, description=description)
    text = texts(kind).of(event, message)
    assert json.loads(text) == json.loads(serialize_value(entry_of(event, message)))


def test_dagster_reads_the_event_back():
    metadata = {"status": MetadataValue.text("ok"), "latency (ms)": MetadataValue.float(1.5)}
    event = AssetMaterialization(KEY, partition="17", metadata=metadata)
    text = texts(AssetMaterialization).of(event, "Read meter 17.")
    assert deserialize_value(text, EventLogEntry) == entry_of(event, "Read meter 17.")


def test_an_event_with_tags_is_refused_because_they_need_rows_of_their_own():
    event = AssetMaterialization(KEY, partition="17", tags={"a": "b"})
    with pytest.raises(ValueError, match="partition 17 has tags"):
        texts(AssetMaterialization).of(event, "")
