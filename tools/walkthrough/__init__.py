"""From an empty database to right values: every command of the electrician's hour, run for real and checked.

`make walkthrough` runs the installed `emm` against an embedded PostgreSQL and three units that the virtual Modbus TCP
server serves. docs/walkthrough.md shows what the commands printed; `make walkthrough ARGS=--write` writes it anew.

    units      what stands behind the gateway, and the values that it holds
    steps      the commands, and what each must have done
    document   the blocks of docs/walkthrough.md
"""
