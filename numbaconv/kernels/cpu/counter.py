"""Random bits as a function of a key and a position: the same in every layout, on every backend and thread."""

from .compiler import inline


@inline
def mix(x):
    """Final mixing of splitmix64 (Steele et al., OOPSLA 2014) on an int64."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


@inline
def stream_of(seed, step, salt):
    """The stream of one random node in one step."""
    return mix(mix(seed + 0x632BE59BD9B4E019) + step * 0x1E3779B97F4A7C15 + salt)


#: What a state grows by from a position to the next one.
STEP = -7046029254386353131


@inline
def state_at(stream, position):
    """What ``word_of`` makes a word of."""
    return stream + position * STEP


@inline
def word_of(state):
    """32 random bits."""
    return (mix(state) >> 32) & 0xFFFFFFFF


@inline
def word_at(stream, position):
    """32 random bits."""
    return word_of(state_at(stream, position))


@inline
def share_at(stream, position):
    """A number in [0, 1) of 24 random bits, exact in every dtype."""
    return (word_at(stream, position) >> 8) * 0.5**24
