"""What makes the model: the recipe, the run folder, and the stages from feedback to merged weights."""
