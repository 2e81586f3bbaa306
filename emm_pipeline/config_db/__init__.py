"""The configuration database: its tables and migrations, the fleet that it describes, and each meter's status.

    tables -> upgrade (migrations, constraints)      the database is made, and brought up to date
    loader -> validation -> fleet.Fleet              its rows are read and checked
    meter_status                                     what the pipeline remembers between runs

The only package that knows SQLAlchemy's side of the configuration; `validation` is pure.
"""
