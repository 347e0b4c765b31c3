"""Chat templates (Jinja) by the name a recipe uses."""

# The prompt format of Zephyr's preference tuning. An empty system turn stands there when the conversation
# has none, as in alignment-handbook v0.2.0, whose chat template of the same name leaves that to its caller.
ZEPHYR_CHAT_TEMPLATE = (
    "{%- if messages[0]['role'] != 'system' -%}{{ '<|system|>\n' + eos_token + '\n' }}{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{ raise_exception('The zephyr template has no role ' + message['role']) }}"
    "{%- endif -%}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|assistant|>\n' }}{%- endif -%}"
)
