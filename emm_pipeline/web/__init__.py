"""The web page for people, and the API and metrics for programs (`emm web`).

`serving` starts the server, `app` lists the routes, `site` holds what the handlers share. `security/` decides who may
do what, `live/` keeps status and latest values in memory, `pages/` builds HTML, and `api/` JSON and metrics. Changes
are made by the functions that the command line uses. No module here imports Dagster: its webserver is asked over HTTP
(`dagster`).
"""
