"""Virtual Modbus TCP servers, which offer the data of other devices as Modbus TCP registers.

Nothing here imports the rest of the repository, so that the folder can be copied (see README.md).
"""
