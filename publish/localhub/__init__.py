"""A Hub on this machine: a folder of git repositories that huggingface_hub's client takes for the real one.

For rehearsing a release, and for tests of all that uploads or downloads. What it speaks is listed in `app`.
"""

from publish.localhub.server import LocalHub, add_user, local_token, running, serve

__all__ = ["LocalHub", "add_user", "local_token", "running", "serve"]
