"""Transports: send requests to a gateway and receive replies.

    choosing   select a gateway's transport; the only module that imports all transports
    base       the interfaces of transports and framings, and their errors
    stream     one exchange at a time over a stream of bytes
    tcp        a stream over TCP
    mbap       Modbus TCP's framing: build requests, and check replies against their requests

A transport combines a link (TCP) with a framing (MBAP). Each link and each framing has its own module.
"""
