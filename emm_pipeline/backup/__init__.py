"""Backup and restore of a whole installation in one file.

archive.py      the file: a zip with a manifest; each part is written as a stream, and checked before a restore
databases.py    a PostgreSQL database: rows by COPY, from one snapshot
definitions.py  the tables and columns that migrations do not create, such as a person's own
folders.py      a folder with all bytes, owners and modes: Grafana's volume, the outbox, the proxy's certificates
installation.py which parts an installation has, and the order in which they are saved and restored
schedule.py     the daily backup, and which files it keeps
"""
