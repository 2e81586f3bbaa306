"""Virtual Modbus TCP servers: devices that do not speak Modbus TCP, made to.

Nothing here imports the rest of the repository: the folder is made to be copied (README.md).
"""
