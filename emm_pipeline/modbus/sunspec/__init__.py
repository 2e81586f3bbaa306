"""SunSpec devices: where they keep their models, and polling registers that belong to one."""
