"""The compose stack, built and started for real, and driven only from outside: HTTP, a browser, `docker`.

It needs a Docker engine with compose v2, and root to kill what runs in containers; it fails where there
is none: what did not run did not pass. The files run in the order of their names.
"""
