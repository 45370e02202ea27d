"""The functions that questions may call. Everything else is refused, so that a new one of a database is not open by chance.

Left out on purpose: what runs SQL from a string, sets anything, waits, locks, reads files, or makes long texts from nothing.
"""

_BOTH = """
    abs ceil ceiling floor round trunc sign sqrt power exp ln mod
    avg count max min sum
    coalesce nullif
    lower upper length substr substring trim ltrim rtrim replace
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
"""

SQLITE = frozenset(
    f"""{_BOTH}
    total group_concat iif ifnull instr like glob typeof pow log log2 log10
    date time datetime julianday strftime unixepoch current_date current_time current_timestamp
    json_array_length json_extract json_group_array json_object json_array json_type json -> ->>
    """.split()
)

# Also what only looks like a function: types with a length, and keywords that are functions' names as well.
POSTGRESQL = frozenset(
    f"""{_BOTH}
    bool_and bool_or every any_value array_agg string_agg stddev stddev_pop stddev_samp variance var_pop var_samp corr
    percentile_cont percentile_disc mode greatest least grouping exists
    log log10 cbrt div width_bucket
    btrim char_length character_length octet_length left right position strpos split_part initcap reverse starts_with
    concat concat_ws to_char like
    date_bin date_part date_trunc age extract to_timestamp to_date to_number make_date make_interval make_timestamp
    make_timestamptz justify_days justify_hours justify_interval now timezone overlaps
    clock_timestamp statement_timestamp transaction_timestamp generate_series
    unnest array_length cardinality
    json_build_object jsonb_build_object to_json to_jsonb row_to_json json_agg jsonb_agg
    jsonb_array_elements_text jsonb_array_elements jsonb_array_length json_array_elements_text json_array_length
    bigint bpchar bit char character date decimal double float float4 float8 int int2 int4 int8 integer interval numeric
    real smallint text time timestamp timestamptz varchar
    """.split()
)
