"""The configuration database: its tables and migrations, the fleet that it describes, and each meter's status.

    upgrade: migrations, constraints -> tables       the database is made, and brought up to date
    loader -> values, validation -> fleet.Fleet      its rows are read and checked
    meter_status, failing_meters, refusals           what the pipeline remembers between runs and samples
    gateway_locks                                    which gateways a run talks to

`values` and `validation` are pure; all others work on an engine of `engine.create_config_engine`.
"""
