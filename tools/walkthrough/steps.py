"""The commands of the walkthrough, and the checks of their results."""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tools.walkthrough.units import METERS, held_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EMM = Path(sys.executable).with_name("emm")
TIMEOUT_S = 120


class WalkthroughError(Exception):
    """A command did not do what is expected."""


def run_emm(arguments: Sequence[str], settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `emm ARGUMENT…` with these variables besides those of this process."""
    return subprocess.run(  # noqa: S603 - our own command
        [EMM, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, **settings},
    )


@dataclass(slots=True)
class Walkthrough:
    """Runs the commands in order with `execute`, and collects in `blocks` what the document shows of them."""

    settings: Mapping[str, str]
    gateway: str
    execute: Callable[[Sequence[str], Mapping[str, str]], subprocess.CompletedProcess[str]] = run_emm
    blocks: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Run all commands, from an empty database to readings, and check them.

        Raises:
            WalkthroughError: A command failed, or did not do what is expected. The message names the command.
        """
        self._show("upgrade", "emm db upgrade")
        printed = self._show("scan", f"emm scan {self.gateway} --units 1-10")
        lines = [line.strip() for line in printed.splitlines() if line.startswith("  emm ")]
        self._expect(len(lines) == 1 + len(METERS), f"emm scan printed {len(lines)} commands to copy")
        self._show("add", f"emm scan {self.gateway} --units 1-10 --add --yes", first=0, last=9)
        self._show("list", "emm meters export")
        self._show("check", "emm meters check", first=9, last=9)
        self._show("poll", "emm poll", first=5, last=3)
        self._compare_readings()
        self._show("read", f"emm read {self.gateway} --unit 2 --address 0 --count 2")
        found = self._show("expect", f"emm read {self.gateway} --unit 2 --address 0 --count 2 --expect 231.4")
        self._expect("LONG (2)    CDAB " in found, "emm read --expect did not find the swapped words")

    def _show(self, name: str, *commands: str, first: int = 1000, last: int = 1000) -> str:
        """Run commands and keep their output as a block, shortened to its `first` and `last` lines."""
        outputs = []
        for command in commands:
            output = self._run(command)
            outputs.append(f"$ {command}\n{_shortened(output, first, last)}")
            print(f"{outputs[-1]}\n", flush=True)
        self.blocks[name] = "\n".join(outputs)
        return output

    def _run(self, command: str) -> str:
        program, *arguments = shlex.split(command)
        self._expect(program == "emm", f"not a command of EMM: {command}")
        done = self.execute(arguments, self.settings)
        self._expect(done.returncode == 0, f"{command} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        return "\n".join(line.rstrip() for line in done.stdout.splitlines())

    def _compare_readings(self) -> None:
        """Check that every register of every unit was polled, with the value that the unit holds."""
        listed = json.loads(self._run("emm meters list --json"))
        behind_gateway = [meter for meter in listed if f"{meter['host']}:{meter['port']}" == self.gateway]
        meters = {meter["id"]: meter["slave_address"] for meter in behind_gateway}
        self._expect(sorted(meters.values()) == sorted(METERS), f"units {sorted(meters.values())} were added")
        readings = json.loads(self._run("emm poll --dry-run --json"))["readings"]
        compared = 0
        for id_, unit_id in meters.items():
            polled = {each["measurement"]: each["value"] for each in readings if each["id"] == id_}
            held = held_values(unit_id)
            different = polled.keys() ^ held.keys()
            self._expect(not different, f"unit {unit_id}: the poll and the unit differ in {sorted(different)}")
            for name, value in held.items():
                same = math.isclose(polled[name], value, rel_tol=1e-9)
                self._expect(same, f"unit {unit_id}: {name} is {polled[name]}, the unit holds {value}")
                compared += 1
        print(f"{compared} values compared with those of the units: all equal\n", flush=True)

    def _expect(self, condition: bool, otherwise: str) -> None:
        if not condition:
            raise WalkthroughError(otherwise)


def _shortened(output: str, first: int, last: int) -> str:
    lines = output.splitlines()
    if len(lines) > first + last:
        lines = [*lines[:first], "…", *lines[-last:]]
    return "\n".join(lines)
