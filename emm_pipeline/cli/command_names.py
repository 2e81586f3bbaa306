"""The commands of `emm`: where each one is defined."""

COMMANDS = {
    "code-server": "commands.code_server:code_server",
    "combined": "commands.combined:combined",
    "daemon": "commands.daemon:daemon",
    "db": "commands.database:database",
    "demo": "demo.command:demo",
    "influxdb": "commands.influxdb:influxdb",
    "meters": "commands.meters:meters",
    "mqtt": "commands.mqtt:mqtt",
    "outbox": "commands.outbox:outbox",
    "poll": "commands.poll:poll",
    "read": "commands.read:read",
    "registers": "commands.registers:registers",
    "scan": "commands.scan:scan_command",
    "secrets": "commands.secrets:secrets",
    "settings": "commands.settings:settings",
    "status": "commands.status:status",
    "types": "commands.types:types",
    "virtual": "commands.virtual:virtual",
    "watch": "commands.watch:watch",
    "watchdog": "commands.watchdog:watchdog",
    "webserver": "commands.webserver:webserver",
}
"""Maps each command's name to its module and function."""
