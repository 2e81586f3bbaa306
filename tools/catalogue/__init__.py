"""Compares the catalogue with the facts of its sources: `python -m tools.catalogue check [TYPE…]`.

The folder `facts` has one file per project with the registers that this project gives for a device: facts only, without
its text or code. `sources.csv` names the projects and the commits that were read, `devices.csv` says which device of
which project describes a type of the catalogue, and `templates.csv` the types for the meter templates of evcc.
"""
