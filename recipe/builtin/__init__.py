"""What the default recipe needs and no network gives: an embedded sample of feedback and a base model."""

from recipe.builtin.feedback import make_feedback, write_feedback

__all__ = ["make_feedback", "write_feedback"]
