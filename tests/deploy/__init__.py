"""The files of deploy/: judged by SkyPilot, shellcheck and our own command line, and run as far as they run here."""
