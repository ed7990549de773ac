{#- What the materializations of a project return: the rows of the model are written to an Iceberg table in one commit.
  Without changes to the code or the input snapshots there is no commit. -#}
{% macro commit_model() %}
  {%- set target = this.incorporate(type='view') -%}
  {{ run_hooks(pre_hooks) }}
  {%- do run_query('select 1') -%}
  {%- set request = headrace.model_request() -%}
  {%- do request.update({'sql': compiled_code}) -%}
  {%- do adapter.store_relation('headrace', target, [], '', 'commit', request) -%}
  {%- set outcome = request.outcome -%}
  {%- call noop_statement('main', outcome.message, outcome.code, outcome.rows) -%}
    {{ compiled_code }}
  {%- endcall -%}
  {{ run_hooks(post_hooks) }}
  {{ return({'relations': [target]}) }}
{% endmacro %}
