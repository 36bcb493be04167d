"""What MLflow runs to serve a promoted ensemble: a "model from code", so no pickle is read.

MLflow copies this file into the model and executes it when the model is loaded; everything else
comes from the package `hmtas`, which must be installed there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from ensemble.registry.loaded import Packaged


class ServedEnsemble(PythonModel):
    """Streams of one half in, spots out."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the package, checksums verified."""
        self.packaged = Packaged.load(Path(context.artifacts["package"]))

    # Declared as an array, though it is a dictionary of arrays: MLflow warns of a declaration that
    # it does not know, and of none, whenever the model is loaded.
    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: Any = None
    ) -> pd.DataFrame:
        """Spot one half.

        Args:
            context: The context that MLflow gives.
            model_input: Each stream of the model's metadata, float32 (T, F); (0, F) where it is
                missing.
            params: None are known.

        Returns:
            A table of `time_s`, `action`, `confidence`, in order of time.
        """
        spots = self.packaged.spots(model_input)
        order = np.lexsort((spots.action, spots.time_s))
        names = np.array(self.packaged.actions, dtype=object)
        return pd.DataFrame(
            {
                "time_s": spots.time_s[order],
                "action": names[spots.action[order]],
                "confidence": spots.confidence[order],
            }
        )


set_model(ServedEnsemble())
