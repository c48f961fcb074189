"""Raw/mixed pairs: find them by name, check that they are one performance, align them."""

from .pairs import (
    LOWEST_CORRELATION,
    PAIR_RATE,
    Pair,
    PairFiles,
    about_pair,
    align,
    find_pairs,
    load_pair,
    loudest_part,
    loudest_start,
    one_channel,
    pair_key,
    read_pair_list,
)

__all__ = [
    "LOWEST_CORRELATION",
    "PAIR_RATE",
    "Pair",
    "PairFiles",
    "about_pair",
    "align",
    "find_pairs",
    "load_pair",
    "loudest_part",
    "loudest_start",
    "one_channel",
    "pair_key",
    "read_pair_list",
]
