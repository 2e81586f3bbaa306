"""Modbus TCP: which requests to send, sending them, and what the words of the replies mean.

`planning` and `decoding` are pure. `connection` is the only module that imports pymodbus; `reading` runs the
connections of a whole fleet side by side.
"""
