"""Modbus TCP: which requests to send, sending them, and what the words of the replies mean.

    planning -> reading -> gateway -> connection          a fleet, the units behind one address, one exchange
                              └ meter_poll -> splitting   what has come of a meter, and what to ask of it next
    decoding                                              from words to a DataFrame

`planning`, `splitting`, `findings` and `decoding` are pure. `connection` is the only module that imports pymodbus.
"""
