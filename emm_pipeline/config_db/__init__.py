"""The configuration database: its tables and migrations, the fleet that it describes, and the state of each device.

    upgrade: migrations, schema -> tables            the database is created, upgraded and compared
    loader -> validation, values -> fleet.Fleet      its rows are read and checked
    editing                                          people and the catalogue add, change and remove rows
    device_state                                     the pipeline keeps the state of each device between polls
    gateway_locks                                    prevents two runs from using one gateway at once
    used_ids                                         ids that no new meter gets

`validation`, `values`, `csv_tables` and the modules marked "(pure)" do no I/O; all others use an engine from
`engine.create_config_engine`.
"""
