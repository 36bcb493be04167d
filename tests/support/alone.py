"""A machine inside the machine: its own processes, network and /tmp/ray (Linux namespaces).

`ray stop`, with which launchers begin and end, ends every Ray that it sees; in here it sees those
of the test alone, and ports 22, 6379 and 8265 are free.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ADDRESS = "10.9.9.1"  # of the machine inside
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ENTER = ("unshare", "--pid", "--net", "--fork", "--kill-child", "--mount-proc")
SET_UP = f"""
set -euo pipefail
ip link set lo up
ip link add inside type veth peer name outside
ip addr add {ADDRESS}/24 dev inside
ip link set inside up
ip link set outside up
ip route add default dev inside
mkdir -p /tmp/ray
mount -t tmpfs ray /tmp/ray
"""


def needs(*programs: str) -> None:
    """Skip a test where a program is missing, or this system gives no namespaces."""
    for program in (*programs, "unshare", "ip"):
        if shutil.which(program, path=PATH) is None:
            pytest.skip(f"needs {program}")
    tried = subprocess.run(
        [*ENTER, "bash", "-c", SET_UP],
        env={"PATH": PATH}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.returncode != 0:
        pytest.skip(f"needs namespaces: {tried.stderr.strip()}")


def run_alone(script: str, home: Path, *, timeout: float) -> str:
    """Run a bash script in there; what it printed.

    Args:
        script: Ends at the first command that fails.
        home: Home folder of its user.
        timeout: Seconds, after which all its processes are killed.
    """
    environment = {name: value for name, value in os.environ.items() if "RAY" not in name}
    environment |= {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{PATH}",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
    }
    log = home / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*ENTER, "bash", "-c", SET_UP + script],
            env=environment, stdout=file, stderr=file, start_new_session=True, cwd=home,
        )  # fmt: skip
        try:
            process.wait(timeout)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert process.returncode == 0, log.read_text()
    return log.read_text()
