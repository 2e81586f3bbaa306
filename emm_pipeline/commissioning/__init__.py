"""Tools for an electrician: find and identify the units behind a gateway, and test whether registers can be read.

identification   identify a unit's type in the catalogue by the content of its registers
scanning         find the units behind a gateway, one by one
checking         test a configured meter: connection, unit, each register, the requests of a poll
locating         find the models of a SunSpec device, and read the labels of a unit
searching        find a known value among registers that are not configured
interpreting     interpret the registers of a reply in every type and order (pure)
fitting          find the interpretations that give a known value (pure)
composed         find a known value that is a part of a register, or needs several (pure)
texts            find a known text, such as a serial number (pure)
rows             the row of the table registers for what was found (pure)
"""
