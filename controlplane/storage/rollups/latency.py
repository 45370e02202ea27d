"""Histograms of latencies, which add up over any stretch, and quantiles told from them. Used by `requests` only.

The bounds are those of the table `latency_buckets`: they grow by the fourth root of two. A quantile is told as if the requests in
a bucket were spread evenly in it, so it is off by at most what the bucket is wide.
"""

from controlplane.storage.tables.rollups import MEASURES

_FROM_SECONDS, _PER_DOUBLING, _BOUNDS_COUNT = 1e-4, 4, 102
BOUNDS = tuple(_FROM_SECONDS * 2 ** (number / _PER_DOUBLING) for number in range(_BOUNDS_COUNT))
QUANTILES = {"p50": "0.5", "p90": "0.9", "p99": "0.99"}
KEYS = ("engine_id", "tenant", "model")


def bucket_of(value: str) -> str:
    """The number of the first bucket whose upper bound is not below the value, found by halving."""
    return _halved(value, 0, len(BOUNDS))


def quantiles(histogram: str) -> str:
    """A SELECT of KEYS and `{measure}_{quantile}`, from a SELECT of KEYS, measure, bucket and requests_count."""
    row = f"PARTITION BY {', '.join(KEYS)}, measure"
    columns = [
        f"MAX(CASE WHEN measure = '{measure}' AND up_to >= {part} * total AND up_to - requests_count < {part} * total "
        f"THEN from_seconds + (COALESCE(to_seconds, from_seconds) - from_seconds) "
        f"* ({part} * total - (up_to - requests_count)) / requests_count END) AS {measure}_{name}"
        for measure in MEASURES
        for name, part in QUANTILES.items()
    ]
    return (
        f"SELECT {', '.join(KEYS)}, {', '.join(columns)} FROM ("  # noqa: S608
        f"SELECT {', '.join(KEYS)}, measure, requests_count, bucket.from_seconds, bucket.to_seconds, "
        f"SUM(requests_count) OVER ({row} ORDER BY counted.bucket ROWS UNBOUNDED PRECEDING) AS up_to, "
        f"SUM(requests_count) OVER ({row}) AS total "
        f"FROM ({histogram}) AS counted JOIN latency_buckets AS bucket ON bucket.bucket = counted.bucket"
        f") AS cumulated GROUP BY {', '.join(KEYS)}"
    )


def _halved(value: str, low: int, high: int) -> str:
    if low == high:
        return str(low)
    middle = (low + high) // 2
    below, above = _halved(value, low, middle), _halved(value, middle + 1, high)
    return f"CASE WHEN {value} <= {BOUNDS[middle]!r} THEN {below} ELSE {above} END"
