"""Ship what a run produced: the release, its verification, and a Hub to rehearse on."""
