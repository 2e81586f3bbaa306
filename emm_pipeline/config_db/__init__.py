"""The configuration database: its tables and migrations, the fleet that it describes, and the state of each device.

    upgrade: migrations, schema -> tables            the database is created, upgraded and compared
    loader -> validation, values -> fleet.Fleet      its rows are read and checked
    editing                                          rows as people and the catalogue change them
    device_state                                     what is known of each device between polls
    gateway_locks                                    which gateways a run talks to
    used_ids                                         ids that no new meter gets

`validation`, `values`, `csv_tables` and the modules that say so are pure; all others work on an engine of
`engine.create_config_engine`.
"""
