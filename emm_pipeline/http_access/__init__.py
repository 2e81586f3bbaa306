"""The check of who sends a request to a web server of EMM: host names, origins, failed logins, clients behind a proxy.

The guard of Dagster's webserver (`dagster_ext/guard.py`) and the web page (`web/`) use these parts. They need no web
framework: requests and replies are ASGI messages. `serving` is what runs both servers.
"""
