"""The walkthrough: runs every command of docs/walkthrough.md, from an empty database to readings, and checks it.

`make walkthrough` runs the installed `emm` against an embedded PostgreSQL and three units that the virtual Modbus TCP
server simulates. docs/walkthrough.md shows what the commands print; `make walkthrough ARGS=--write` updates the page.

    units      the simulated units and the values of their registers
    steps      the commands, and checks of their results
    document   the blocks of docs/walkthrough.md
"""
