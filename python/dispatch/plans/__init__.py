"""Plans compose pools. Never a socket; the kind of a plan in the configuration is the name of its module."""
