{#- In place of dbt's, which is never true here: relations are views on Iceberg snapshots. -#}
{% macro is_incremental() %}{{ return(headrace.is_incremental()) }}{% endmacro %}
