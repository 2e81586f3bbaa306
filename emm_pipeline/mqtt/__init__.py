"""Publish each poll's values to an MQTT broker, with Home Assistant discovery; a process of its own: `emm mqtt`."""
