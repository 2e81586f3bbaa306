"""EMM as services of systemd, for an installation without Docker.

units.py        the units as texts (pure)
installing.py   their folders, the file with the settings, and systemctl
"""
