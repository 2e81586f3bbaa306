"""Read registers over Modbus: plan the requests, send them, and decode the replies.

    planning -> fleet_reading -> gateway -> session -> transport/   from a fleet down to one exchange with one unit
                                    └ meter_poll -> splitting       progress of reading one meter
    decoding                                                        from register blocks to a DataFrame

`planning`, `splitting`, `messages` and `decoding` are pure. Only `transport/` imports pymodbus.
"""
