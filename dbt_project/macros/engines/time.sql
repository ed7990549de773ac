{#- Time functions for both engines: convert instants to whole microseconds or hours since 1970, and back. -#}

{#- Microseconds since 1970 of an instant, as bigint. -#}
{% macro epoch_us(instant) %}{{ return(adapter.dispatch('epoch_us', 'headrace')(instant)) }}{% endmacro %}

{% macro duckdb__epoch_us(instant) %}epoch_us({{ instant }}){% endmacro %}

{#- to_unixtime is a double; after rounding, microseconds are exact up to the year 2255 (2^53 us). -#}
{% macro trino__epoch_us(instant) %}cast(round(to_unixtime({{ instant }}) * 1000000) as bigint){% endmacro %}

{#- The instant of a bigint of microseconds since 1970. -#}
{% macro instant(us) %}{{ return(adapter.dispatch('instant', 'headrace')(us)) }}{% endmacro %}

{% macro duckdb__instant(us) %}make_timestamptz({{ us }}){% endmacro %}

{% macro trino__instant(us) %}cast(from_unixtime_nanos(({{ us }}) * 1000) as timestamp(6) with time zone){% endmacro %}

{#- Whole hours in a non-negative bigint of microseconds, rounded down. -#}
{% macro whole_hours(us) %}{{ return(adapter.dispatch('whole_hours', 'headrace')(us)) }}{% endmacro %}

{% macro duckdb__whole_hours(us) %}(({{ us }}) // 3600000000){% endmacro %}

{% macro trino__whole_hours(us) %}(({{ us }}) / 3600000000){% endmacro %}

{#- An instant literal from the ISO date of a UTC day. -#}
{% macro day_start(date) %}{{ return(adapter.dispatch('day_start', 'headrace')(date)) }}{% endmacro %}

{% macro duckdb__day_start(date) %}cast('{{ date }} 00:00:00+00' as timestamp with time zone){% endmacro %}

{% macro trino__day_start(date) %}timestamp '{{ date }} 00:00:00.000000 UTC'{% endmacro %}

{#- The array of all integers from `first` to `last`, both included. -#}
{% macro integers(first, last) %}{{ return(adapter.dispatch('integers', 'headrace')(first, last)) }}{% endmacro %}

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
