"""In which format the predictions of a run are written: that of the labels of its store."""

from pathlib import Path

from hmtas.errors import InputError
from hmtas.formats.labels import Recording
from hmtas.formats.predictions import Target
from hmtas.scoring.run import Spotted
from hmtas.store.recorded import open_recorded


def target_of(run: Path, found: Spotted, *, needed: bool) -> Target | None:
    """The format of the store that a run was predicted on.

    Returns:
        None for SoccerNet's, and where the store is gone and the format is not `needed`.

    Raises:
        InputError: If it is needed, and the store is gone or was packed again.
    """
    assert found.provenance is not None
    try:
        store = open_recorded(run, found.provenance.store, found.provenance.store_checksum)
    except InputError:
        if needed:
            raise
        return None
    origin = store.index.origin
    if origin is None:
        return Target("soccernet-v2", {})
    return Target(
        origin.format,
        {one.half: Recording(one.video, one.features, one.fps) for one in origin.videos},
        origin.by_team,
    )
