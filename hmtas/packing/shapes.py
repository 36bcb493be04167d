"""Arrays that are no (rows, width), or the wrong way round: what they look like, and the cure."""

import numpy as np

USUAL_WIDTHS = frozenset({
    128, 256, 384, 400, 512, 640, 768, 1000, 1024, 1152, 1280, 1408, 1536, 2048, 2304, 3072, 4096,
    8576,
})  # fmt: skip
"""Widths of the embeddings of common networks: VGGish 128, I3D 1024, ResNet 2048, C3D 4096 ..."""
_FEWEST_ROWS = 100  # that look like the time of a video, not like a width


def why_no_rows(array: np.ndarray) -> str:
    """What is wrong with an array as rows of floating-point numbers; '' if it is such."""
    if array.ndim == 2 and array.dtype.kind == "f":
        return ""
    rule = f"embeddings must be floating-point (rows, width), got {array.dtype} {array.shape}"
    single = tuple(axis for axis, size in enumerate(array.shape) if size == 1)
    if single and array.ndim - len(single) == 2:
        axes = single[0] if len(single) == 1 else single
        which = f"axis {axes} holds" if len(single) == 1 else f"axes {axes} hold"
        return f"{rule}; {which} nothing: save np.squeeze(array, {axes})"
    if array.dtype.kind in "iu":
        cause = "quantised" if array.itemsize < 4 else "quantised, or token ids"
        return (
            f"{rule}; are they {cause}? Save what they stand for: "
            "(array * scale).astype(np.float32)"
        )
    return rule


def why_transposed(num_rows: int, width: int) -> str:
    """The question to ask of rows whose number is a usual width, and whose width is not; or ''."""
    if num_rows in USUAL_WIDTHS and width not in USUAL_WIDTHS and width >= _FEWEST_ROWS:
        return f"is it transposed, {(num_rows, width)} for {(width, num_rows)}? Save array.T"
    return ""


def why_another_width(num_rows: int, width: int, usual: int) -> str:
    """The question to ask of a file that is not as wide as the others of its stream."""
    others = why_transposed(width, usual) and "are the others transposed? Save array.T of them"
    return why_transposed(num_rows, width) or others or "was it made with another extractor?"
