"""The evaluation as a card has it: which figures, beside which others, as tables, metadata and a chart."""
