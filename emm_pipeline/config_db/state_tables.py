"""The tables that only the pipeline writes: the state of devices, alerts and types between runs."""

from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Identity, Integer, MetaData, Table, Text, text

metadata = MetaData()
"""All tables of the configuration database."""

meter_status = Table(
    "meter_status",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("configuration", Text),
    Column("last_read_at", DateTime(timezone=True)),
    Column("failing_since", DateTime(timezone=True)),
    Column("failures_in_a_row", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("recorded_at", DateTime(timezone=True)),
    Column("failed_samples", Integer, nullable=False, server_default=text("0")),
    Column("failed_samples_since", DateTime(timezone=True)),
    Column("failed_sample_reason", Text),
    Column("was_silent", Boolean, nullable=False, server_default=text("false")),
    Column("first_seen_at", DateTime(timezone=True), server_default=text("now()")),
    Column("polled_at", DateTime(timezone=True)),
    Column("silent", Boolean, nullable=False, server_default=text("false")),
    Column("asleep", Boolean, nullable=False, server_default=text("false")),
    Column("observed_at", DateTime(timezone=True)),
    Column("observed_reason", Text),
    Column("counters", Text),
)
"""The status of each meter between runs; people may read it, only the pipeline writes it. `counters` are the highest
values of its energy counters, as JSON (`polling/counters.py`)."""

refused_registers = Table(
    "refused_registers",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("function_code", Integer, primary_key=True, autoincrement=False),
    Column("register_address", Integer, primary_key=True, autoincrement=False),
    Column("count", Integer, primary_key=True, autoincrement=False),
    Column("exception_code", Integer, nullable=False),
    Column("refused_at", DateTime(timezone=True), nullable=False),
    Column("configuration", Text, nullable=False),
    Column("times_refused", Integer, nullable=False, server_default=text("1")),
    Column("temporary", Boolean, nullable=False, server_default=text("false")),
)
"""Registers that a meter answered with an exception, or not at all (`exception_code` 0). Polls leave them out for a
day, or until its `configuration` (the fingerprint of the meter and of its type's registers) changes. Polls request
registers that it sent before, and values without a reply (`temporary`), again sooner, depending on how often they were
refused in a row (`times_refused`). The rows are by meter, because others of its type may be newer and have more
registers. Rows may be deleted: the registers are then requested again.
"""

given_registers = Table(
    "given_registers",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("ranges", Text, nullable=False),
    Column("configuration", Text, nullable=False),
)
"""Registers that a meter has ever sent, as JSON: lists of function code, first address, address after the last. If the
meter refuses one of these, EMM takes that as temporary."""

register_issues = Table(
    "register_issues",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("measurement_name", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
)
"""Configured registers that did not deliver a valid value when their meter was last read. `kind` is one of
`status.RegisterIssueKind`. Rows may be deleted: the next poll writes them again."""

accepted_absences = Table(
    "accepted_absences",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("measurement_name", Text, primary_key=True),
    Column("accepted_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
"""Registers whose absence a person has accepted with `emm registers accept-absent`."""

model_addresses = Table(
    "model_addresses",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("addresses", Text, nullable=False),
    Column("configuration", Text, nullable=False),
    Column("found_at", DateTime(timezone=True), nullable=False),
)
"""The addresses of a meter's SunSpec models, as JSON (model id to address), so that they are not searched for at each
poll. Rows may be deleted: the models are then searched for again."""

meter_labels = Table(
    "meter_labels",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("labels", Text, nullable=False),
    Column("configuration", Text, nullable=False),
    Column("read_at", DateTime(timezone=True), nullable=False),
)
"""The last content of a meter's registers of data type STRING, as JSON (name to text). They are read
once a day. Rows may be deleted: the registers are then read again."""

used_meter_ids = Table(
    "used_meter_ids",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
)
"""Every id that any meter has or had. A removed meter's readings stay under its id, so no other meter gets it."""

alerts = Table(
    "alerts",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
)
"""Alerts that were reported and are not resolved yet; an example of `subject` is "meter 5"."""

alert_lines = Table(
    "alert_lines",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    Column("raised", Boolean, nullable=False),
    Column("line", Text, nullable=False),
    Column("channel", Text, nullable=False, server_default=text("'mail'")),
)
"""Lines of alerts that wait to be sent, oldest first; one for each channel (`alerts/channels.py`)."""

energy_begin = Table(
    "energy_begin",
    metadata,
    Column("day", Date, primary_key=True),
)
"""The first day of the month of the first reading: energies are computed from there on. One row."""

energy_recomputations = Table(
    "energy_recomputations",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("from_time", DateTime(timezone=True), nullable=False),
    Column("to_time", DateTime(timezone=True), nullable=False),
    Column("reason", Text, nullable=False),
    Column("noted_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)
"""Times whose energies have to be computed again, because readings came late. A sensor removes them."""

energy_open = Table(
    "energy_open",
    metadata,
    Column("meter_id", Integer, primary_key=True, autoincrement=False),
    Column("measurement_name", Text, primary_key=True),
    Column("since", DateTime(timezone=True), nullable=False),
)
"""Counters whose energy is not complete since a time, because no reading has come after it. The next one completes
it."""
