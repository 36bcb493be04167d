"""The embeddings of SoccerNet's videos: their streams and the file that holds five of them."""

BAIDU = "baidu_soccer_embeddings"
BAIDU_BLOCKS = {"tpn": 2048, "gta": 2048, "vtn": 384, "ircsn": 2048, "i3d_slow": 2048}
"""The streams side by side in `{1,2}_baidu_soccer_embeddings.npy`, in their order."""
THESIS_STREAMS = {**BAIDU_BLOCKS, "vggish": 128}
"""Thesis Table 4.1; audio as in its code."""
SOCCERNET_HZ = {
    **dict.fromkeys(("ResNET_TF2", "ResNET_TF2_PCA512", "ResNET", "ResNET_PCA512"), 2.0),
    **dict.fromkeys(("C3D", "C3D_PCA512", "I3D", "I3D_PCA512"), 2.0),
    **dict.fromkeys(("ResNET_5fps_TF2", "ResNET_5fps_TF2_PCA512"), 5.0),
    "ResNET_25fps_TF2": 25.0,
}
"""Rows per second of the streams that SoccerNet publishes, by the list of files in the README of
its Python package."""
