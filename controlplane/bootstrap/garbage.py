"""How Python's cyclic garbage collector runs in the daemon. Called once by `bootstrap.daemon`, when everything has started.

The fleet's facts are frozen values without cycles: counting references frees them. A full collection walks all of them, which
with ten thousand engines holds up decisions for a fifth of a second, and by default it would come every few seconds. So
what is there at the start is never walked again, and full collections become rare: cycles (of exceptions, of ended calls)
are young when they die, and young objects are collected as often as before, in small bites.
"""

import gc

YOUNG_COUNT = 10_000  # new objects until the young are looked at
MIDDLE_COUNT = 5  # looks at the young until those that survived are looked at: 50,000 objects, a few milliseconds
FULL_COUNT = 10_000  # of these until everything is: hours


def settle() -> None:
    """Call it when what will live as long as the daemon is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_COUNT, MIDDLE_COUNT, FULL_COUNT)
