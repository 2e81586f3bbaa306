"""Transports: send requests to a gateway and receive replies.

    choosing   chooses the transport of a gateway: the only module that knows them all
    base       the interface of a transport, and its errors
    stream     one exchange at a time over any link that carries bytes
    receiving  its part that sends a frame and finds the reply among the received bytes
    verifying  attributes replies without an id to their requests
    tcp        such a link over TCP
    udp        such a link by datagrams
    serial     such a link over a serial line of this machine
    mbap       Modbus TCP's framing: a request as bytes, and a reply checked against its request
    rtu        the framing of serial lines, which converters also carry over TCP
    history    the gateway's earlier replies on a connection, to recognize copies and late replies
    memory     what this process knows of a gateway from earlier connections

A transport joins a link (TCP, UDP, serial) with a framing (MBAP, RTU). A new one is a separate module.
"""
