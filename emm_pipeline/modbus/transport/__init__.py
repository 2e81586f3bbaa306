"""Transports: how requests reach a gateway and replies come back.

    choosing   which transport a gateway is reached by: the only module that knows them all
    base       what a session asks of a transport, and how it fails
    stream     one exchange at a time over a stream of bytes, whatever carries it
    tcp        such a stream over TCP
    mbap       Modbus TCP's framing: a request as bytes, and a reply checked against its request

A transport joins a link (TCP) with a framing (MBAP). Another link or another framing is a module of its own.
"""
