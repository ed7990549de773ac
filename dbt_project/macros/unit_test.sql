{#- A unit test of a model: the rows that it computes from the given ones, beside those that it should. On the target
  `cluster` the lake's engine computes them, from the SQL that it runs in a build. The given and the expected rows are
  made, and all are compared, in the DuckDB of dbt, where they have the types of the model's columns. -#}
{% macro unit_test() %}
  {%- if target.name != 'cluster' -%}{{ return(materialization_unit_default()) }}{%- endif -%}
  {#- the plugin is loaded when a connection opens, which dbt does at the first statement -#}
  {%- do run_query('select 1') -%}
  {%- set request = {'sql': sql, 'given': model.extra_ctes | map(attribute='sql') | list} -%}
  {%- do adapter.store_relation('headrace', this, [], '', 'compute', request) -%}
  {%- set quoted = {} -%}
  {%- for name in request.types -%}{%- do quoted.update({name: adapter.quote(name)}) -%}{%- endfor -%}
  {%- set expected = config.get('expected_rows') -%}
  {%- set compared = [] -%}
  {%- for name in (expected[0] if expected else request.types) -%}
    {%- do compared.append(quoted.get(name | lower, name)) -%}
  {%- endfor -%}
  {%- set expected_sql = config.get('expected_sql') or get_expected_sql(expected, request.types, quoted) -%}
  {%- call statement('main', fetch_result=True) -%}
    {{ get_unit_test_sql('select * from ' ~ request.rows, expected_sql, compared) }}
  {%- endcall -%}
  {%- do run_query('drop table ' ~ request.rows) -%}
  {{ return({'relations': []}) }}
{% endmacro %}
