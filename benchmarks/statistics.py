"""How sure hmtas is of its numbers, shown by simulation (see simulations.py): `--help`.

This file has the name of a module of the standard library, and Python looks beside a script first.
So the folder goes to the end of the path, and whoever imports `statistics` from a script beside
this one gets the standard library's.
"""

import importlib
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent

sys.path.sort(key=lambda entry: Path(entry).resolve() == _FOLDER)
if __name__ == "__main__":
    from simulations import main

    main()
elif __name__ == "statistics":
    del sys.modules["statistics"]
    sys.modules["statistics"] = importlib.import_module("statistics")
