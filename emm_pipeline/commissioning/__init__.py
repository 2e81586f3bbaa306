"""Tools for an electrician: find and identify the units behind a gateway, and test whether registers can be read.

scanning         find the units behind a gateway, one by one
scan_state       the parameters of a scan, and its result so far
identification   read the registers by which types can be told apart
twins            recognize a device that answers to several unit ids
ranking          rank the types of the catalogue, in all orders, by a unit's registers (pure)
candidates       the types that a unit may be, and how sure that is (pure)
judging          the evidence of all registers for or against a type (pure)
usual_values     the usual values of each quantity (pure)
misalignment     floats that are read one register off (pure)
relations        whether values go together: voltages, currents, powers, sums (pure)
checking         test a configured meter: connection, unit, each register, the requests of a poll
locating         find the models of a SunSpec device, and read the labels of a unit
searching        find a known value among registers that are not configured
interpreting     interpret the registers of a reply in every type and order (pure)
fitting          find the interpretations that give a known value (pure)
composed         find a known value that is a part of a register, or needs several (pure)
texts            find a known text, such as a serial number (pure)
rows             the row of the table registers for what was found (pure)
"""
