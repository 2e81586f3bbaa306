"""Grafana's dashboards and alert rules as code: `make dashboards` writes them into config/grafana/.

    influxql.py                    a query, the one thing that the SDK lacks for InfluxDB
    panels.py                      panels in the style of the house
    home.py meter.py fleet.py      a dashboard each
    alerts.py                      alert rules
    build.py                       writes the files

All queries are InfluxQL that InfluxDB 1.8, 2.x and 3 answer: no SHOW SERIES, no INTO.
"""
