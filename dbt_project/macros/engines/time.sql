{#- What both engines spell differently: instants as microseconds, hours or days since 1970 and back, arrays, ratios, whole numbers. -#}

{#- Whether the SQL is for Trino. A model's is, of the target `cluster`, and so is its unit tests': the lake's engine runs
  it. Data tests run in the DuckDB of dbt on every target, and code is compared as DuckDB has it, so that it is equal on
  all targets. -#}
{% macro on_trino() %}
  {{ return(target.type == 'trino' or (target.name == 'cluster' and model.resource_type in ['model', 'unit_test'] and headrace_canonical is not defined)) }}
{% endmacro %}

{#- The ratio of two integers as a double. Trino divides integers to integers. -#}
{% macro ratio(part, whole) %}cast({{ part }} as double) / {{ whole }}{% endmacro %}

{#- A number that both engines refuse if its type is not a whole number: a cast of a sum would round it silently. -#}
{% macro whole_number(number) %}{{ return(headrace.trino__whole_number(number) if headrace.on_trino() else headrace.duckdb__whole_number(number)) }}{% endmacro %}

{% macro duckdb__whole_number(number) %}(({{ number }}) | 0){% endmacro %}

{% macro trino__whole_number(number) %}bitwise_or({{ number }}, 0){% endmacro %}

{#- Microseconds since 1970 of an instant, as bigint. -#}
{% macro epoch_us(instant) %}{{ return(headrace.trino__epoch_us(instant) if headrace.on_trino() else headrace.duckdb__epoch_us(instant)) }}{% endmacro %}

{% macro duckdb__epoch_us(instant) %}epoch_us({{ instant }}){% endmacro %}

{#- to_unixtime is a double: whole seconds are exact, and the rest, rounded, is exact to the year 2105. -#}
{% macro trino__epoch_us(instant) %}
{%- set whole = "to_unixtime(date_trunc('second', " ~ instant ~ "))" -%}
(cast({{ whole }} as bigint) * 1000000 + cast(round((to_unixtime({{ instant }}) - {{ whole }}) * 1000000) as bigint))
{%- endmacro %}

{#- The instant of a bigint of microseconds since 1970. -#}
{% macro instant(us) %}{{ return(headrace.trino__instant(us) if headrace.on_trino() else headrace.duckdb__instant(us)) }}{% endmacro %}

{% macro duckdb__instant(us) %}make_timestamptz({{ us }}){% endmacro %}

{% macro trino__instant(us) %}cast(from_unixtime_nanos(({{ us }}) * 1000) as timestamp(6) with time zone){% endmacro %}

{#- Whole hours in a non-negative bigint of microseconds, rounded down. -#}
{% macro whole_hours(us) %}{{ return(headrace.trino__whole_hours(us) if headrace.on_trino() else headrace.duckdb__whole_hours(us)) }}{% endmacro %}

{% macro duckdb__whole_hours(us) %}(({{ us }}) // 3600000000){% endmacro %}

{% macro trino__whole_hours(us) %}(({{ us }}) / 3600000000){% endmacro %}

{#- Whole UTC days in a non-negative bigint of microseconds since 1970, rounded down. -#}
{% macro whole_days(us) %}{{ return(headrace.trino__whole_days(us) if headrace.on_trino() else headrace.duckdb__whole_days(us)) }}{% endmacro %}

{% macro duckdb__whole_days(us) %}(({{ us }}) // 86400000000){% endmacro %}

{% macro trino__whole_days(us) %}(({{ us }}) / 86400000000){% endmacro %}

{#- An instant literal from the ISO date of a UTC day. -#}
{% macro day_start(date) %}{{ return(headrace.trino__day_start(date) if headrace.on_trino() else headrace.duckdb__day_start(date)) }}{% endmacro %}

{% macro duckdb__day_start(date) %}cast('{{ date }} 00:00:00+00' as timestamp with time zone){% endmacro %}

{% macro trino__day_start(date) %}timestamp '{{ date }} 00:00:00.000000 UTC'{% endmacro %}

{#- The array of all integers from `first` to `last`, both included. -#}
{% macro integers(first, last) %}{{ return(headrace.trino__integers(first, last) if headrace.on_trino() else headrace.duckdb__integers(first, last)) }}{% endmacro %}

{% macro duckdb__integers(first, last) %}generate_series({{ first }}, {{ last }}){% endmacro %}

{% macro trino__integers(first, last) %}sequence({{ first }}, {{ last }}){% endmacro %}

{#- Seconds of a duration in the syntax of declarations: `0s`, `5m`, `1d12h`. -#}
{% macro seconds(duration) %}
  {%- set units = {'d': 86400, 'h': 3600, 'm': 60, 's': 1} -%}
  {%- set parts = modules.re.findall('([0-9]+)([dhms])', duration) -%}
  {%- if not modules.re.fullmatch('([0-9]+[dhms])+', duration) -%}
    {% do exceptions.raise_compiler_error("`" ~ duration ~ "` is not a duration in whole seconds; examples: `30m`, `24h`, `7d`") %}
  {%- endif -%}
  {%- set total = namespace(s=0) -%}
  {%- for count, unit in parts -%}{%- set total.s = total.s + (count | int) * units[unit] -%}{%- endfor -%}
  {{ return(total.s) }}
{% endmacro %}
