"""How fast hundreds of models are selected from (see greedy_speed.py): `--help`.

This file has the name of a package of ours, and Python looks beside a script first. So the folder
of the packages goes before this one, and whoever imports `ensemble` from a script beside this one
gets the package.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == "__main__":
    from greedy_speed import main

    main()
elif __name__ == "ensemble":
    del sys.modules["ensemble"]
    sys.modules["ensemble"] = importlib.import_module("ensemble")
