#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""A hook of `pagemove migrate` and `pagemove receive` that stops a guest of QEMU's and lets it go on.

    qemu-system-x86_64 … -qmp unix:/run/vm1.qmp,server=on,wait=off
    pagemove migrate … --hook '/usr/local/libexec/hook-qmp.py /run/vm1.qmp'

It is told what happens by PAGEMOVE_EVENT (Documentation/migration.md, "Hooks"), and ends with 0 only if QEMU says
that the guest is as it has to be. An event may come again: what is done already is fine."""

import json
import os
import socket
import sys

# How long QEMU may take for an answer: to stop a guest it waits for what its disks have begun.
PATIENCE = 60


def fail(text):
    sys.exit(f"hook-qmp: {text}")


class Monitor:
    """QEMU's monitor: a line of JSON for each command, answer and event."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        if "QMP" not in self.line():
            fail(f"what listens at {path} is no monitor of QEMU's")
        self.execute("qmp_capabilities")

    def line(self):
        text = self.lines.readline()
        if not text:
            fail("QEMU has closed its monitor")
        return json.loads(text)

    def execute(self, command):
        self.socket.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while True:
            answer = self.line()
            if "error" in answer:
                fail(f"QEMU refuses {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            # Anything else is an event.


def stop(monitor):
    monitor.execute("stop")
    state = monitor.execute("query-status")
    # It may be stopped for another reason as well, as a guest that has shut down.
    if state["running"]:
        fail(f"the guest does not stop: it is {state['status']}")


def go_on(monitor):
    monitor.execute("cont")
    state = monitor.execute("query-status")
    if not state["running"]:
        fail(f"the guest does not go on: it is {state['status']}")


def main():
    if len(sys.argv) != 2:
        fail("usage: hook-qmp.py SOCKET, with PAGEMOVE_EVENT set by pagemove")
    path = sys.argv[1]
    event = os.environ.get("PAGEMOVE_EVENT")
    actions = {"leave": stop, "enter": go_on, "return": go_on, "complete": None}
    if event not in actions:
        fail(f"PAGEMOVE_EVENT is {event!r}, which is none of {', '.join(actions)}")
    if actions[event] is None:
        return
    try:
        actions[event](Monitor(path))
    except TimeoutError:
        fail(f"{path}: no answer for {PATIENCE} s; has another program its monitor open?")
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")


main()
