"""SunSpec devices: find the addresses of their models, and poll registers that belong to a model."""
