"""The electrician's hour: which units answer behind a gateway, what they are, and whether each register reads.

identification   which type of the catalogue a unit is, by what its registers hold
scanning         the units behind a gateway, asked one by one
checking         a configured meter: connection, unit, each register, the requests of a poll
"""
