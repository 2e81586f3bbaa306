"""For an electrician: which units reply behind a gateway, what they are, and whether each register can be read.

identification   which type of the catalogue a unit is, by what its registers hold
scanning         the units behind a gateway, tried one by one
checking         a configured meter: connection, unit, each register, the requests of a poll
locating         where a SunSpec device has its models, and the labels of a unit
searching        where a known value is among registers that are not configured
interpreting     what the words of a reply may mean (pure)
fitting          which of these meanings give a known value (pure)
"""
