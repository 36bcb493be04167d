"""How each stream sees the game: how clearly, how late, and how blurred."""

from typing import NamedTuple


class StreamProfile(NamedTuple):
    """How a stream sees the game."""

    strength: float  # relative size of its evidence
    delay_s: float  # its evidence comes this long after the moment,
    delay_spread_s: float  # give or take (standard deviation)
    blur_s: float  # standard deviation of a mark in time
    build_up: float = 0.7  # size of the build-up beside the moment
    aftermath: float = 0.7
    hears: bool = False  # notices only loud actions

    def at_pace(self, pace: float) -> "StreamProfile":
        """The same stream where everything takes `pace` times as long as in football."""
        return self._replace(
            delay_s=pace * self.delay_s,
            delay_spread_s=pace * self.delay_spread_s,
            blur_s=pace * self.blur_s,
        )


# Strengths in the order of thesis Table 5.6: VTN best, irCSN last of the visual ones, audio far
# behind. Delay and blur are inventions; those of audio follow the reaction of a crowd.
PROFILES = {
    "tpn": StreamProfile(0.95, 0.0, 0.3, 1.0, build_up=0.9, aftermath=0.6),
    "gta": StreamProfile(1.0, 0.2, 0.3, 1.2),
    "vtn": StreamProfile(1.3, 0.0, 0.2, 1.0),
    "ircsn": StreamProfile(0.8, -0.2, 0.4, 1.1, build_up=1.0, aftermath=0.5),
    "i3d_slow": StreamProfile(0.9, 0.4, 0.4, 1.6, build_up=0.6, aftermath=1.0),
    "vggish": StreamProfile(0.7, 2.0, 0.5, 1.5, build_up=0.1, aftermath=1.0, hears=True),
}
DEFAULT_PROFILE = StreamProfile(0.9, 0.2, 0.3, 1.2)  # a stream of another name

LOUDNESS = {
    "Goal": 1.8,
    "Penalty": 1.6,
    "Red card": 1.3,
    "Yellow->red card": 1.2,
    "Yellow card": 1.0,
    "Shots on target": 1.0,
    "Foul": 0.9,
    "Shots off target": 0.8,
    "Offside": 0.7,
    "Kick-off": 0.6,
}
QUIET = 0.2  # loudness of the other actions
