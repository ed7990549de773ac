{#- What the materialization of seeds returns: the rows of the file are committed to an Iceberg table, by the types and
  the parser of stream contracts. `meta.headrace_table.event_time` says when they hold: see docs/features.md. -#}
{% macro commit_seed() %}
  {%- set target = this.incorporate(type='view') -%}
  {{ run_hooks(pre_hooks) }}
  {%- do run_query('select 1') -%}
  {%- set request = headrace.model_request() -%}
  {%- set declared = model.config.meta.get('headrace_table', {}) -%}
  {%- do request.update({
    'path': (model.root_path or '.') ~ '/' ~ model.original_file_path,
    'delimiter': config.get('delimiter', ','),
    'column_types': config.get('column_types') or {},
    'event_time': declared.get('event_time'),
  }) -%}
  {%- do adapter.store_relation('headrace', target, [], '', 'seed', request) -%}
  {%- set outcome = request.outcome -%}
  {%- do store_result('agate_table', response='OK') -%}{#- dbt asks for it; --show would print it -#}
  {%- call noop_statement('main', outcome.message, outcome.code, outcome.rows) -%}
  {%- endcall -%}
  {{ run_hooks(post_hooks) }}
  {{ return({'relations': [target]}) }}
{% endmacro %}
