"""Reading registers over Modbus: which requests to send, sending them, and what the words of the replies mean.

    planning -> fleet_reading -> gateway -> session -> transport/   from a fleet down to one exchange with one unit
                                    └ meter_poll -> splitting       what was read of a meter, and what is left of it
    decoding                                                        from register blocks to a DataFrame

`planning`, `splitting`, `messages` and `decoding` are pure. Only `transport/` imports pymodbus.
"""
