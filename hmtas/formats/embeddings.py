"""The embeddings of SoccerNet's videos: their streams and the file that holds five of them."""

BAIDU = "baidu_soccer_embeddings"
BAIDU_BLOCKS = {"tpn": 2048, "gta": 2048, "vtn": 384, "ircsn": 2048, "i3d_slow": 2048}
"""The streams side by side in `{1,2}_baidu_soccer_embeddings.npy`, in their order."""
THESIS_STREAMS = {**BAIDU_BLOCKS, "vggish": 128}
"""Thesis Table 4.1; audio as in its code."""
