{#- `table` and `incremental` on DuckDB are headrace's: the rows of a model become an Iceberg table. dbt lets no package
  replace its own materializations, so they stand in the project itself. -#}

{% materialization table, adapter="duckdb", supported_languages=["sql"] %}
  {{ return(headrace.commit_model()) }}
{% endmaterialization %}

{% materialization incremental, adapter="duckdb", supported_languages=["sql"] %}
  {{ return(headrace.commit_model()) }}
{% endmaterialization %}
