"""Grafana's dashboards and alert rules as code: `make dashboards` writes them into config/grafana/.

    influxql.py                    an InfluxQL query, for which the SDK has no builder
    panels.py                      panels with the settings that all dashboards share
    home.py meter.py energy.py fleet.py   one dashboard each
    alerts.py                      the alert rules
    build.py                       writes the files

All queries are InfluxQL that InfluxDB 1.8, 2.x and 3 support: they use neither SHOW SERIES nor INTO.
"""
