{#- `table`, `incremental`, `seed` and `unit` on DuckDB are headrace's: rows become an Iceberg table, and unit tests run on
  the engine of the target. dbt lets no package replace its own materializations, so they stand in the project. -#}

{% materialization table, adapter="duckdb", supported_languages=["sql"] %}
  {{ return(headrace.commit_model()) }}
{% endmaterialization %}

{% materialization incremental, adapter="duckdb", supported_languages=["sql"] %}
  {{ return(headrace.commit_model()) }}
{% endmaterialization %}

{% materialization unit, adapter="duckdb", supported_languages=["sql"] %}
  {{ return(headrace.unit_test()) }}
{% endmaterialization %}

{% materialization seed, adapter="duckdb" %}
  {{ return(headrace.commit_seed()) }}
{% endmaterialization %}
