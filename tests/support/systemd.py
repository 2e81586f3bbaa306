"""A systemd that runs as the init of a few namespaces of its own, for services of the system. Only root may start it.

It has its own processes, mounts, network (the loopback device only) and control groups, and /etc/systemd/system,
/etc/emm and /var/lib/emm of its own. Of the machine's units it has those of the journal alone. Its end kills all its
processes.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SYSTEMD, UNITS = Path("/usr/lib/systemd/systemd"), Path("/usr/lib/systemd/system")
OF_THE_JOURNAL = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")
TARGETS = ("basic", "default", "multi-user", "shutdown", "sysinit", "sockets")
GROUPS = (Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
START_TIMEOUT_S = 60

BOOT = """
mount --make-rprivate /
umount -R /sys/fs/cgroup
{mount_groups}
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /etc/systemd/system /etc/emm /var/lib/emm
mount --bind {folder}/system /etc/systemd/system
mount --bind {folder}/etc /etc/emm
mount --bind {folder}/state /var/lib/emm
ip link set lo up
SYSTEMD_UNIT_PATH=/etc/systemd/system:{folder}/units exec {systemd} --system --show-status=no
"""
VERSION_1 = """
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
"""
VERSION_2 = "mount -t cgroup2 cgroup2 /sys/fs/cgroup"


class RunningSystemd:
    """A running systemd. `settings` is the file that is /etc/emm/emm.env in its namespaces."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder = folder
        self.settings = folder / "etc" / "emm.env"
        self._pid = pid

    def command(self, *arguments: object) -> list[str]:
        """Return the command line that runs a command in the namespaces."""
        return ["nsenter", "--target", str(self._pid), "--all", *map(str, arguments)]

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespaces."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POSTGRES")}
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False, timeout=300, env=environment
        )

    def is_active(self, unit: str) -> bool:
        """Whether a unit runs."""
        return self.run("systemctl", "is-active", unit).stdout.strip() == "active"

    def main_pid(self, unit: str) -> int:
        """Return the id of a service's main process in the namespace; 0 if it does not run."""
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", unit).stdout)


def why_not() -> str | None:
    """Return why systemd cannot be started here; None if it can."""
    if os.geteuid() != 0:
        return "only root may start a systemd"
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing or not SYSTEMD.exists():
        return f"not installed: {', '.join(missing or ['systemd'])}"
    return None


@contextmanager
def running_systemd(folder: Path) -> Iterator[RunningSystemd]:
    """Start a systemd with its files in `folder`, which must not be in /tmp: services have a /tmp of their own."""
    for name in ("units", "system", "etc", "state"):
        (folder / name).mkdir()
    for name in TARGETS:
        needs = f"Wants={' '.join(OF_THE_JOURNAL)}\nAfter={OF_THE_JOURNAL[0]}\n" if name == "default" else ""
        (folder / "units" / f"{name}.target").write_text(f"[Unit]\nDescription={name}\n{needs}")
    for name in OF_THE_JOURNAL:
        shutil.copy(UNITS / name, folder / "units" / name)
    is_version_1 = GROUPS[0].is_dir()
    groups = [each / f"emm-test-{os.getpid()}" for each in (GROUPS[:2] if is_version_1 else GROUPS[2:])]
    mounts = VERSION_1 if is_version_1 else VERSION_2
    boot = BOOT.format(folder=folder, systemd=SYSTEMD, mount_groups=mounts)
    enter = "".join(f"echo $$ > {group}/cgroup.procs\n" for group in groups)
    namespaces = "--mount --pid --fork --uts --ipc --net --cgroup --mount-proc --kill-child"
    for group in groups:
        group.mkdir()
    log = (folder / "systemd.log").open("wb")
    started = subprocess.Popen(
        ["sh", "-c", f'{enter}exec unshare {namespaces} sh -e -c "$0"', boot],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "HOME": "/root", "container": "emm"},
        start_new_session=True,
    )
    try:
        yield _once_booted(folder, started)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # unshare then kills the systemd, and the kernel all its processes
        started.wait()
        log.close()
        _remove(groups)


def _once_booted(folder: Path, started: subprocess.Popen[bytes]) -> RunningSystemd:
    deadline = time.monotonic() + START_TIMEOUT_S
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    while started.poll() is None and time.monotonic() < deadline:
        pids = children.read_text().split()
        if pids and Path(f"/proc/{pids[0]}/comm").read_text().strip() == "systemd":
            systemd = RunningSystemd(folder, int(pids[0]))
            if systemd.is_active("default.target"):
                return systemd
        time.sleep(0.1)
    raise AssertionError(f"systemd did not start: {(folder / 'systemd.log').read_text()}")


def _remove(groups: list[Path]) -> None:
    for group in groups:
        for _ in range(100):
            with suppress(OSError):
                for path in sorted(group.rglob("*"), reverse=True):
                    if path.is_dir():
                        path.rmdir()
                group.rmdir()
                break
            time.sleep(0.1)  # until the kernel has ended the processes
