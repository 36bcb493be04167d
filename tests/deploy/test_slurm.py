"""cluster.sbatch: its commands run, on one machine, with stand-ins for Slurm's own programs."""

import re
import subprocess
from pathlib import Path

import pytest

from hmtas.runs.record import predictions_path
from tests.support.alone import needs, run_alone
from tests.support.paths import ROOT
from tests.support.small import make_store
from tests.support.tracked import copy_database
from tune.study.record import read_study

SBATCH = ROOT / "cluster.sbatch"
# One node: `srun` runs its command once, and the list of nodes has one name.
STAND_INS = {"srun": 'exec "$@"', "scontrol": 'echo "$3"'}


def test_it_is_a_batch_script_of_one_ray_a_node() -> None:
    text = SBATCH.read_text()
    assert text.startswith("#!/bin/bash\n"), "sbatch refuses a script without"
    options = re.findall(r"^#SBATCH (--[a-z-]+)", text, re.MULTILINE)
    assert {"--nodes", "--ntasks-per-node", "--exclusive"} <= set(options)
    first_command = text.index("set -euo pipefail")
    assert text.rindex("#SBATCH") < first_command, "sbatch reads none after it"
    subprocess.run(["bash", "-n", str(SBATCH)], check=True)


@pytest.mark.ray
@pytest.mark.slow
def test_its_commands_run_a_sweep(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    needs()
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    for name, body in STAND_INS.items():
        (home / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (home / "bin" / name).chmod(0o755)
    store = make_store(tmp_path / "season")
    mlflow = copy_database(tmp_path_factory, tmp_path / "mlflow")
    script = f"""
    export PATH={home}/bin:$PATH PYTHONPATH={ROOT} MLFLOW_TRACKING_URI={mlflow}
    export SLURM_JOB_NODELIST=localhost SLURM_JOB_NUM_NODES=1
    bash {SBATCH} tune model {store.path} --name s --out {tmp_path} --trials 2 --concurrent 1 \\
      --preset smoke --max-epochs 2 --top 0 --pruner none --set width=8 --set num_heads=2
    """
    printed = run_alone(script, home, timeout=200)
    assert "2 trials, 1 at a time with 1 CPU each" in printed
    study = read_study(tmp_path / "s")
    assert study.status == "done"
    assert all(predictions_path(tmp_path / "s" / row.run, "valid").is_file()
               for row in study.trials)  # fmt: skip
