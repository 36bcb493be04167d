"""`ray up` on machines of one's own: an sshd, this checkout synced, a job, `ray down`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hmtas.cluster.session import OBJECT_STORE_BYTES
from hmtas.runs.record import predictions_path
from tests.support.alone import ADDRESS, needs, run_alone
from tests.support.paths import ROOT
from tests.support.small import make_store
from tests.support.tracked import copy_database
from tune.study.record import read_study

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CLOUD = ("docker", "available_node_types", "head_node_type", "initialization_commands")


def configuration(home: Path) -> dict[str, object]:
    """cluster.yaml, changed as docs/cluster.md says for machines of one's own."""
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    for key in CLOUD:
        del config[key]
    config["max_workers"] = 0
    config["provider"] = {"type": "local", "head_ip": ADDRESS, "worker_ips": []}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(home / "key")}
    config["file_mounts"] = {str(home / "hmtas"): str(ROOT)}  # the token is in its home already
    # The packages are there already; from now on each shell finds them, and the synced checkout.
    paths = f"PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={home / 'hmtas'}"
    config["setup_commands"] = [
        *(command for command in config["setup_commands"] if "pip install" not in command),
        f"echo 'export {paths}' >> ~/.bashrc",
    ]
    stop, start, _ = config["head_start_ray_commands"]  # the last starts MLflow's server
    start = start.rstrip() + f" --num-cpus=1 --object-store-memory={OBJECT_STORE_BYTES}"
    config["head_start_ray_commands"] = [stop, start]
    return config


SSHD = """
Port 22
ListenAddress {address}
HostKey {home}/host_key
AuthorizedKeysFile {home}/key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
SetEnv HOME={home} MLFLOW_TRACKING_URI={mlflow}
"""

SCRIPT = """
mkdir -p /run/sshd
$(command -v sshd) -f sshd_config -E sshd.log
ray get-auth-token --generate > token.txt
ray up --yes --no-config-cache cluster.yaml
ray exec cluster.yaml 'hmtas --help'
ray job submit --address http://127.0.0.1:8265 -- \\
  hmtas tune model {store} --name s --out {out} --address auto --trials 2 --concurrent 1 \\
  --preset smoke --max-epochs 2 --top 0 --pruner none --set width=8 --set num_heads=2
ray down --yes cluster.yaml
ray status --address {address}:6379 2> /dev/null && exit 1
echo all is down
"""


def test_a_sweep_on_a_machine_of_ones_own(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    needs("sshd", "rsync")
    home = tmp_path / "home"
    home.mkdir()
    for key in ("key", "host_key"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / key)]
        subprocess.run(command, check=True)
    store = make_store(tmp_path / "season")
    mlflow = copy_database(tmp_path_factory, tmp_path / "mlflow")
    (home / "cluster.yaml").write_text(yaml.safe_dump(configuration(home)))
    (home / "sshd_config").write_text(SSHD.format(address=ADDRESS, home=home, mlflow=mlflow))

    words = {"store": store.path, "out": tmp_path, "address": ADDRESS}
    printed = run_alone(SCRIPT.format(**words), home, timeout=300)

    assert "all is down" in printed
    assert "1 at a time with 1 CPU each" in printed
    study = read_study(tmp_path / "s")
    assert [row.status for row in study.trials] == ["done", "done"]
    assert all(predictions_path(tmp_path / "s" / row.run, "valid").is_file()
               for row in study.trials)  # fmt: skip
    synced = home / "hmtas"
    assert (synced / "hmtas/cli.py").is_file()
    assert not (synced / ".venv").exists(), "what .gitignore names stays here"
    assert not (synced / ".git").exists()
    shutil.rmtree(synced)
